package simulator

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const (
	tokenURL = "https://orchestrator.test/acme/identity_/connect/token"
	formType = "application/x-www-form-urlencoded"
)

// login asks for a token, with the form's usual fields unless they are given.
func (c *client) login(status int, form url.Values) exchange {
	c.tb.Helper()
	fields := url.Values{
		"grant_type": {"client_credentials"}, "client_id": {"app"}, "client_secret": {"secret"}, "scope": {"OR.Jobs OR.Queues"},
	}
	maps.Copy(fields, form)
	return c.token(status, tokenURL, formType, fields.Encode())
}

func (c *client) token(status int, address, contentType, body string) exchange {
	c.tb.Helper()
	response, err := c.http.Post(address, contentType, strings.NewReader(body)) //nolint:noctx // it cannot block
	if err != nil {
		c.tb.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	got, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != status {
		c.tb.Fatalf("login: got status %d, body %s, %v; want %d", response.StatusCode, got, err, status)
	}
	return exchange{method: http.MethodPost, url: address, status: status, answer: response.Header, body: got}
}

func (x exchange) token(tb testing.TB) string {
	tb.Helper()
	return x.granted(tb).AccessToken
}

func TestLogin(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		form   url.Values
		status int
		err    string
	}{
		{"good", nil, 200, ""},
		{"without scope", url.Values{"scope": nil}, 200, ""},
		{"wrong secret", url.Values{"client_secret": {"guess"}}, 401, "invalid_client"},
		{"wrong client", url.Values{"client_id": {"other"}}, 401, "invalid_client"},
		{"offline access", url.Values{"scope": {"OR.Jobs offline_access"}}, 400, "invalid_scope"},
		{"a scope and its part", url.Values{"scope": {"OR.Jobs OR.Jobs.Read"}}, 400, "invalid_scope"},
		{"both parts", url.Values{"scope": {"OR.Jobs.Read OR.Jobs.Write"}}, 200, ""},
		{"other grant", url.Values{"grant_type": {"password"}}, 400, "unsupported_grant_type"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, c := setup(t, Config{Org: "Acme", ClientID: "app", ClientSecret: "secret", Switches: Switches{InvalidClientStatus: 401}})
			x := c.login(tt.status, tt.form)
			var got struct {
				tokenBody
				Error string
			}
			if x.decode(t, &got); got.Error != tt.err {
				t.Errorf("error: got %q, want %q", got.Error, tt.err)
			}
			if tt.err == "" && (got.AccessToken == "" || got.ExpiresIn != 3600 || got.TokenType != "Bearer") {
				t.Errorf("token: got %+v", got)
			}
		})
	}
}

func TestLoginForms(t *testing.T) {
	t.Parallel()
	_, c := setup(t, Config{Org: "acme", Tenant: "prod"})
	const form = "grant_type=client_credentials&client_id=app&client_secret=s"
	const charsetType = formType + "; charset=utf-8"
	const host = "https://orchestrator.test"
	for _, path := range []string{"/acme/identity_/connect/token", "/identity_/connect/token", "/identity/connect/token"} {
		c.token(http.StatusOK, host+path, charsetType, form)
	}
	for _, tt := range []struct{ path, contentType, body string }{
		{"/acme/identity_/connect/token", "application/json", `{"grant_type":"client_credentials"}`},
		{"/other/identity_/connect/token", charsetType, form},
		{"/connect/token", charsetType, form},
		{"/acme/other/orchestrator_/odata/Folders", charsetType, form},
	} {
		if x := c.token(http.StatusOK, host+tt.path, tt.contentType, tt.body); !bytes.Contains(x.body, []byte("<html>")) {
			t.Errorf("%s as %s: got %s, want an HTML page", tt.path, tt.contentType, x.body)
		}
	}
	basic, err := http.NewRequestWithContext(t.Context(), http.MethodPost, tokenURL, strings.NewReader("grant_type=client_credentials"))
	if err != nil {
		t.Fatal(err)
	}
	basic.SetBasicAuth("app", "secret")
	basic.Header.Set("Content-Type", charsetType)
	response, err := c.http.Do(basic)
	if err != nil {
		t.Fatal(err)
	}
	if err := response.Body.Close(); err != nil || response.StatusCode != http.StatusOK {
		t.Errorf("basic header: got %s, %v", response.Status, err)
	}
}

func TestTokenExpires(t *testing.T) {
	t.Parallel()
	for _, skew := range []time.Duration{0, -2 * time.Hour, 2 * time.Hour} { // which is no matter between a clock and itself
		synctest.Test(t, func(t *testing.T) {
			_, c := setup(t, Config{TokenLife: time.Hour, ClockSkew: skew})
			c.header.Set("Authorization", "bearer "+c.login(http.StatusOK, url.Values{"scope": nil}).token(t))
			time.Sleep(59 * time.Minute)
			c.get(http.StatusOK, "/odata/Folders")
			time.Sleep(time.Minute)
			c.get(http.StatusUnauthorized, "/odata/Folders")
		})
	}
}

func TestUnauthenticated(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, authorization, personal string
		status                        int
	}{
		{"nothing", "", "", 401},
		{"another scheme", "Basic rt_x", "", 401},
		{"unknown", "Bearer guess", "", 401},
		{"personal", "Bearer rt_any", "", 200},
		{"the personal one", "Bearer rt_mine", "rt_mine", 200},
		{"another personal one", "Bearer rt_any", "rt_mine", 401},
	} {
		for _, empty := range []bool{false, true} {
			t.Run(tt.name, func(t *testing.T) {
				t.Parallel()
				_, c := setup(t, Config{PersonalAccessToken: tt.personal, Switches: Switches{EmptyBody401: empty}})
				c.header.Set("Authorization", tt.authorization)
				x := c.get(tt.status, "/odata/Folders")
				if tt.status == http.StatusOK {
					return
				}
				if empty {
					if len(x.body) != 0 {
						t.Errorf("body: got %s, want none", x.body)
					}
					return
				}
				var got envelopeBody
				if x.decode(t, &got); got.Message != "You are not authenticated!" || got.UnauthorizedRequest || !got.ABP {
					t.Errorf("body: got %+v", got)
				}
			})
		}
	}
}

func TestScopes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		scope             string
		list, add, folder int
	}{
		{"OR.Queues OR.Folders.Read", 200, 201, 200},
		{"OR.Queues.Read", 200, 403, 403},
		{"OR.Queues.Write", 403, 201, 403},
		{"OR.Jobs", 403, 403, 403},
		{"OR.Default", 200, 201, 200},
		{"", 200, 201, 200},
	} {
		t.Run(tt.scope, func(t *testing.T) {
			t.Parallel()
			_, c := setup(t, Config{})
			c.header.Set("Authorization", "Bearer "+c.login(http.StatusOK, url.Values{"scope": {tt.scope}}).token(t))
			c.get(tt.list, "/odata/QueueItems")
			c.post(tt.add, addPath, item("Invoices", "R"))
			x := c.get(tt.folder, "/odata/Folders")
			if tt.folder == http.StatusForbidden && !json.Valid(x.body) {
				t.Errorf("body: got %s", x.body)
			}
		})
	}
}
