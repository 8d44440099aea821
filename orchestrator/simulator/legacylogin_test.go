package simulator

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

const (
	legacyURL  = testHost + "/oauth/token"
	legacyBody = `{"grant_type":"refresh_token","client_id":"public","refresh_token":"key"}`
)

func TestLegacyLogin(t *testing.T) {
	t.Parallel()
	const jsonType = "application/json"
	for _, tt := range []struct {
		name, contentType, body string
		status                  int
		err                     string
	}{
		{"good", jsonType, legacyBody, 200, ""},
		{"wrong key", jsonType, strings.Replace(legacyBody, `"key"`, `"guess"`, 1), 400, "invalid_grant"},
		{"no key", jsonType, strings.Replace(legacyBody, `"key"`, `""`, 1), 400, "invalid_grant"},
		{"no client", jsonType, strings.Replace(legacyBody, `"public"`, `""`, 1), 400, "invalid_client"},
		{"other grant", jsonType, strings.Replace(legacyBody, `"refresh_token"`, `"password"`, 1), 400, "unsupported_grant_type"},
		{"not JSON", jsonType, "key", 400, "invalid_request"},
		{"a form", formType, "grant_type=refresh_token&client_id=public&refresh_token=key", 400, "invalid_request"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, c := setup(t, Config{Org: "acme", UserKey: "key"})
			x := c.token(tt.status, legacyURL, tt.contentType, tt.body)
			if got := x.oauthError(t); got != tt.err {
				t.Errorf("error: got %q, want %q", got, tt.err)
			}
			if tt.err != "" {
				return
			}
			got := x.granted(t)
			c.header.Set("Authorization", "Bearer "+got.AccessToken)
			c.get(http.StatusOK, "/odata/QueueItems")
			got.AccessToken, got.IDToken = "", got.IDToken[:1]
			want := tokenBody{IDToken: got.IDToken, ExpiresIn: 86400, TokenType: "Bearer", Scope: "openid profile email offline_access"}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
			if got := s.TokenCounts().Logins["user_key"]; got != 1 {
				t.Errorf("logins: got %d, want 1", got)
			}
		})
	}
}

func TestLegacyDiscovery(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, c := setup(t, Config{Org: "acme", Tenant: "prod", Users: []User{{Name: "jane", Email: "jane@acme.test", Password: "p"}}})
		c.base, c.folder = testHost+"/cloudrpa/api", ""
		const accounts, instances = "/getAccountsForUser", "/account/acme/getAllServiceInstances"
		for _, path := range []string{accounts, instances} {
			c.get(http.StatusUnauthorized, path) // a personal access token is not from there
		}
		c.header.Set("Authorization", "Bearer "+c.token(http.StatusOK, legacyURL, "application/json", legacyBody).granted(t).AccessToken)
		var gotAccounts accountsBody
		c.get(http.StatusOK, accounts).decode(t, &gotAccounts)
		wantAccounts := accountsBody{UserEmail: "jane@acme.test", Accounts: []account{{AccountName: "acme", AccountLogicalName: "acme"}}}
		if diff := cmp.Diff(wantAccounts, gotAccounts); diff != "" {
			t.Errorf("accounts (-want +got):\n%s", diff)
		}
		var gotInstances []serviceInstance
		c.get(http.StatusOK, instances).decode(t, &gotInstances)
		wantInstances := []serviceInstance{{
			ServiceInstanceName: "prod", ServiceInstanceLogicalName: "prod", ServiceType: "ORCHESTRATOR",
			ServiceURL: testBase, ServiceState: "ENABLED", UserRolesInService: []string{"Administrator"},
		}}
		if diff := cmp.Diff(wantInstances, gotInstances); diff != "" {
			t.Errorf("service instances (-want +got):\n%s", diff)
		}
		c.post(http.StatusNotFound, accounts, object{})
		if x := c.get(http.StatusOK, "/account/other/getAllServiceInstances"); !strings.Contains(string(x.body), "<html>") {
			t.Errorf("another account: got %s, want an HTML page", x.body)
		}
		time.Sleep(24 * time.Hour)
		c.get(http.StatusUnauthorized, accounts)
	})
}
