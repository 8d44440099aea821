package orchestrator

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLegacyDiscovery(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"https://legacy.example.net", "https://legacy.example.net/cloudrpa", "https://legacy.example.net/cloudrpa/"} {
		client := newTestClient(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Host != "legacy.example.net" || r.Header.Get("Authorization") != "Bearer rt_test" || r.Header.Get("X-Uipath-Organizationunitid") != "" {
				t.Errorf("got a call to %s with %v", r.Host, r.Header)
			}
			switch r.URL.Path {
			case "/cloudrpa/api/getAccountsForUser":
				reply(w, 200, `{"userEmail":"someone@example.net","accounts":[{"accountName":"Acme Inc","accountLogicalName":"acme"}]}`)
			case "/cloudrpa/api/account/acme/getAllServiceInstances":
				reply(w, 200, `[{"serviceInstanceName":"Prod","serviceInstanceLogicalName":"prod","serviceType":"ORCHESTRATOR","serviceUrl":"https://legacy.example.net/acme/prod","serviceState":"ENABLED","userRolesInService":["Administrator"]}]`)
			default:
				t.Errorf("got path %s", r.URL.Path)
			}
		})
		accounts, err := client.Accounts(t.Context(), address)
		if diff := cmp.Diff([]Account{{Name: "Acme Inc", LogicalName: "acme"}}, accounts); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", address, err, diff)
		}
		instances, err := client.ServiceInstances(t.Context(), address, "acme")
		want := []ServiceInstance{{Name: "Prod", LogicalName: "prod", Type: "ORCHESTRATOR", URL: "https://legacy.example.net/acme/prod", State: "ENABLED", UserRoles: []string{"Administrator"}}}
		if diff := cmp.Diff(want, instances); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", address, err, diff)
		}
	}
}

func TestLegacyDiscoveryRefuses(t *testing.T) {
	t.Parallel()
	client := newTestClient(t, func(_ http.ResponseWriter, r *http.Request) { t.Errorf("%s was called", r.URL) })
	for address, want := range map[string]string{
		"":                                     "is no web address: give one like https://host/cloudrpa",
		"legacy.example.net":                   "is no web address",
		"ftp://legacy.example.net":             "is no web address",
		"https://legacy.example.net?a=b":       `"https://legacy.example.net" holds more than host and path`,
		"https://u:secret@legacy.example.net":  `"https://…@legacy.example.net" holds more than host and path`,
		"https://platform.uipath.com/cloudrpa": "points at a retired service: leave it out, and use https://cloud.uipath.com/org/tenant/orchestrator_ as BaseURL",
		"https://Account.UiPath.com:443":       "points at a retired service",
	} {
		_, err := client.Accounts(t.Context(), address)
		wantText(t, asError(t, err, Rejected).Error(), want)
		_, err = client.ServiceInstances(t.Context(), address, "acme")
		wantText(t, asError(t, err, Rejected).Error(), want)
	}
	for _, account := range []string{"", "a/b", "..", "a%2Fb", "a?b"} {
		_, err := client.ServiceInstances(t.Context(), "https://legacy.example.net", account)
		wantText(t, asError(t, err, Rejected).Error(), "is no logical name: give one that Accounts returned")
	}
}

func TestLegacyDiscoveryNonsense(t *testing.T) {
	t.Parallel()
	for _, body := range []string{`{}`, `{"accounts":null}`, `null`, `[]`, `{"accounts":{}}`} {
		_, err := newTestClient(t, answers(200, body)).Accounts(t.Context(), "https://legacy.example.net")
		wantKind(t, err, Transient)
	}
	for _, body := range []string{`null`, `{}`, `[5]`} {
		_, err := newTestClient(t, answers(200, body)).ServiceInstances(t.Context(), "https://legacy.example.net", "acme")
		wantKind(t, err, Transient)
	}
	_, err := newTestClient(t, answers(403, `{}`)).Accounts(t.Context(), "https://legacy.example.net")
	wantKind(t, err, Denied)
}

// Another host's refusal says nothing about the token, and its clock nothing
// about Orchestrator's.
func TestLegacyDiscoveryKeepsTheToken(t *testing.T) {
	t.Parallel()
	var logins, calls int
	client := newTestClient(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == tokenPath {
			logins++
			reply(w, 200, `{"access_token":"t","expires_in":3600}`)
			return
		}
		calls++
		w.Header().Set("Date", "Mon, 02 Jan 2006 15:04:05 GMT")
		reply(w, 401, `{"message":"You are not authenticated!"}`)
	}, func(c *Config) { c.Login = testCredentials })
	_, err := client.Accounts(t.Context(), "https://legacy.example.net")
	e := asError(t, err, Denied)
	if logins != 1 || calls != 1 || !client.Time().IsZero() {
		t.Errorf("%d logins, %d calls, and Orchestrator's clock shows %s; want 1, 1 and nothing", logins, calls, client.Time())
	}
	if strings.Contains(e.Error(), "token URL") {
		t.Errorf("%q blames the login", e)
	}
}
