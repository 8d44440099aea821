package orchestrator

import (
	"net/http"
	"net/url"
	"time"

	"golang.org/x/oauth2"
)

// UserKey is the login of the former cloud, with the client id and user key that
// its page "API access" shows, as in the page "API keys" of UiPath's guide. UiPath
// retired it in March 2025: it is for what still answers in its place, and only
// at a TokenURL that is given.
type UserKey struct {
	TokenURL string // required; account.uipath.com is refused
	ClientID string
	Key      Secret // the user key, which does not change when used
}

// userKeyRequest is the body that the endpoint wants: JSON, no form.
type userKeyRequest struct {
	GrantType    string `json:"grant_type"`
	ClientID     string `json:"client_id"`
	RefreshToken string `json:"refresh_token"`
}

func (l UserKey) tokenSource(cfg Config, _ *url.URL) (oauth2.TokenSource, error) {
	err := required(
		requiredField{"TokenURL", l.TokenURL, "the address that takes user keys; Automation Cloud has none any more, register an external application there"},
		requiredField{"ClientID", l.ClientID, "the client id shown beside the user key"},
		requiredField{"Key", string(l.Key), "the user key"},
	)
	if err == nil {
		err = checkLoginURL("TokenURL", l.TokenURL)
	}
	if err != nil {
		return nil, err
	}
	poster := jsonPoster{client: plainClient(cfg), address: l.TokenURL, userAgent: cfg.UserAgent, tenant: cfg.Tenant}
	body := userKeyRequest{GrantType: grantRefreshToken, ClientID: l.ClientID, RefreshToken: string(l.Key)}
	return tokenFunc(func() (*oauth2.Token, error) {
		asked := time.Now()
		a, err := poster.post(body)
		if err != nil {
			return nil, err
		}
		refusal := a.hiding([]string{string(l.Key)}, func(a answer) *Error { return a.checkToken(grantUserKey) })
		if refusal != nil {
			return nil, refusal
		}
		return a.userKeyToken(asked)
	}), nil
}

func (UserKey) refused() string {
	return "a freshly issued token is refused too: check that the user key belongs to the tenant of the URL"
}

// userKeyToken reads an answer that checkToken has found to be a token.
func (a answer) userKeyToken(asked time.Time) (*oauth2.Token, error) {
	var wire tokenAnswer
	if err := a.decode(&wire); err != nil {
		return nil, err
	}
	token := &oauth2.Token{AccessToken: wire.AccessToken}
	if life := a.tokenLife(); life > 0 { // 24 hours as a rule
		token.Expiry = asked.Add(life)
	}
	return token, nil
}

// plainClient is for logins whose answers are not those of a token endpoint.
func plainClient(cfg Config) *http.Client {
	return &http.Client{Transport: cfg.Transport, CheckRedirect: neverRedirect, Timeout: cfg.Timeout}
}
