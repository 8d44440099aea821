package simulator

import (
	"maps"
	"time"
)

// TokenCounts says how callers have come by their access tokens.
type TokenCounts struct {
	// Logins counts by grant type: "client_credentials", "authorization_code", "user_key" (the legacy login) and
	// "password" (the on-premises one).
	Logins map[string]int `json:"logins"`
	// Refreshes counts the refresh tokens that were taken.
	Refreshes int `json:"refreshes"`
	// Refused counts the refresh tokens that were not.
	Refused RefusedRefreshes `json:"refused"`
}

// RefusedRefreshes counts the refresh tokens that were refused.
type RefusedRefreshes struct {
	Reused  int `json:"reused"`  // used before
	Unknown int `json:"unknown"` // never issued, another application's, or taken back
	Expired int `json:"expired"`
}

// TokenCounts returns the counts since the start or the last Reset.
func (s *Server) TokenCounts() TokenCounts {
	s.tokens.mu.Lock()
	defer s.tokens.mu.Unlock()
	counts := s.tokens.counts
	counts.Logins = maps.Clone(counts.Logins)
	return counts
}

func (t *tokens) clearCounts() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts = TokenCounts{Logins: make(map[string]int)}
}

// RevokeRefreshTokens takes back every refresh token there is. Access tokens stay good for their time.
func (s *Server) RevokeRefreshTokens() {
	s.tokens.mu.Lock()
	defer s.tokens.mu.Unlock()
	clear(s.tokens.refresh)
}

// refreshToken is kept after its use, to tell one that comes again from one that never was.
type refreshToken struct {
	login   *login
	expires time.Time
	used    time.Time // zero: not yet
}

// handRefresh issues a refresh token. The caller holds mu.
func (t *tokens) handRefresh(l *login, life time.Duration) string {
	name := t.mint.hex(32)
	t.refresh[name] = &refreshToken{login: l, expires: time.Now().Add(life)}
	return name
}

// renew takes a refresh token for new tokens.
func (t *tokens) renew(given, client string, cfg *Config) (tokenBody, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	known, ok := t.refresh[given]
	now := time.Now()
	switch {
	case !ok || known.login.client != client:
		t.counts.Refused.Unknown++
		return tokenBody{}, false
	case !now.Before(known.expires):
		t.counts.Refused.Expired++
		return tokenBody{}, false
	case !known.used.IsZero() && now.Sub(known.used) >= cfg.RefreshTokenLeeway:
		t.counts.Refused.Reused++
		if cfg.RefreshTokenReuseRevokes {
			t.takeBack(known.login)
		}
		return tokenBody{}, false
	}
	t.counts.Refreshes++
	body := t.hand(known.login, cfg.TokenLife)
	if cfg.RefreshTokensLast {
		body.RefreshToken = given
		return body, true
	}
	if known.used.IsZero() {
		known.used = now // the leeway begins with the first use
	}
	body.RefreshToken = t.handRefresh(known.login, cfg.RefreshTokenLife)
	return body, true
}

// takeBack revokes all that descends from a login. The caller holds mu.
func (t *tokens) takeBack(l *login) {
	maps.DeleteFunc(t.issued, func(_ string, issued *token) bool { return issued.login == l })
	maps.DeleteFunc(t.refresh, func(_ string, issued *refreshToken) bool { return issued.login == l })
}
