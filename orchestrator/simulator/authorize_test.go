package simulator

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestCodeFlow goes the whole way: login page, code, tokens, a call to the API.
func TestCodeFlow(t *testing.T) {
	t.Parallel()
	for _, address := range []string{
		testHost + "/acme/identity_/connect/authorize", testHost + "/identity_/connect/authorize", testHost + "/identity/connect/authorize",
	} {
		t.Run(address, func(t *testing.T) {
			t.Parallel()
			s, c := setup(t, Config{Org: "acme", ClientID: "app", Users: []User{{Name: "jane", Email: "jane@acme.test", Password: "right"}}})
			b := newBrowser(t, s)
			p := b.authorize(address, nil)
			if wrong := b.logIn(p, "jane", "wrong"); !strings.Contains(wrong.body, "Invalid credentials") || !strings.Contains(wrong.body, `value="jane"`) {
				t.Errorf("wrong password: got to %s, %s", wrong.url, wrong.body)
			} else {
				p = wrong // one may try again
			}
			back := b.logIn(p, "JANE@acme.test", "right")
			got := c.redeem(http.StatusOK, back.code(t), nil).granted(t)
			if q := back.url.Query(); q.Get("state") != "s & t" || q.Get("from") != "login" {
				t.Errorf("redirect: got %s, want state and own query", back.url)
			}
			if got.ExpiresIn != 3600 || got.TokenType != "Bearer" || got.Scope != "OR.Queues OR.Folders.Read offline_access" || got.RefreshToken == "" {
				t.Errorf("answer: got %+v", got)
			}
			c.header.Set("Authorization", "Bearer "+got.AccessToken)
			c.get(http.StatusOK, "/odata/QueueItems")
			c.get(http.StatusForbidden, "/odata/Jobs")
			// Logged in, there is no page any more.
			again := b.authorize(address, url.Values{"scope": {"OR.Queues"}, "state": nil})
			if got := c.redeem(http.StatusOK, again.code(t), nil).granted(t); got.RefreshToken != "" || again.url.Query().Has("state") {
				t.Errorf("without offline_access and state: got %+v from %s", got, again.url)
			}
			if diff := cmp.Diff(map[string]int{"authorization_code": 2}, s.TokenCounts().Logins); diff != "" {
				t.Errorf("logins (-want +got):\n%s", diff)
			}
		})
	}
}

// TestAuthorizeRefuses sees the application told what is wrong.
func TestAuthorizeRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, secret string
		more         url.Values
		want         string
	}{
		{"response type", "", url.Values{"response_type": {"token"}}, "unsupported_response_type"},
		{"no challenge", "", url.Values{"code_challenge": nil}, "invalid_request"},
		{"plain challenge", "", url.Values{"code_challenge_method": {"plain"}}, "invalid_request"},
		{"no method", "", url.Values{"code_challenge_method": nil}, "invalid_request"},
		{"short challenge", "", url.Values{"code_challenge": {"short"}}, "invalid_request"},
		{"a scope and its part", "", url.Values{"scope": {"OR.Jobs OR.Jobs.Write"}}, "invalid_scope"},
		{"confidential, plain challenge", "secret", url.Values{"code_challenge_method": {"plain"}}, "invalid_request"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, _ := setup(t, Config{ClientSecret: tt.secret})
			got := newBrowser(t, s).authorize(authorizeURL, tt.more).url
			q := got.Query()
			if got.Hostname() != "localhost" || q.Get("error") != tt.want || q.Get("error_description") == "" || q.Get("state") != "s & t" || q.Has("code") {
				t.Errorf("got to %s, want error %s at the redirect URI", got, tt.want)
			}
		})
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	s, _ := setup(t, Config{})
	b := newBrowser(t, s)
	got := b.submit(b.authorize(authorizeURL, nil), url.Values{"cancel": {"true"}}).url
	if q := got.Query(); q.Get("error") != "access_denied" || q.Get("state") != "s & t" || q.Has("code") {
		t.Errorf("got to %s, want access_denied", got)
	}
	if empty := b.logIn(b.authorize(authorizeURL, nil), "jane", ""); !strings.Contains(empty.body, "Invalid credentials") {
		t.Errorf("empty password: got to %s", empty.url)
	}
}

func TestRedirectURI(t *testing.T) {
	t.Parallel()
	fixed := []string{"https://app.test/callback"}
	for _, tt := range []struct {
		uri     string
		allowed []string
		good    bool
	}{
		{"http://localhost/", nil, true},
		{"http://127.0.0.1:1234/any/path", nil, true},
		{"https://[::1]:1234", nil, true},
		{"https://app.test/callback", nil, false},
		{"http://localhost.app.test/", nil, false},
		{"http://localhost@app.test/", nil, false},
		{"http://localhost/#fragment", nil, false},
		{"javascript://localhost/%0aalert(1)", nil, false},
		{"/callback", nil, false},
		{"://", nil, false},
		{"", nil, false},
		{"https://app.test/callback", fixed, true},
		{"https://app.test/callback/", fixed, false},
		{"http://localhost/", fixed, false},
	} {
		s, _ := setup(t, Config{RedirectURIs: tt.allowed})
		p := newBrowser(t, s).authorize(authorizeURL, url.Values{"redirect_uri": {tt.uri}})
		if got := formAction.MatchString(p.body); got != tt.good {
			t.Errorf("%q of %v: got to %s; want it taken: %t", tt.uri, tt.allowed, p.url, tt.good)
		}
	}
}

func TestOrganization(t *testing.T) {
	t.Parallel()
	users := []User{{Name: "jane", Password: "p"}, {Name: "joe", Password: "p", Org: "other"}}
	for _, tt := range []struct {
		user, acr string
		status    int // of a call to the API; 0: no login
	}{
		{"jane", "", 200},
		{"jane", "tenantName:ACME", 200},
		{"jane", "tenant:1111", 200},
		{"jane", "tenant:2222", 0},
		{"jane", "tenantName:other", 0},
		{"jane", "idp:google tenantName:other", 0},
		{"joe", "", 0},
		{"joe", "tenantName:acme", 0},
		{"joe", "tenantName:other", 401},
	} {
		t.Run(tt.user+" "+tt.acr, func(t *testing.T) {
			t.Parallel()
			s, c := setup(t, Config{Org: "acme", OrgID: "1111", Users: users})
			b := newBrowser(t, s)
			asked := url.Values{"acr_values": {tt.acr}}
			p := b.logIn(b.authorize(authorizeURL, asked), tt.user, "p")
			if tt.status > 0 {
				c.header.Set("Authorization", "Bearer "+c.redeem(http.StatusOK, p.code(t), nil).granted(t).AccessToken)
				c.get(tt.status, "/odata/QueueItems")
				return
			}
			q := p.url.Query()
			if p.url.Path != "/identity_/web/login" || q.Get("errorCode") != "219" || !strings.Contains(p.body, "219") {
				t.Errorf("got to %s, want 219", p.url)
			}
			// The page lets another user try.
			if tt.acr == "" {
				b.logIn(p, "jane", "p").code(t)
			}
		})
	}
}

// TestSessionOfStranger sees who is logged in already sent to the same page.
func TestSessionOfStranger(t *testing.T) {
	t.Parallel()
	s, _ := setup(t, Config{Users: []User{{Name: "joe", Password: "p", Org: "other"}}})
	b := newBrowser(t, s)
	address := testHost + "/identity/connect/authorize"
	b.logIn(b.authorize(address, nil), "joe", "p").code(t)
	if p := b.authorize(address, url.Values{"acr_values": {"tenantName:acme"}}); p.url.Path != "/identity/web/login" || p.url.Query().Get("errorCode") != "219" {
		t.Errorf("got to %s, want 219", p.url)
	}
}
