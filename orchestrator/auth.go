package orchestrator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// DefaultScopes is what the calls of this package need: jobs, queues, releases
// and folders.
var DefaultScopes = []string{"OR.Jobs", "OR.Queues", "OR.Execution", "OR.Folders.Read"}

// Login is a way in. The set is closed; another way is another type here whose
// tokenSource gives an oauth2.TokenSource.
type Login interface {
	// tokenSource gives a source that logs in anew each time its Token is
	// called; the session decides when. HTTP goes through the client in ctx
	// (oauth2.HTTPClient), which outlives every call. base is Config.BaseURL.
	tokenSource(ctx context.Context, base *url.URL) (oauth2.TokenSource, error)
	// refused says what to look at when Orchestrator takes no token of this
	// login, not even a fresh one.
	refused() string
}

// ClientCredentials is the login of a confidential external application, as in
// the page "External applications (OAuth)" of UiPath's API guide.
type ClientCredentials struct {
	// TokenURL is the token endpoint. Empty: derived from Config.BaseURL, which
	// gives https://host/org/identity_/connect/token for Automation Cloud and
	// Automation Suite and https://host/identity/connect/token on-premises.
	TokenURL     string
	ClientID     string // the application's "App ID"
	ClientSecret string
	Scopes       []string // application scopes; none: DefaultScopes
}

func (l ClientCredentials) tokenSource(ctx context.Context, base *url.URL) (oauth2.TokenSource, error) {
	tokenURL, urlErr := l.tokenURL(base)
	faults := []error{urlErr}
	if l.ClientID == "" {
		faults = append(faults, errors.New("empty ClientID: give the App ID of the external application"))
	}
	if l.ClientSecret == "" {
		faults = append(faults, errors.New("empty ClientSecret: give the secret of the external application"))
	}
	if slices.Contains(l.Scopes, "offline_access") {
		faults = append(faults, errors.New(`"offline_access" in Scopes: leave it out, client credentials get no refresh token`))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	config := clientcredentials.Config{
		ClientID:     l.ClientID,
		ClientSecret: l.ClientSecret,
		TokenURL:     tokenURL,
		Scopes:       l.Scopes,
		AuthStyle:    oauth2.AuthStyleInParams,
	}
	if len(config.Scopes) == 0 {
		config.Scopes = DefaultScopes
	}
	return tokenFunc(func() (*oauth2.Token, error) { return config.Token(ctx) }), nil
}

// tokenURL is the configured token endpoint, or the one that belongs to base.
func (l ClientCredentials) tokenURL(base *url.URL) (string, error) {
	if l.TokenURL != "" {
		return checkTokenURL(l.TokenURL)
	}
	path := "/identity/connect/token"
	if org, ok := organization(base); ok {
		path = "/" + org + "/identity_/connect/token"
	} else if base.Path != "" {
		return "", fmt.Errorf("TokenURL is empty and cannot be told from BaseURL %q: give the address that ends in /connect/token", base)
	}
	return (&url.URL{Scheme: base.Scheme, Host: base.Host, Path: path}).String(), nil
}

func checkTokenURL(value string) (string, error) {
	u, err := url.Parse(value)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return "", fmt.Errorf("TokenURL %q is no web address: give one like https://cloud.uipath.com/org/identity_/connect/token", redactURL(value))
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return "", fmt.Errorf("TokenURL %q holds more than host and path: leave out user, query and fragment", redactURL(value))
	case strings.EqualFold(u.Hostname(), "account.uipath.com"):
		return "", fmt.Errorf("TokenURL %q belongs to a retired service: register an external application and use https://cloud.uipath.com/org/identity_/connect/token", value)
	}
	return value, nil
}

func (l ClientCredentials) refused() string {
	return "a freshly issued token is refused too: check that TokenURL belongs to the organization of BaseURL, and that Tenant is right"
}

// String names the application and hides the secret.
func (l ClientCredentials) String() string {
	return fmt.Sprintf("ClientCredentials(%s, secret hidden)", cmp.Or(l.ClientID, "no ClientID"))
}

// GoString is String, for %#v.
func (l ClientCredentials) GoString() string { return l.String() }

// LogValue is String, for slog.
func (l ClientCredentials) LogValue() slog.Value { return slog.StringValue(l.String()) }

// MarshalText is String, for whoever prints a configuration as JSON or YAML.
func (l ClientCredentials) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// PersonalAccessToken is the login with a user's own token ("rt_..."), as in the
// page "Personal access tokens" of UiPath's guide. It cannot be renewed.
type PersonalAccessToken string

func (l PersonalAccessToken) tokenSource(context.Context, *url.URL) (oauth2.TokenSource, error) {
	if l == "" {
		return nil, errors.New("empty PersonalAccessToken: give the token")
	}
	if strings.ContainsFunc(string(l), func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, errors.New("PersonalAccessToken holds a blank, a line break or another character that no token has: give the token alone")
	}
	return oauth2.StaticTokenSource(&oauth2.Token{AccessToken: string(l)}), nil
}

func (l PersonalAccessToken) refused() string {
	return "the personal access token is refused: it has expired, was revoked or belongs to another organization; make a new one"
}

// String hides the token.
func (l PersonalAccessToken) String() string { return "PersonalAccessToken(hidden)" }

// GoString is String, for %#v.
func (l PersonalAccessToken) GoString() string { return l.String() }

// LogValue is String, for slog.
func (l PersonalAccessToken) LogValue() slog.Value { return slog.StringValue(l.String()) }

// MarshalText is String, for whoever prints a configuration as JSON or YAML.
func (l PersonalAccessToken) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// tokenFunc is a function as an oauth2.TokenSource.
type tokenFunc func() (*oauth2.Token, error)

// Token calls the function.
func (f tokenFunc) Token() (*oauth2.Token, error) { return f() }
