package orchestrator

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"

	"golang.org/x/oauth2"
)

// PersonalAccessToken is the login with a user's own token ("rt_..."), as in the
// page "Personal access tokens" of UiPath's guide. It cannot be renewed.
type PersonalAccessToken Secret

func (l PersonalAccessToken) tokenSource(Config, *url.URL) (oauth2.TokenSource, error) {
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

// Format hides the token whatever the verb.
func (l PersonalAccessToken) Format(f fmt.State, verb rune) { Secret(l).Format(f, verb) }

// MarshalText hides the token from JSON and YAML.
func (l PersonalAccessToken) MarshalText() ([]byte, error) { return Secret(l).MarshalText() }

// LogValue hides the token from slog.
func (l PersonalAccessToken) LogValue() slog.Value { return Secret(l).LogValue() }
