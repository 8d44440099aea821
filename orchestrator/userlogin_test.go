package orchestrator_test

import (
	"context"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strconv"
	"strings"
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

func (s *memoryStore) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failing = err
}

// browser is as much of one as the login page needs.
type browser struct {
	t    *testing.T
	http *http.Client
}

func newBrowser(t *testing.T, server *simulator.Server) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{t: t, http: &http.Client{Transport: server.RoundTripper(), Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(r.URL.String(), redirectURL) {
			return http.ErrUseLastResponse
		}
		return nil
	}}}
}

// fetch gives the address that the browser ends on, and the page it shows.
func (b *browser) fetch(method, address, form string) (string, string) {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), method, address, strings.NewReader(form))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := b.http.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // it has been read
	page, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	if to, err := resp.Location(); err == nil {
		return to.String(), ""
	}
	return resp.Request.URL.String(), string(page)
}

var loginForm = regexp.MustCompile(`(?s)<form [^>]*action="([^"]*)".*name="returnUrl" value="([^"]*)"`)

// open follows an address, filling the login page in where it is shown, to
// where the browser ends.
func (b *browser) open(address, user string) string {
	b.t.Helper()
	at, page := b.fetch(http.MethodGet, address, "")
	form := loginForm.FindStringSubmatch(page)
	if form == nil {
		return at
	}
	base, err := url.Parse(at)
	if err != nil {
		b.t.Fatal(err)
	}
	to := base.ResolveReference(&url.URL{Path: html.UnescapeString(form[1])})
	fields := url.Values{"returnUrl": {html.UnescapeString(form[2])}, "username": {user}, "password": {"pass word"}}
	at, _ = b.fetch(http.MethodPost, to.String(), fields.Encode())
	return at
}

// userConfig is that of a client on behalf of a user whose grant is in store.
func userConfig(server *simulator.Server, store orchestrator.TokenStore) orchestrator.Config {
	return orchestrator.Config{
		BaseURL: cloud, Transport: server.RoundTripper(), RetryFor: -1,
		Login: orchestrator.RefreshToken{ClientID: "app", Store: store},
	}
}

// authorize has a user log in, once for each refresh token.
func authorize(t *testing.T, server *simulator.Server, cfg orchestrator.Config, tokens int) orchestrator.Grant {
	t.Helper()
	b := newBrowser(t, server)
	var grant orchestrator.Grant
	for i := range tokens {
		a, err := orchestrator.NewAuthorization(cfg, orchestrator.AuthorizationRequest{RedirectURL: redirectURL})
		if err != nil {
			t.Fatal(err)
		}
		got, err := a.Exchange(t.Context(), b.open(a.URL(), "ann"))
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
