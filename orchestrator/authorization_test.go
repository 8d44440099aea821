package orchestrator_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"waybill/orchestrator"
	"waybill/orchestrator/simulator"
)

func newAuthorization(t *testing.T, cfg orchestrator.Config, change ...func(*orchestrator.AuthorizationRequest)) *orchestrator.Authorization {
	t.Helper()
	request := orchestrator.AuthorizationRequest{RedirectURL: redirectURL}
	for _, f := range change {
		f(&request)
	}
	a, err := orchestrator.NewAuthorization(cfg, request)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestAuthorizationAddress(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, base, tokenURL string
		request              orchestrator.AuthorizationRequest
		address              string
		want                 map[string]string
	}{
		{
			"cloud", cloud, "",
			orchestrator.AuthorizationRequest{},
			"https://cloud.uipath.com/acme/identity_/connect/authorize",
			map[string]string{"acr_values": "tenantName:acme", "scope": "OR.Jobs OR.Queues OR.Execution OR.Folders.Read offline_access", "client_id": "app"},
		},
		{
			"on-premises", onPremises, "",
			orchestrator.AuthorizationRequest{},
			"https://orchestrator.example/identity/connect/authorize",
			map[string]string{"acr_values": "", "redirect_uri": redirectURL, "response_type": "code", "code_challenge_method": "S256"},
		},
		{
			"all given", cloud, "https://id.example/connect/token",
			orchestrator.AuthorizationRequest{AuthorizeURL: "https://login.example/authorize", Scopes: []string{"OR.Default", "offline_access"}, ACRValues: "tenant:7"},
			"https://login.example/authorize",
			map[string]string{"acr_values": "tenant:7", "scope": "OR.Default offline_access"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			cfg := orchestrator.Config{BaseURL: test.base, Login: orchestrator.RefreshToken{ClientID: "app", TokenURL: test.tokenURL}}
			test.request.RedirectURL = redirectURL
			var states, challenges []string
			for range 2 {
				a := newAuthorization(t, cfg, func(r *orchestrator.AuthorizationRequest) { *r = test.request })
				u, err := url.Parse(a.URL())
				if err != nil {
					t.Fatal(err)
				}
				query := u.Query()
				for name, want := range test.want {
					if got := query.Get(name); got != want {
						t.Errorf("%s: got %q, want %q", name, got, want)
					}
				}
				if u.RawQuery = ""; u.String() != test.address {
					t.Errorf("got %s, want %s", u, test.address)
				}
				states, challenges = append(states, query.Get("state")), append(challenges, query.Get("code_challenge"))
			}
			if states[0] == states[1] || challenges[0] == challenges[1] || len(states[0]) < 20 || len(challenges[0]) != 43 {
				t.Errorf("states %q and challenges %q: want fresh ones each time", states, challenges)
			}
		})
	}
}

func TestAuthorizationFaults(t *testing.T) {
	t.Parallel()
	good := orchestrator.Config{BaseURL: cloud, Login: orchestrator.RefreshToken{ClientID: "app"}}
	for name, test := range map[string]struct {
		cfg     orchestrator.Config
		request orchestrator.AuthorizationRequest
		want    string
	}{
		"another login": {orchestrator.Config{BaseURL: cloud, Login: orchestrator.PersonalAccessToken("rt_1")}, orchestrator.AuthorizationRequest{RedirectURL: redirectURL}, "Login is no RefreshToken"},
		"no id":         {orchestrator.Config{BaseURL: cloud, Login: orchestrator.RefreshToken{}}, orchestrator.AuthorizationRequest{RedirectURL: redirectURL}, "empty ClientID: give the App ID"},
		"no redirect":   {good, orchestrator.AuthorizationRequest{}, `RedirectURL "" is no address to come back to`},
		"fragment":      {good, orchestrator.AuthorizationRequest{RedirectURL: "http://localhost/#here"}, "is no address to come back to"},
		"no page":       {good, orchestrator.AuthorizationRequest{RedirectURL: redirectURL, AuthorizeURL: "login"}, `AuthorizeURL "login" is no web address`},
		"retired":       {good, orchestrator.AuthorizationRequest{RedirectURL: redirectURL, AuthorizeURL: "https://account.uipath.com/authorize"}, "belongs to a retired service"},
		"no base":       {orchestrator.Config{BaseURL: "x", Login: orchestrator.RefreshToken{ClientID: "app"}}, orchestrator.AuthorizationRequest{RedirectURL: redirectURL}, `BaseURL "x" is no web address`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := orchestrator.NewAuthorization(test.cfg, test.request)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

// TestWhatComesBack: each way for the browser to come back without a good code
// becomes one sentence that says what is wrong and what to change.
func TestWhatComesBack(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		come func(t *testing.T, server *simulator.Server, cfg orchestrator.Config) (*orchestrator.Authorization, string)
		want []string
	}{
		{"redirect address not registered", func(t *testing.T, server *simulator.Server, cfg orchestrator.Config) (*orchestrator.Authorization, string) {
			a := newAuthorization(t, cfg, func(r *orchestrator.AuthorizationRequest) { r.RedirectURL = "http://localhost:9999/other" })
			return a, comeBack(t, server.Visitor("ann", "pass word"), a)
		}, []string{"Invalid redirect_uri", "is not registered for the application", "letter by letter"}},
		{"user of another organization", func(t *testing.T, server *simulator.Server, cfg orchestrator.Config) (*orchestrator.Authorization, string) {
			a := newAuthorization(t, cfg)
			return a, comeBack(t, server.Visitor("eve", "pass word"), a)
		}, []string{"219", "does not belong to the organization of the tenant's URL"}},
		{"scopes that do not go together", func(t *testing.T, server *simulator.Server, cfg orchestrator.Config) (*orchestrator.Authorization, string) {
			a := newAuthorization(t, cfg, func(r *orchestrator.AuthorizationRequest) { r.Scopes = []string{"OR.Jobs", "OR.Jobs.Read"} })
			return a, comeBack(t, server.Visitor("ann", "pass word"), a)
		}, []string{"invalid_scope", "of X, X.Read and X.Write for one only"}},
		{"code used twice", func(t *testing.T, server *simulator.Server, cfg orchestrator.Config) (*orchestrator.Authorization, string) {
			a := newAuthorization(t, cfg)
			address := comeBack(t, server.Visitor("ann", "pass word"), a)
			if _, err := a.Exchange(t.Context(), address); err != nil {
				t.Fatal(err)
			}
			return a, address
		}, []string{"400 Bad Request: invalid_grant", "the code has expired, was used before, or belongs to another application or redirect address"}},
		{"code too old", func(t *testing.T, server *simulator.Server, cfg orchestrator.Config) (*orchestrator.Authorization, string) {
			a := newAuthorization(t, cfg)
			address := comeBack(t, server.Visitor("ann", "pass word"), a)
			time.Sleep(6 * time.Minute)
			return a, address
		}, []string{"invalid_grant", "log in again"}},
		{"code of another login", func(t *testing.T, server *simulator.Server, cfg orchestrator.Config) (*orchestrator.Authorization, string) {
			other := newAuthorization(t, cfg)
			return newAuthorization(t, cfg), comeBack(t, server.Visitor("ann", "pass word"), other)
		}, []string{"is the answer to another login"}},
		{"secret missing", func(t *testing.T, server *simulator.Server, cfg orchestrator.Config) (*orchestrator.Authorization, string) {
			cfg.Login = orchestrator.RefreshToken{ClientID: "app", ClientSecret: "guess"}
			a := newAuthorization(t, cfg)
			return a, comeBack(t, server.Visitor("ann", "pass word"), a)
		}, []string{"invalid_client", "does not know this client id with this client secret"}},
		{"refused by the user", func(t *testing.T, _ *simulator.Server, cfg orchestrator.Config) (*orchestrator.Authorization, string) {
			a := newAuthorization(t, cfg)
			u, err := url.Parse(a.URL())
			if err != nil {
				t.Fatal(err)
			}
			return a, redirectURL + "?error=access_denied&error_description=not+allowed&state=" + u.Query().Get("state")
		}, []string{"access_denied: not allowed", "log in again and agree"}},
		{"no code", func(t *testing.T, _ *simulator.Server, cfg orchestrator.Config) (*orchestrator.Authorization, string) {
			return newAuthorization(t, cfg), "https://cloud.uipath.com/acme/portal_"
		}, []string{"there is no code in the address", redirectURL}},
		{"no address", func(t *testing.T, _ *simulator.Server, cfg orchestrator.Config) (*orchestrator.Authorization, string) {
			return newAuthorization(t, cfg), "http://[::1"
		}, []string{"is no address"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				server := simulator.New(simulator.Config{
					Org: "acme", ClientID: "app", ClientSecret: "app-secret", RedirectURIs: []string{redirectURL},
					Users: []simulator.User{{Name: "ann", Password: "pass word"}, {Name: "eve", Password: "pass word", Org: "other"}},
				})
				t.Cleanup(server.Close)
				cfg := orchestrator.Config{
					BaseURL: cloud, Transport: server.RoundTripper(), Login: orchestrator.RefreshToken{ClientID: "app", ClientSecret: "app-secret"},
				}
				a, address := test.come(t, server, cfg)
				_, err := a.Exchange(t.Context(), address)
				e, ok := errors.AsType[*orchestrator.Error](err)
				if !ok || e.Kind != orchestrator.Denied || e.Class != orchestrator.Identity {
					t.Fatalf("coming back with %s: got %v, want a denied login", address, err)
				}
				for _, part := range test.want {
					if !strings.Contains(e.Error(), part) {
						t.Errorf("got %q, want it to contain %q", e, part)
					}
				}
				if u, err := url.Parse(address); err == nil && u.Query().Get("code") != "" && strings.Contains(e.Error(), u.Query().Get("code")) {
					t.Errorf("the code is in %q", e)
				}
			})
		})
	}
}
