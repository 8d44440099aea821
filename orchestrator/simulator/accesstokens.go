package simulator

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// tokens is what the identity server has handed out.
type tokens struct {
	mint *mint

	mu       sync.Mutex
	issued   map[string]*token // access tokens that are good at present
	codes    map[string]*code
	refresh  map[string]*refreshToken // used ones too
	sessions map[string]User          // by cookie
	counts   TokenCounts
}

func newTokens(m *mint) *tokens {
	return &tokens{
		mint: m, issued: make(map[string]*token), codes: make(map[string]*code), refresh: make(map[string]*refreshToken),
		sessions: make(map[string]User), counts: TokenCounts{Logins: make(map[string]int)},
	}
}

// login is what somebody has logged in as. All tokens that descend from one login share it.
type login struct {
	grant  string
	client string
	org    string   // empty: any
	scopes []string // empty: everything
}

type token struct {
	login   *login
	expires time.Time
	lasting bool // a personal access token, which no fault can take away for good
	seen    bool // it has carried a call since it was issued or last struck
}

// enter counts a login and hands out its access token.
func (t *tokens) enter(l *login, life time.Duration) tokenBody {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts.Logins[l.grant]++
	return t.hand(l, life)
}

// hand issues an access token. The caller holds mu.
func (t *tokens) hand(l *login, life time.Duration) tokenBody {
	name := t.mint.hex(32)
	t.issued[name] = &token{login: l, expires: time.Now().Add(life)}
	return tokenBody{
		AccessToken: name, ExpiresIn: int(life / time.Second), TokenType: "Bearer", Scope: strings.Join(l.scopes, " "),
	}
}

// RevokeTokens takes back every access token there is: their next calls get 401. Personal access tokens are good again at
// once, since nothing tells them from new ones.
func (s *Server) RevokeTokens() {
	s.tokens.mu.Lock()
	defer s.tokens.mu.Unlock()
	clear(s.tokens.issued)
}

// check finds the token of a call. A personal access token is taken in at its first use.
func (t *tokens) check(bearer string, now time.Time, personal string) (*token, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if known, ok := t.issued[bearer]; ok {
		if known.lasting || now.Before(known.expires) {
			return known, true
		}
		delete(t.issued, bearer)
		return nil, false
	}
	if bearer == "" || (personal != "" && bearer != personal) || (personal == "" && !strings.HasPrefix(bearer, "rt_")) {
		return nil, false
	}
	t.issued[bearer] = &token{login: &login{}, lasting: true}
	return t.issued[bearer], true
}

// strike makes a token expire before its time, unless this is its first call: a new token is never refused, so the
// caller that renews is let through. It reports whether it struck.
func (t *tokens) strike(bearer string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	known, ok := t.issued[bearer]
	if !ok || !known.seen {
		return false
	}
	known.seen = false
	if !known.lasting {
		delete(t.issued, bearer)
	}
	return true
}

func (t *tokens) markSeen(bearer string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if known, ok := t.issued[bearer]; ok {
		known.seen = true
	}
}

// allows says whether the login's scopes cover an operation: a resource as a whole, or the part that reads or writes.
func (l *login) allows(scope string) bool {
	if scope == "" || len(l.scopes) == 0 || slices.Contains(l.scopes, "OR.Default") || slices.Contains(l.scopes, scope) {
		return true
	}
	whole := strings.TrimSuffix(strings.TrimSuffix(scope, ".Read"), ".Write")
	return slices.Contains(l.scopes, whole)
}

// isFor says whether the login is one to the organisation.
func (l *login) isFor(org string) bool {
	return l.org == "" || org == "" || strings.EqualFold(l.org, org)
}

func bearerOf(r *http.Request) string {
	scheme, credentials, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(credentials)
}
