package orchestrator

import (
	"context"
	"errors"
	"net/url"
	"slices"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// ClientCredentials is the login of a confidential external application, as in
// the page "External applications (OAuth)" of UiPath's API guide.
type ClientCredentials struct {
	// TokenURL is the token endpoint. Empty: derived from Config.BaseURL, which
	// gives https://host/org/identity_/connect/token for Automation Cloud and
	// Automation Suite and https://host/identity/connect/token on-premises.
	TokenURL     string
	ClientID     string   // the application's "App ID"
	ClientSecret Secret   // the application's "App Secret"
	Scopes       []string // application scopes; none: DefaultScopes
	// BasicAuth sends ClientID and ClientSecret as a Basic header, as the guide
	// for on-premises does, instead of in the form.
	BasicAuth bool
}

func (l ClientCredentials) tokenSource(cfg Config, base *url.URL) (oauth2.TokenSource, error) {
	tokenURL, urlErr := identityURL(l.TokenURL, base)
	faults := []error{urlErr, required(
		requiredField{"ClientID", l.ClientID, "the App ID of the external application"},
		requiredField{"ClientSecret", string(l.ClientSecret), "the secret of the external application"},
	)}
	if slices.Contains(l.Scopes, scopeOffline) {
		faults = append(faults, errors.New(`"offline_access" in Scopes: leave it out, client credentials get no refresh token`))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	config := clientcredentials.Config{
		ClientID:     l.ClientID,
		ClientSecret: string(l.ClientSecret),
		TokenURL:     tokenURL,
		Scopes:       l.Scopes,
		AuthStyle:    authStyle(l.BasicAuth),
	}
	if len(config.Scopes) == 0 {
		config.Scopes = DefaultScopes
	}
	client := loginClient(cfg)
	return tokenFunc(func() (*oauth2.Token, error) {
		return config.Token(withLoginClient(context.Background(), client))
	}), nil
}

func (ClientCredentials) refused() string { return otherOrganization }
