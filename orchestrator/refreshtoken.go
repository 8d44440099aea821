package orchestrator

import (
	"errors"
	"net/url"

	"golang.org/x/oauth2"
)

// RefreshToken is the login of an external application on behalf of a user who
// has logged in once, by an [Authorization], as in the page "External
// applications (OAuth)" of UiPath's API guide. It lasts as long as it is used:
// refresh tokens expire 60 days after they were given.
type RefreshToken struct {
	TokenURL     string // as for ClientCredentials
	ClientID     string // the application's "App ID"
	ClientSecret Secret // of a confidential application; others have none
	BasicAuth    bool   // as for ClientCredentials
	// Store has the grant. Workers of one application and user share one store.
	Store TokenStore
}

func (l RefreshToken) tokenSource(cfg Config, base *url.URL) (oauth2.TokenSource, error) {
	config, err := l.config(base)
	if l.Store == nil {
		err = errors.Join(err, errors.New("no Store: give the place where the login's tokens are kept"))
	}
	if err != nil {
		return nil, err
	}
	return &rotation{
		store:   l.Store,
		config:  config,
		http:    loginClient(cfg),
		log:     cfg.Logger,
		life:    cfg.Timeout + useMargin,
		stopped: make(chan struct{}),
	}, nil
}

func (l RefreshToken) config(base *url.URL) (oauth2.Config, error) {
	tokenURL, urlErr := identityURL(l.TokenURL, base)
	err := errors.Join(urlErr, required(requiredField{"ClientID", l.ClientID, "the App ID of the external application"}))
	return oauth2.Config{
		ClientID:     l.ClientID,
		ClientSecret: string(l.ClientSecret),
		Endpoint:     oauth2.Endpoint{TokenURL: tokenURL, AuthStyle: authStyle(l.BasicAuth)},
	}, err
}

func (RefreshToken) refused() string {
	return "a freshly issued token is refused too: the user has logged in to another organization than that of the tenant's URL; log in again (worker login) to the right one, and check the token URL and the tenant's name"
}
