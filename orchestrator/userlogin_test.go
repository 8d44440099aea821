package orchestrator_test

import (
	"context"
	"strconv"
	"sync"
	"testing"

	"waybill/orchestrator"
	"waybill/orchestrator/simulator"
)

const redirectURL = "http://localhost:8085/callback"

// memoryStore is a token store that several clients share.
type memoryStore struct {
	mu       sync.Mutex
	grant    orchestrator.Grant
	revision int
	failing  error // instead of saving
	saves    []orchestrator.Grant
}

func (s *memoryStore) Load(context.Context) (orchestrator.Grant, string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.revision == 0 {
		return orchestrator.Grant{}, "", orchestrator.ErrNoGrant
	}
	return s.grant, strconv.Itoa(s.revision), nil
}

func (s *memoryStore) Save(_ context.Context, g orchestrator.Grant, revision string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	present := ""
	if s.revision > 0 {
		present = strconv.Itoa(s.revision)
	}
	switch {
	case s.failing != nil:
		return s.failing
	case revision != present:
		return orchestrator.ErrGrantChanged
	}
	s.grant = g
	s.revision++
	s.saves = append(s.saves, g)
	return nil
}

// present is the grant as it stands.
func (s *memoryStore) present() orchestrator.Grant {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.grant
}

// put replaces the grant, whatever there is.
func (s *memoryStore) put(g orchestrator.Grant) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.grant = g
	s.revision++
}

func (s *memoryStore) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failing = err
}

// userConfig is that of a client on behalf of a user whose grant is in store.
func userConfig(server *simulator.Server, store orchestrator.TokenStore) orchestrator.Config {
	return orchestrator.Config{
		BaseURL: cloud, Transport: server.RoundTripper(), RetryFor: -1,
		Login: orchestrator.RefreshToken{ClientID: "app", Store: store},
	}
}

// comeBack is where the visitor's browser ends.
func comeBack(t *testing.T, visitor *simulator.Visitor, a *orchestrator.Authorization) string {
	t.Helper()
	address, err := visitor.Open(t.Context(), a.URL())
	if err != nil {
		t.Fatal(err)
	}
	return address
}

// authorize has a user log in, once for each refresh token.
func authorize(t *testing.T, server *simulator.Server, cfg orchestrator.Config, tokens int) orchestrator.Grant {
	t.Helper()
	ann := server.Visitor("ann", "pass word")
	var grant orchestrator.Grant
	for i := range tokens {
		a, err := orchestrator.NewAuthorization(cfg, orchestrator.AuthorizationRequest{RedirectURL: redirectURL})
		if err != nil {
			t.Fatal(err)
		}
		got, err := a.Exchange(t.Context(), comeBack(t, ann, a))
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			grant = got
			continue
		}
		grant = grant.Join(got)
	}
	return grant
}

// loggedIn is a store with the grant of a user who has logged in.
func loggedIn(t *testing.T, server *simulator.Server, tokens int) *memoryStore {
	t.Helper()
	grant := authorize(t, server, userConfig(server, &memoryStore{}), tokens)
	return &memoryStore{grant: grant, revision: 1}
}
