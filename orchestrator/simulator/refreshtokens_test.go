package simulator

import (
	"net/http"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// logInOffline returns the first tokens of a user.
func logInOffline(tb testing.TB, s *Server, c *client) tokenBody {
	tb.Helper()
	return c.redeem(http.StatusOK, codeOf(tb, s, nil), nil).granted(tb)
}

func TestRotation(t *testing.T) {
	t.Parallel()
	s, c := setup(t, Config{})
	first := logInOffline(t, s, c)
	second := c.refresh(http.StatusOK, first.RefreshToken, nil).granted(t)
	if second.RefreshToken == first.RefreshToken || second.RefreshToken == "" || second.AccessToken == first.AccessToken || second.Scope != first.Scope {
		t.Errorf("refresh: got %+v after %+v", second, first)
	}
	for name, token := range map[string]string{"used": first.RefreshToken, "unknown": "guess", "none": ""} {
		if got := c.refresh(http.StatusBadRequest, token, nil).oauthError(t); got != "invalid_grant" {
			t.Errorf("%s: got %q, want invalid_grant", name, got)
		}
	}
	if got := c.refresh(http.StatusBadRequest, second.RefreshToken, url.Values{"client_id": {"other"}}).oauthError(t); got != "invalid_grant" {
		t.Errorf("another client: got %q, want invalid_grant", got)
	}
	third := c.refresh(http.StatusOK, second.RefreshToken, nil).granted(t) // what descends from it lives on
	c.header.Set("Authorization", "Bearer "+first.AccessToken)
	c.get(http.StatusOK, "/odata/QueueItems")
	s.RevokeTokens()
	c.get(http.StatusUnauthorized, "/odata/QueueItems")
	fourth := c.refresh(http.StatusOK, third.RefreshToken, nil).granted(t)
	s.RevokeRefreshTokens()
	c.refresh(http.StatusBadRequest, fourth.RefreshToken, nil)
	c.header.Set("Authorization", "Bearer "+fourth.AccessToken)
	c.get(http.StatusOK, "/odata/QueueItems")
	want := TokenCounts{
		Logins: map[string]int{"authorization_code": 1}, Refreshes: 3, Refused: RefusedRefreshes{Reused: 1, Unknown: 4},
	}
	if diff := cmp.Diff(want, s.TokenCounts()); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
	s.Reset()
	if diff := cmp.Diff(TokenCounts{Logins: map[string]int{}}, s.TokenCounts()); diff != "" {
		t.Errorf("counts after reset (-want +got):\n%s", diff)
	}
}

func TestRefreshChecksTheApplication(t *testing.T) {
	t.Parallel()
	s, c := setup(t, Config{ClientID: "app", ClientSecret: "secret"})
	secret := url.Values{"client_secret": {"secret"}}
	token := c.redeem(http.StatusOK, codeOf(t, s, nil), secret).granted(t).RefreshToken
	if got := c.refresh(http.StatusBadRequest, token, nil).oauthError(t); got != "invalid_client" {
		t.Errorf("without secret: got %q, want invalid_client", got)
	}
	c.refresh(http.StatusOK, token, secret)
}

func TestRefreshTokenExpires(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ set, want time.Duration }{{0, 60 * 24 * time.Hour}, {time.Hour, time.Hour}} {
		synctest.Test(t, func(t *testing.T) {
			s, c := setup(t, Config{RefreshTokenLife: tt.set})
			first := logInOffline(t, s, c)
			time.Sleep(tt.want - time.Second)
			second := c.refresh(http.StatusOK, first.RefreshToken, nil).granted(t)
			time.Sleep(tt.want - time.Second) // each has the whole time
			third := c.refresh(http.StatusOK, second.RefreshToken, nil).granted(t)
			time.Sleep(tt.want)
			c.refresh(http.StatusBadRequest, third.RefreshToken, nil)
			if got, want := s.TokenCounts().Refused, (RefusedRefreshes{Expired: 1}); got != want {
				t.Errorf("refused: got %+v, want %+v", got, want)
			}
		})
	}
}

func TestRefreshTokenLeeway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, c := setup(t, Config{Switches: Switches{RefreshTokenLeeway: time.Minute}})
		lost := logInOffline(t, s, c).RefreshToken
		first := c.refresh(http.StatusOK, lost, nil).granted(t)
		time.Sleep(59 * time.Second)
		second := c.refresh(http.StatusOK, lost, nil).granted(t)
		if second.RefreshToken == first.RefreshToken {
			t.Error("the second use got the refresh token of the first")
		}
		time.Sleep(time.Second) // a minute from the first use
		c.refresh(http.StatusBadRequest, lost, nil)
		c.refresh(http.StatusOK, first.RefreshToken, nil)
		c.refresh(http.StatusOK, second.RefreshToken, nil)
	})
}

func TestRefreshTokenReuseRevokes(t *testing.T) {
	t.Parallel()
	s, c := setup(t, Config{Switches: Switches{RefreshTokenReuseRevokes: true}})
	other := logInOffline(t, s, c)
	stolen := logInOffline(t, s, c).RefreshToken
	last := c.refresh(http.StatusOK, stolen, nil).granted(t)
	c.refresh(http.StatusBadRequest, stolen, nil)
	c.refresh(http.StatusBadRequest, last.RefreshToken, nil)
	c.header.Set("Authorization", "Bearer "+last.AccessToken)
	c.get(http.StatusUnauthorized, "/odata/QueueItems")
	c.refresh(http.StatusOK, other.RefreshToken, nil) // another login is another matter
	c.header.Set("Authorization", "Bearer "+other.AccessToken)
	c.get(http.StatusOK, "/odata/QueueItems")
}

func TestRefreshTokensLast(t *testing.T) {
	t.Parallel()
	s, c := setup(t, Config{Switches: Switches{RefreshTokensLast: true}})
	first := logInOffline(t, s, c).RefreshToken
	for range 3 {
		if got := c.refresh(http.StatusOK, first, nil).granted(t).RefreshToken; got != first {
			t.Errorf("refresh token: got %s, want the same", got)
		}
	}
}
