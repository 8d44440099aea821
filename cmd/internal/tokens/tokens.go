// Package tokens keeps what users' logins have left, an [orchestrator.Grant]
// each, where workers find it again: in a [File] for the workers of one machine,
// or in a [Bucket] of NATS for all of them.
//
// What is stored is sealed with the [Key] that the environment has (age,
// https://age-encryption.org). In a bucket it always is, and nothing else is
// taken from there; a file, which nobody else may read or write, may do without.
//
// Both replace the whole on condition that it is what was read, and have it on
// disk when they say so: what a crash leaves is the old grant or the new one.
package tokens

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"waybill/orchestrator"
)

// place holds one value.
type place interface {
	// read gives the value and its revision, or orchestrator.ErrNoGrant. With
	// orchestrator.ErrGrantUnusable there is a revision all the same.
	read(ctx context.Context) ([]byte, string, error)
	// write replaces it if it is of that revision, empty for none;
	// orchestrator.ErrGrantChanged otherwise.
	write(ctx context.Context, value []byte, revision string) error
	// String names it for people.
	String() string
}

// Store is an orchestrator.TokenStore.
type Store struct {
	place place
	key   Key
}

// String names the place.
func (s *Store) String() string { return s.place.String() }

// Load reads the grant. With orchestrator.ErrGrantUnusable it gives the revision
// all the same, so that Save can replace what nobody can read.
func (s *Store) Load(ctx context.Context) (orchestrator.Grant, string, error) {
	value, revision, err := s.place.read(ctx)
	if errors.Is(err, orchestrator.ErrNoGrant) {
		return orchestrator.Grant{}, "", orchestrator.ErrNoGrant
	}
	if err != nil {
		return orchestrator.Grant{}, revision, fmt.Errorf("read the login in %s: %w", s.place, err)
	}
	text, err := s.key.open(value)
	if err != nil {
		return orchestrator.Grant{}, revision, fmt.Errorf("read the login in %s: %w", s.place, err)
	}
	g, err := decode(text)
	if err != nil {
		return orchestrator.Grant{}, revision, fmt.Errorf("read the login in %s: %w", s.place, err)
	}
	return g, revision, nil
}

// Save replaces the grant.
func (s *Store) Save(ctx context.Context, g orchestrator.Grant, revision string) error {
	text, err := encode(g)
	if err == nil {
		text, err = s.key.seal(text)
	}
	if err == nil {
		err = s.place.write(ctx, text, revision)
	}
	if err != nil {
		return fmt.Errorf("save the login in %s: %w", s.place, err)
	}
	return nil
}

// version is that of the stored form. Members may be added to it; a member that
// an older worker must not leave out when it saves needs another version.
const version = 1

// stored is a grant as it is kept.
type stored struct {
	Version       int       `json:"version"`
	TokenURL      string    `json:"tokenUrl"`
	ClientID      string    `json:"clientId"`
	Confidential  bool      `json:"confidential,omitempty"`
	Login         string    `json:"login"`
	RefreshTokens []string  `json:"refreshTokens"`
	AccessToken   string    `json:"accessToken"`
	Expires       time.Time `json:"expires,omitzero"`
	Scopes        []string  `json:"scopes"`
	User          string    `json:"user,omitempty"`
	RenewedAt     time.Time `json:"renewedAt"`
}

// unusable is what somebody has to mend.
func unusable(format string, args ...any) error {
	return fmt.Errorf("%w: %s", orchestrator.ErrGrantUnusable, fmt.Sprintf(format, args...))
}

func encode(g orchestrator.Grant) ([]byte, error) {
	s := stored{
		Version: version, TokenURL: g.TokenURL, ClientID: g.ClientID, Confidential: g.Confidential, Login: g.Login, AccessToken: string(g.AccessToken),
		Expires: g.Expires.UTC(), Scopes: g.Scopes, User: g.User, RenewedAt: g.RenewedAt.UTC(),
	}
	for _, token := range g.RefreshTokens {
		s.RefreshTokens = append(s.RefreshTokens, string(token))
	}
	text, err := json.Marshal(s) //nolint:gosec // G117: to keep them is what it is for
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	return text, nil
}

func decode(text []byte) (orchestrator.Grant, error) {
	var s stored
	if err := json.Unmarshal(text, &s); err != nil {
		return orchestrator.Grant{}, unusable("it is no stored login: run worker login") // the error of json shows what it read
	}
	if s.Version != version {
		return orchestrator.Grant{}, unusable("its version is %d, this program knows %d: run worker login with this program, or all workers with the newer one", s.Version, version)
	}
	g := orchestrator.Grant{
		TokenURL: s.TokenURL, ClientID: s.ClientID, Confidential: s.Confidential, Login: s.Login, AccessToken: orchestrator.Secret(s.AccessToken),
		Expires: s.Expires, Scopes: s.Scopes, User: s.User, RenewedAt: s.RenewedAt,
	}
	for _, token := range s.RefreshTokens {
		g.RefreshTokens = append(g.RefreshTokens, orchestrator.Secret(token))
	}
	return g, nil
}
