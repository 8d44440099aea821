package orchestrator

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/sync/singleflight"
)

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
		if e, ok := errors.AsType[*Error](err); ok {
			return nil, e.hiding(secretsOf(req)...)
		}
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(a.body))
	return resp, nil
}

// secretsOf gives what a request for a token has in it that must not be told,
// should the endpoint repeat it.
func secretsOf(req *http.Request) []string {
	_, password, _ := req.BasicAuth()
	secrets := []string{password}
	if req.GetBody == nil {
		return secrets
	}
	body, err := req.GetBody()
	if err != nil {
		return secrets
	}
	defer body.Close() //nolint:errcheck // it is in memory
	text, err := io.ReadAll(body)
	if err != nil {
		return secrets
	}
	form, err := url.ParseQuery(string(text))
	if err != nil {
		return secrets
	}
	return append(secrets, form.Get("client_secret"), form.Get("password"), form.Get("refresh_token"))
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
