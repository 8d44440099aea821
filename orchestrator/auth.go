package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/oauth2"
)

// DefaultScopes is what the calls of this package need: jobs, queues, releases
// and folders.
var DefaultScopes = []string{"OR.Jobs", "OR.Queues", "OR.Execution", "OR.Folders.Read"}

// Login is a way in. The set is closed:
//
//	ClientCredentials     an external application, on its own behalf
//	RefreshToken          an external application, on behalf of a user who has logged in once
//	PersonalAccessToken   a user's own token
//	Password              a user's name and password, on-premises
//	UserKey               a user key of the former cloud
type Login interface {
	// tokenSource gives a source that gets a token anew each time its Token is
	// called; the session decides when. base is Config.BaseURL.
	tokenSource(cfg Config, base *url.URL) (oauth2.TokenSource, error)
	// refused says what to look at when Orchestrator takes no token of this
	// login, not even a fresh one.
	refused() string
}

const otherOrganization = "a freshly issued token is refused too: check that the token URL belongs to the organization of the tenant's URL, and that the tenant's name is right"

// tokenFunc is a function as an oauth2.TokenSource.
type tokenFunc func() (*oauth2.Token, error)

// Token calls the function.
func (f tokenFunc) Token() (*oauth2.Token, error) { return f() }

// identityURL is the token endpoint that is configured, or the one that belongs
// to base: https://host/org/identity_/connect/token for Automation Cloud and
// Automation Suite, https://host/identity/connect/token on-premises.
func identityURL(given string, base *url.URL) (string, error) {
	if given != "" {
		return given, checkLoginURL("TokenURL", given)
	}
	path := "/identity/connect/token"
	if org, ok := organization(base); ok {
		path = "/" + org + "/identity_/connect/token"
	} else if base.Path != "" {
		return "", fmt.Errorf("TokenURL is empty and cannot be told from BaseURL %q, whose path is not /organization/tenant/orchestrator_ (nor empty, as on-premises): correct that, or give the address that ends in /connect/token", base)
	}
	return (&url.URL{Scheme: base.Scheme, Host: base.Host, Path: path}).String(), nil
}

// checkLoginURL refuses an address that no secret should be sent to.
func checkLoginURL(field, value string) error {
	u, err := url.Parse(value)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return fmt.Errorf("%s %q is no web address: give one like https://cloud.uipath.com/org/identity_/connect/token", field, redactURL(value))
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return fmt.Errorf("%s %q holds more than host and path: leave out user, query and fragment", field, redactURL(value))
	case strings.EqualFold(u.Hostname(), "account.uipath.com"):
		return fmt.Errorf("%s %q belongs to a retired service: register an external application and use https://cloud.uipath.com/org/identity_/connect/token", field, value)
	}
	return nil
}

// authStyle is how an application proves who it is.
func authStyle(basic bool) oauth2.AuthStyle {
	if basic {
		return oauth2.AuthStyleInHeader
	}
	return oauth2.AuthStyleInParams
}

// loginClient sends what a login sends. Its answers are checked on the way, so
// that they are judged like all others.
func loginClient(cfg Config) *http.Client {
	return &http.Client{
		Transport:     identityTransport{next: cfg.Transport, userAgent: cfg.UserAgent},
		CheckRedirect: neverRedirect,
		Timeout:       cfg.Timeout,
	}
}

// withLoginClient has the oauth2 package use it. No caller's context is in it: a
// login is made for all callers.
func withLoginClient(ctx context.Context, client *http.Client) context.Context {
	return context.WithValue(ctx, oauth2.HTTPClient, client)
}

// required names the fields of a login that are empty.
func required(fields ...requiredField) error {
	var faults []error
	for _, f := range fields {
		if f.value == "" {
			faults = append(faults, fmt.Errorf("empty %s: give %s", f.name, f.mend))
		}
	}
	return errors.Join(faults...)
}

type requiredField struct{ name, value, mend string }
