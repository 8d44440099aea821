package simulator

import (
	"mime"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// tokens are the access tokens that are good at present.
type tokens struct {
	mu     sync.Mutex
	issued map[string]*token
}

type token struct {
	scopes  []string // empty: everything
	expires time.Time
	lasting bool // a personal access token, which no fault can take away for good
	seen    bool // it has carried a call since it was issued or last struck
}

type tokenBody struct {
	AccessToken string `json:"access_token"`
	ExpiresIn   int    `json:"expires_in"`
	TokenType   string `json:"token_type"`
	Scope       string `json:"scope"`
}

// serveToken is the token endpoint of the identity server, for client credentials.
func (s *Server) serveToken(w http.ResponseWriter, r *http.Request) {
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")) // what cannot be parsed is not the form either
	if r.Method != http.MethodPost || media != "application/x-www-form-urlencoded" {
		// Not the form: the identity server takes the caller for a browser and shows its login page.
		s.writeHTML(w, http.StatusOK)
		return
	}
	scope, err := s.checkLogin(r)
	if err != nil {
		s.writeRefusal(w, err)
		return
	}
	body := tokenBody{
		AccessToken: s.tokens.issue(s.mint, s.now().Add(s.cfg.TokenLife), strings.Fields(scope)),
		ExpiresIn:   int(s.cfg.TokenLife / time.Second),
		TokenType:   "Bearer",
		Scope:       scope,
	}
	w.Header().Set("Cache-Control", "no-store, no-cache, max-age=0")
	s.writeJSON(w, http.StatusOK, body)
}

func (s *Server) checkLogin(r *http.Request) (scope string, err *refusal) {
	if r.ParseForm() != nil {
		return "", oauthError(http.StatusBadRequest, "invalid_request")
	}
	if r.PostForm.Get("grant_type") != "client_credentials" {
		return "", oauthError(http.StatusBadRequest, "unsupported_grant_type")
	}
	id, secret, basic := r.BasicAuth()
	if !basic {
		id, secret = r.PostForm.Get("client_id"), r.PostForm.Get("client_secret")
	}
	if !accepts(s.cfg.ClientID, id) || !accepts(s.cfg.ClientSecret, secret) {
		return "", oauthError(s.cfg.InvalidClientStatus, "invalid_client")
	}
	scope = r.PostForm.Get("scope")
	if !scopesFit(strings.Fields(scope)) {
		return "", oauthError(http.StatusBadRequest, "invalid_scope")
	}
	return scope, nil
}

func oauthError(status int, code string) *refusal {
	return &refusal{status: status, message: code, shape: shapeOAuth}
}

// accepts says whether what was given is what is wanted, where anything but nothing is wanted if want is empty.
func accepts(want, got string) bool {
	if want == "" {
		return got != ""
	}
	return want == got
}

// scopesFit refuses what the identity server refuses: a refresh token for client credentials, and a resource asked for
// as a whole together with its parts.
func scopesFit(scopes []string) bool {
	for _, scope := range scopes {
		if scope == "offline_access" {
			return false
		}
		whole, isPart := strings.CutSuffix(scope, ".Read")
		if !isPart {
			whole, isPart = strings.CutSuffix(scope, ".Write")
		}
		if isPart && slices.Contains(scopes, whole) {
			return false
		}
	}
	return true
}

func (t *tokens) issue(m *mint, expires time.Time, scopes []string) string {
	name := m.hex(32)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.issued[name] = &token{scopes: scopes, expires: expires}
	return name
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
	t.issued[bearer] = &token{lasting: true}
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

// allows says whether the token's scopes cover an operation: a resource as a whole, or the part that reads or writes.
func (t *token) allows(scope string) bool {
	if scope == "" || len(t.scopes) == 0 || slices.Contains(t.scopes, "OR.Default") || slices.Contains(t.scopes, scope) {
		return true
	}
	whole := strings.TrimSuffix(strings.TrimSuffix(scope, ".Read"), ".Write")
	return slices.Contains(t.scopes, whole)
}

func bearerOf(r *http.Request) string {
	scheme, credentials, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(credentials)
}
