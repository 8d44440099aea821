package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/google/uuid"
	"golang.org/x/oauth2"
)

const (
	// useMargin is how much longer than its HTTP exchange a use of a refresh
	// token may take before others take the user for dead.
	useMargin = 5 * time.Second
	// lookAgain spaces the looks at a grant that somebody else is using.
	lookAgain = 250 * time.Millisecond
	// storeTimeout bounds one access to the store.
	storeTimeout = 10 * time.Second
	// saveFor is how long a renewal goes on trying to save what it got.
	saveFor = 5 * time.Second
	// unsavedLife is how soon the session comes back to save what could not be.
	unsavedLife = time.Minute
)

// rotation renews the access token of a grant that others may share. At each
// step a crash, of this worker or of the network, leaves the store with a
// refresh token that is good:
//
//  1. Take the grant for use: put a name of our own into it, on condition that
//     it is as it was read. One of several workers succeeds, the others wait for
//     what it gets.
//  2. Exchange the first refresh token.
//  3. Save the new one behind the other and give the grant back, on condition
//     that it is still in our use.
//
// Whoever finds a grant in use by another, unchanged for longer than an exchange
// may take, by its own clock, takes it over. The token may have been used then.
// If it is refused it is dropped, and the other one's turn has come.
type rotation struct {
	store  TokenStore
	config oauth2.Config
	http   *http.Client
	log    *slog.Logger
	life   time.Duration // of a use

	stopped  chan struct{} // closed when no exchange may begin any more
	stopOnce sync.Once

	given   Secret   // the access token handed out last
	unsaved *renewal // what could not be saved yet
}

// renewal is what an exchange has brought.
type renewal struct {
	login string // Grant.Login
	used  Secret // the refresh token that was exchanged
	token *oauth2.Token
}

// Token gives the store's access token if it is another than was given last, and
// renews it otherwise. The session sees to it that it is called by one at a time.
func (r *rotation) Token() (*oauth2.Token, error) {
	if r.unsaved != nil {
		token, err := r.keep(*r.unsaved)
		if r.unsaved != nil || err == nil && usableToken(token) {
			return token, err
		}
	}
	wait := newPatience(r.life)
	for {
		g, revision, err := r.load(context.Background())
		switch {
		case r.isStopped():
			return nil, closedError()
		case err != nil:
			return nil, err
		case g.usable() && g.AccessToken != r.given:
			return r.handOut(g), nil
		case g.User != "" && !wait.isOver(revision):
			wait.pause(r.stopped)
			continue
		}
		token, err := r.renew(g, revision)
		if !errors.Is(err, ErrGrantChanged) && !errors.Is(err, errGrantUsed) {
			return token, err
		}
		if errors.Is(err, errGrantUsed) && len(g.RefreshTokens) == 1 {
			return nil, err // the last one is kept, should the refusal be a mistake
		}
	}
}

// renew takes the grant for use and exchanges its first refresh token. Once
// begun the exchange is carried through.
func (r *rotation) renew(g Grant, revision string) (*oauth2.Token, error) {
	if len(g.RefreshTokens) == 0 {
		return nil, noGrant()
	}
	used := g.RefreshTokens[0]
	g.User = uuid.NewString()
	ctx := context.Background()
	if err := r.save(ctx, g, revision); err != nil {
		return nil, err
	}
	if r.isStopped() {
		r.giveBack(ctx, g, false)
		return nil, closedError()
	}
	ctx = withLoginClient(ctx, r.http)
	token, err := r.config.TokenSource(ctx, &oauth2.Token{RefreshToken: string(used)}).Token()
	if err == nil {
		return r.keep(renewal{login: g.Login, used: used, token: token})
	}
	r.giveBack(ctx, g, errors.Is(loginError(err), errGrantUsed))
	return nil, loginError(err)
}

// giveBack ends a use that brought nothing, without the token where it is good
// no more. Should it fail, the use is over by itself after a while.
func (r *rotation) giveBack(ctx context.Context, mine Grant, refused bool) {
	g, revision, err := r.load(ctx)
	if err != nil || g.User != mine.User {
		return
	}
	g.User = ""
	if refused && len(g.RefreshTokens) > 1 {
		g = g.without(g.RefreshTokens[0])
		r.log.Warn("a refresh token is not accepted any more, going on with the other: log in again (worker login) to have two",
			slog.Int("left", len(g.RefreshTokens)))
	}
	if err := r.save(ctx, g, revision); err != nil {
		r.log.Warn("the stored login stays in use for a while", slog.Any("error", err))
	}
}

// keep saves what an exchange has brought. Where the store does not take it, the
// access token is handed out nonetheless, for so short a time that the session
// soon comes back to try again. Where somebody has logged in anew meanwhile the
// error is ErrGrantChanged.
func (r *rotation) keep(n renewal) (*oauth2.Token, error) {
	g, err := r.persist(context.Background(), n)
	switch {
	case err == nil:
		return r.handOut(g), nil
	case r.unsaved == nil:
		return nil, err
	}
	r.log.Error("a new refresh token could not be saved: until it is, do not stop this worker", slog.Any("error", err))
	r.given = Secret(n.token.AccessToken)
	if !usableToken(n.token) {
		return nil, loginError(err)
	}
	short := *n.token.WithExtra(map[string]any{extraUnsaved: true})
	if soon := time.Now().Add(unsavedLife); short.Expiry.IsZero() || soon.Before(short.Expiry) {
		short.Expiry = soon
	}
	return &short, nil
}

// persist tries to save a renewal, for a while, and remembers one that is still
// to be saved.
func (r *rotation) persist(ctx context.Context, n renewal) (g Grant, err error) {
	pauses := backoff.NewExponentialBackOff(backoff.WithInitialInterval(lookAgain), backoff.WithMaxElapsedTime(saveFor))
	_ = backoff.Retry(func() error { // of err there is more to say than of the end of ctx
		if g, err = r.keepOnce(ctx, n); errors.Is(err, ErrGrantChanged) {
			return backoff.Permanent(err)
		}
		return err
	}, backoff.WithContext(pauses, ctx))
	r.unsaved = nil
	if err != nil && !errors.Is(err, ErrGrantChanged) {
		r.unsaved = &n
	}
	return g, err
}

// keepOnce puts the new refresh token into the grant as it stands now: in place
// of the one that was used, and behind what others may have put there meanwhile.
// Where somebody has logged in anew it belongs to nothing any more, and the error
// is ErrGrantChanged.
func (r *rotation) keepOnce(ctx context.Context, n renewal) (Grant, error) {
	for {
		g, revision, err := r.load(ctx)
		if err != nil {
			return g, err
		}
		if g.Login != n.login {
			return g, ErrGrantChanged
		}
		g = g.without(n.used).with(Secret(n.token.RefreshToken))
		g.User = ""
		g.AccessToken, g.Expires = Secret(n.token.AccessToken), n.token.Expiry
		scopes, _ := n.token.Extra("scope").(string)
		g.Scopes, g.RenewedAt = strings.Fields(scopes), time.Now()
		if err = r.save(ctx, g, revision); !errors.Is(err, ErrGrantChanged) {
			return g, err
		}
	}
}

// extraUnsaved marks a token whose refresh token is not stored yet.
const extraUnsaved = "waybill_unsaved"

// stop ends the wait for a use by another, after which an exchange would begin.
func (r *rotation) stop() { r.stopOnce.Do(func() { close(r.stopped) }) }

func (r *rotation) isStopped() bool {
	select {
	case <-r.stopped:
		return true
	default:
		return false
	}
}

// finish tries once more to save what could not be. It is called by one at a
// time, as Token is.
func (r *rotation) finish(ctx context.Context) error {
	if r.unsaved == nil {
		return nil
	}
	if _, err := r.persist(ctx, *r.unsaved); r.unsaved != nil {
		return fmt.Errorf("a refresh token is lost, since it could not be saved: log in again with worker login: %w", err)
	}
	return nil
}

func (r *rotation) handOut(g Grant) *oauth2.Token {
	r.given = g.AccessToken
	token := &oauth2.Token{AccessToken: string(g.AccessToken), Expiry: g.Expires}
	return token.WithExtra(map[string]any{"scope": strings.Join(g.Scopes, " ")})
}

// load reads the grant and refuses one that is another application's.
func (r *rotation) load(ctx context.Context) (Grant, string, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	g, revision, err := r.store.Load(ctx)
	switch {
	case errors.Is(err, ErrNoGrant):
		return g, "", noGrant()
	case err != nil:
		return g, "", storeError(err)
	case g.ClientID != r.config.ClientID || g.TokenURL != r.config.Endpoint.TokenURL:
		return g, "", &Error{Op: opLogin, Kind: Denied, Class: Identity, Err: &refusalError{advice: "the stored login is that of application " +
			g.ClientID + " at " + g.TokenURL + ", not of " + r.config.ClientID + " at " + r.config.Endpoint.TokenURL + ": log in again (worker login)"}}
	case g.Confidential && r.config.ClientSecret == "":
		return g, "", &Error{Op: opLogin, Kind: Denied, Class: Identity, Err: &refusalError{advice: "the application of the stored login has a secret, and none is set: give the client secret that was there for worker login"}}
	}
	return g, revision, nil
}

func (r *rotation) save(ctx context.Context, g Grant, revision string) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if err := r.store.Save(ctx, g, revision); err != nil {
		return storeError(err)
	}
	return nil
}

func noGrant() *Error {
	return &Error{Op: opLogin, Kind: Denied, Class: Identity, Err: &refusalError{advice: ErrNoGrant.Error() + ": log in with worker login"}}
}

// storeError is that of a store which may work again later, or not before
// somebody has mended it.
func storeError(err error) *Error {
	kind := Transient
	if errors.Is(err, ErrGrantUnusable) {
		kind = Denied
	}
	return &Error{Op: opLogin, Kind: kind, Class: Identity, Message: "token store", Err: err}
}

func usableToken(t *oauth2.Token) bool {
	return Grant{AccessToken: Secret(t.AccessToken), Expires: t.Expiry}.usable()
}

// patience waits for a grant that somebody else is using, for as long as that
// one may be alive.
type patience struct {
	life     time.Duration
	revision string
	since    time.Time
}

func newPatience(life time.Duration) *patience { return &patience{life: life} }

// isOver tells that the grant has been seen unchanged for too long.
func (p *patience) isOver(revision string) bool {
	if p.revision != revision {
		p.revision, p.since = revision, time.Now()
	}
	return time.Since(p.since) >= p.life
}

// pause ends early when stopped is closed.
func (p *patience) pause(stopped <-chan struct{}) {
	timer := time.NewTimer(lookAgain)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-stopped:
	}
}
