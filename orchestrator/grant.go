package orchestrator

import (
	"context"
	"errors"
	"slices"
	"time"
)

// Grant is what a user's login has left: the refresh tokens, which are used in
// turn, and the access token that the last of them gave.
//
// A refresh token is good for one use, and its answer brings the next one. Where
// that answer is lost, to a crash or on the way, so is the token. Hence there
// are two, from two authorizations of one login: what befalls one in use leaves
// the other.
type Grant struct {
	// TokenURL and ClientID are whose the tokens are; no other application can
	// use them.
	TokenURL, ClientID string
	// Confidential tells that the application has proved itself by a secret, and
	// must again.
	Confidential bool
	// Login tells one login from the next, which replaces all of it.
	Login string
	// RefreshTokens are those that are good, next one to be used first.
	RefreshTokens []Secret
	// AccessToken is shared, so that several workers need one renewal.
	AccessToken Secret
	Expires     time.Time // of AccessToken; zero where nobody says
	Scopes      []string  // of AccessToken
	// User names whoever is using the first refresh token just now; empty:
	// nobody. It is a random name, new for each use.
	User string
	// RenewedAt is when a refresh token was last had, by that machine's clock.
	RenewedAt time.Time
}

// TokenStore keeps a Grant for one worker or several. Its methods may be called
// from several goroutines and processes.
type TokenStore interface {
	// Load gives the grant and a word for its present revision. Where there is
	// none the error is ErrNoGrant.
	Load(ctx context.Context) (Grant, string, error)
	// Save replaces the grant if it is still of that revision, the empty one
	// meaning that there is none. Otherwise the error is ErrGrantChanged. When
	// it returns nil the grant is where a crash does not reach it, whole.
	Save(ctx context.Context, g Grant, revision string) error
}

var (
	// ErrNoGrant is what a TokenStore without a grant returns.
	ErrNoGrant = errors.New("no login is stored")
	// ErrGrantUnusable is in the error of a TokenStore that has something, which
	// it cannot read until somebody mends it.
	ErrGrantUnusable = errors.New("the stored login cannot be used")
	// ErrGrantChanged is what a TokenStore returns where somebody else has
	// saved meanwhile.
	ErrGrantChanged = errors.New("the stored login has changed meanwhile")
)

// usable tells that the access token can still be called with.
func (g Grant) usable() bool {
	return g.AccessToken != "" && (g.Expires.IsZero() || time.Until(g.Expires) > renewLatest)
}

// without leaves out a refresh token.
func (g Grant) without(token Secret) Grant {
	g.RefreshTokens = slices.DeleteFunc(slices.Clone(g.RefreshTokens), func(t Secret) bool { return t == token })
	return g
}

// Join adds the refresh tokens of another grant, for a user who has authorized
// an application twice.
func (g Grant) Join(other Grant) Grant {
	g.RefreshTokens = slices.Concat(g.RefreshTokens, other.RefreshTokens)
	return g
}

// with puts a refresh token at the end.
func (g Grant) with(token Secret) Grant {
	g = g.without(token)
	g.RefreshTokens = append(g.RefreshTokens, token)
	return g
}
