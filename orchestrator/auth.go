package orchestrator

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
	"golang.org/x/sync/singleflight"
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

const (
	// renewAhead is how long before its end a token is replaced, while calls go
	// on with the old one; a fifth of its life where that is shorter.
	renewAhead = 5 * time.Minute
	// renewLatest is how long before its end a token is used no more; a tenth
	// of its life where that is shorter.
	renewLatest = 10 * time.Second
	// renewPause keeps a token endpoint that is down from being asked by every
	// call while the old token still works.
	renewPause = 10 * time.Second
)

// session holds the client's token and lets one login at a time run for all.
type session struct {
	login  Login
	source oauth2.TokenSource
	log    *slog.Logger
	flight singleflight.Group // by the token that is refused
	turn   chan struct{}      // held by the one login that runs

	mu       sync.Mutex
	token    string
	renewAt  time.Time // from here on: renew in the background; zero: never
	expireAt time.Time // from here on: renew before the call; zero: never
}

func newSession(cfg Config, base *url.URL) (*session, error) {
	client := &http.Client{
		Transport:     identityTransport{next: cfg.Transport, userAgent: cfg.UserAgent},
		CheckRedirect: neverRedirect,
		Timeout:       cfg.Timeout,
	}
	// The token source keeps this context for all its logins, hence no caller's.
	ctx := context.WithValue(context.Background(), oauth2.HTTPClient, client)
	source, err := cfg.Login.tokenSource(ctx, base)
	if err != nil {
		return nil, err
	}
	return &session{login: cfg.Login, source: source, log: cfg.Logger, turn: make(chan struct{}, 1)}, nil
}

// current gives a token to call with, logging in where there is none.
func (s *session) current(ctx context.Context) (string, *Error) {
	token, renew := s.peek("")
	if token == "" {
		return s.wait(ctx, s.start(""))
	}
	if renew {
		s.start("")
	}
	return token, nil
}

// renewed gives a token other than the refused one, or the same again where the
// login knows no other.
func (s *session) renewed(ctx context.Context, refused string) (string, *Error) {
	if token, _ := s.peek(refused); token != "" {
		return token, nil
	}
	return s.wait(ctx, s.start(refused))
}

// peek gives the token held, empty where it is absent, too old or the refused
// one, and whether it is time to renew it.
func (s *session) peek(refused string) (token string, renew bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.token == refused || !s.expireAt.IsZero() && !now.Before(s.expireAt) {
		return "", false
	}
	return s.token, !s.renewAt.IsZero() && !now.Before(s.renewAt)
}

// start begins a login unless one is under way. It runs on its own: no caller
// that gives up takes it away from the others.
func (s *session) start(refused string) <-chan singleflight.Result {
	return s.flight.DoChan(refused, func() (any, error) {
		s.turn <- struct{}{}
		defer func() { <-s.turn }()
		// While this one waited for its turn another may have logged in.
		token, renew := s.peek(refused)
		if token != "" && !renew {
			return token, nil
		}
		fresh, err := s.logIn()
		if err != nil && token != "" {
			// Nobody waits for this renewal, so nobody else would tell.
			s.log.Warn("token not renewed, the old one still holds", slog.Any("error", loginError(err)))
		}
		return fresh, err
	})
}

func (s *session) wait(ctx context.Context, done <-chan singleflight.Result) (string, *Error) {
	select {
	case <-ctx.Done():
		return "", &Error{Op: opLogin, Kind: Transient, Class: Identity, Err: contextError(ctx)}
	case result := <-done:
		if result.Err != nil {
			return "", loginError(result.Err)
		}
		token, _ := result.Val.(string)
		return token, nil
	}
}

func (s *session) logIn() (string, error) {
	token, err := s.source.Token()
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if err != nil {
		s.renewAt = now.Add(renewPause)
		return "", err //nolint:wrapcheck // loginError makes one form of all that sources return
	}
	s.token, s.renewAt, s.expireAt = token.AccessToken, time.Time{}, time.Time{}
	if !token.Expiry.IsZero() {
		life := token.Expiry.Sub(now)
		s.renewAt = token.Expiry.Add(-min(renewAhead, life/5))
		s.expireAt = token.Expiry.Add(-min(renewLatest, life/10))
	}
	return s.token, nil
}

const opLogin = "log in"

// loginError makes an *Error of whatever a token source returns.
func loginError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		if u.Timeout() {
			err = errors.New("no answer in time")
		} else {
			err = u.Err
		}
	}
	return &Error{Op: opLogin, Kind: Transient, Class: Identity, Err: err}
}

// identityTransport checks the token endpoint's answers before the oauth2
// package sees them, so that they are judged like all others.
type identityTransport struct {
	next      http.RoundTripper
	userAgent string
}

// RoundTrip returns an *Error for every answer that is not a token.
func (t identityTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set("User-Agent", t.userAgent)
	req.Header.Set("Accept", "application/json")
	resp, err := t.next.RoundTrip(req)
	if err != nil {
		return nil, err //nolint:wrapcheck // the caller is net/http, which wraps it
	}
	defer resp.Body.Close() //nolint:errcheck // the answer has been read, or its error is told
	a, err := read(resp)
	if err != nil {
		return nil, err
	}
	if err := a.checkToken(); err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(a.body))
	return resp, nil
}

// tokenAnswer is what the token endpoint answers when it agrees.
type tokenAnswer struct {
	AccessToken string `json:"access_token"`
}

func (t *tokenAnswer) missing() string {
	if t.AccessToken == "" {
		return "access_token"
	}
	return ""
}

// checkToken gives nil for a token and the reason for anything else.
func (a answer) checkToken() error {
	said := a.complaint()
	if a.ok() && said.oauth == "" {
		err := a.decode(new(tokenAnswer))
		if err == nil {
			return nil
		}
		return &Error{
			Op: opLogin, Kind: Denied, Class: Identity, StatusCode: a.status, Message: err.Error(),
			Err: errors.New("something other than the token endpoint answers: check TokenURL, and proxies on the way"),
		}
	}
	e := a.failure(opLogin, Identity, false)
	if e.Kind != Transient || a.status <= 399 {
		// Whatever the number: the endpoint was reached and gives no token.
		e.Kind, e.Err = Denied, loginAdvice(said.oauth)
	}
	return e
}

// loginAdvice says in one sentence what is wrong and what to change.
func loginAdvice(word string) error {
	text, ok := map[string]string{
		"invalid_client":         "the identity server does not know this ClientID with this ClientSecret: check both, and that TokenURL belongs to the application's organization",
		"invalid_scope":          "the application may not have one of the scopes asked for: add them to its application scopes or ask for fewer, and of X, X.Read and X.Write for one only",
		"invalid_grant":          "what the login presents has expired, was revoked or was used before: log in anew",
		"unauthorized_client":    "the application may not log in this way: make it a confidential application with application scopes",
		"unsupported_grant_type": "the token endpoint does not offer this login: check TokenURL",
	}[word]
	if !ok {
		text = "the token endpoint refuses the login: check TokenURL, ClientID, ClientSecret and Scopes"
	}
	return errors.New(text)
}
