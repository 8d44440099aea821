package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
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
	// call while the old token still works, and one that refuses from being
	// asked by every call at all.
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
	access   Access
	renewAt  time.Time // from here on: renew in the background; zero: never
	expireAt time.Time // from here on: renew before the call; zero: never
	// refusal stands, without the endpoint being asked, until retryAt.
	refusal *Error
	retryAt time.Time
	closed  bool
}

// Access is what a login was granted.
type Access struct {
	Scopes  []string  // as the token endpoint names them; nil where it does not
	Expires time.Time // of the present token; zero where nobody says
}

// LogIn makes sure that there is a token, logging in where there is none, and
// tells what it is good for. Its error is an *Error of class Identity.
func (c *Client) LogIn(ctx context.Context) (Access, error) {
	if _, err := c.session.current(ctx); err != nil {
		return Access{}, err
	}
	c.session.mu.Lock()
	defer c.session.mu.Unlock()
	return c.session.access, nil
}

func newSession(cfg Config, base *url.URL) (*session, error) {
	source, err := cfg.Login.tokenSource(cfg, base)
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
		if e := s.standing(); e != nil {
			return "", e
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

func closedError() *Error {
	return &Error{Op: opLogin, Kind: Transient, Class: Identity, Err: errors.New("the client is closed")}
}

// standing is the refusal that holds without asking again, with what is left of
// its time.
func (s *session) standing() *Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return closedError()
	}
	left := time.Until(s.retryAt)
	if s.refusal == nil || left <= 0 {
		return nil
	}
	again := *s.refusal
	if again.RetryAfter > 0 {
		again.RetryAfter = left
	}
	return &again
}

// note remembers a login that failed, for as long as it is not to be tried again.
func (s *session) note(e *Error) {
	now := time.Now()
	s.renewAt = now.Add(renewPause)
	hold := e.RetryAfter
	if e.Kind == Denied {
		hold = max(hold, renewPause)
	}
	s.refusal, s.retryAt = e, now.Add(hold)
}

func (s *session) logIn() (string, error) {
	token, err := s.source.Token()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		e := loginError(err)
		s.note(e)
		return "", e
	}
	now := time.Now()
	s.refusal = nil
	s.token, s.renewAt, s.expireAt = token.AccessToken, time.Time{}, time.Time{}
	scopes, _ := token.Extra("scope").(string)
	s.access = Access{Scopes: strings.Fields(scopes), Expires: token.Expiry}
	if !token.Expiry.IsZero() {
		life := token.Expiry.Sub(now)
		s.renewAt = token.Expiry.Add(-min(renewAhead, life/5))
		s.expireAt = token.Expiry.Add(-min(renewLatest, life/10))
	}
	if unsaved, _ := token.Extra(extraUnsaved).(bool); unsaved {
		time.AfterFunc(time.Until(s.renewAt), func() { s.start("") }) // calls may be long in coming
	}
	return s.token, nil
}

// closer is a source that shares what it has with others.
type closer interface {
	// stop lets nothing begin any more of which a part would be lost. It may be
	// called at any time, and again.
	stop()
	// finish does, in its turn, what is left to be done: a token in hand, not saved.
	finish(ctx context.Context) error
}

// close lets no login begin any more, and waits for one that is under way where
// something would be lost with it.
func (s *session) close(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	source, ok := s.source.(closer)
	if !ok {
		return nil
	}
	source.stop()
	select {
	case s.turn <- struct{}{}:
	default: // a login is under way, or just ending
		select {
		case s.turn <- struct{}{}:
		case <-ctx.Done():
			return fmt.Errorf("a renewal of the login is under way, and its refresh token may be lost: %w", contextError(ctx))
		}
	}
	defer func() { <-s.turn }()
	return source.finish(ctx)
}
