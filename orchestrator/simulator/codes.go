package simulator

import (
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"time"
)

const (
	codeLife      = 5 * time.Minute
	offlineAccess = "offline_access"
)

// code is an authorization code on its way through the caller's browser.
type code struct {
	login       *login
	redirectURI string
	challenge   string // of PKCE; empty: none
	expires     time.Time
}

func (t *tokens) issueCode(c code) string {
	name := t.mint.hex(32)
	c.expires = time.Now().Add(codeLife)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.codes[name] = &c
	return name
}

// redemption is a code as an application hands it in.
type redemption struct {
	code, client, redirectURI, verifier string
}

// redeem takes a code for the first tokens of its login. The first try of the right application uses a code up, whether
// or not the rest is in order: nobody gets to guess.
func (t *tokens) redeem(r redemption, life, refreshLife time.Duration) (tokenBody, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c, ok := t.codes[r.code]
	if !ok || c.login.client != r.client {
		return tokenBody{}, false
	}
	delete(t.codes, r.code)
	if !time.Now().Before(c.expires) || c.redirectURI != r.redirectURI || !c.isProvedBy(r.verifier) {
		return tokenBody{}, false
	}
	t.counts.Logins[c.login.grant]++
	body := t.hand(c.login, life)
	if slices.Contains(c.login.scopes, offlineAccess) {
		body.RefreshToken = t.handRefresh(c.login, refreshLife)
	}
	return body, true
}

// isProvedBy checks PKCE: the verifier is what the challenge is the hash of.
func (c *code) isProvedBy(verifier string) bool {
	if c.challenge == "" {
		return verifier == ""
	}
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:]) == c.challenge
}
