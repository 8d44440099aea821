package simulator

import (
	"net/http"
	"net/url"
	"testing"
	"testing/synctest"
	"time"
)

func TestRedeem(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, secret string
		asked, given url.Values
		status       int
		err          string
	}{
		{"good", "", nil, nil, 200, ""},
		{"good, with secret", "secret", nil, url.Values{"client_secret": {"secret"}}, 200, ""},
		{"no PKCE, with secret", "secret", url.Values{"code_challenge": nil}, url.Values{"client_secret": {"secret"}, "code_verifier": nil}, 200, ""},
		{"no PKCE, but a verifier", "secret", url.Values{"code_challenge": nil}, url.Values{"client_secret": {"secret"}}, 400, "invalid_grant"},
		{"no secret", "secret", nil, nil, 400, "invalid_client"},
		{"wrong secret", "secret", nil, url.Values{"client_secret": {"guess"}}, 400, "invalid_client"},
		{"wrong code", "", nil, url.Values{"code": {"guess"}}, 400, "invalid_grant"},
		{"no code", "", nil, url.Values{"code": nil}, 400, "invalid_grant"},
		{"other client", "", nil, url.Values{"client_id": {"other"}}, 400, "invalid_grant"},
		{"no client", "", nil, url.Values{"client_id": nil}, 400, "invalid_client"},
		{"other redirect URI", "", nil, url.Values{"redirect_uri": {"http://localhost:8085/callback"}}, 400, "invalid_grant"},
		{"wrong verifier", "", nil, url.Values{"code_verifier": {verifier + "x"}}, 400, "invalid_grant"},
		{"no verifier", "", nil, url.Values{"code_verifier": nil}, 400, "invalid_grant"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, c := setup(t, Config{ClientSecret: tt.secret})
			x := c.redeem(tt.status, codeOf(t, s, tt.asked), tt.given)
			if got := x.oauthError(t); got != tt.err {
				t.Errorf("error: got %q, want %q", got, tt.err)
			}
		})
	}
}

func TestCodeIsGoodOnceAndShortly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, c := setup(t, Config{})
		used := codeOf(t, s, nil)
		c.redeem(http.StatusOK, used, nil)
		spoilt := codeOf(t, s, nil)
		c.redeem(http.StatusBadRequest, spoilt, url.Values{"code_verifier": {"guess"}})
		late, inTime := codeOf(t, s, nil), codeOf(t, s, nil)
		time.Sleep(codeLife - time.Second)
		c.redeem(http.StatusOK, inTime, nil)
		time.Sleep(time.Second)
		for name, code := range map[string]string{"used": used, "spoilt": spoilt, "late": late} {
			if got := c.redeem(http.StatusBadRequest, code, nil).oauthError(t); got != "invalid_grant" {
				t.Errorf("%s code: got %q, want invalid_grant", name, got)
			}
		}
	})
}
