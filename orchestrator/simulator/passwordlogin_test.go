package simulator

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func passwordLogin(tenancy, user, password string) object {
	return object{"tenancyName": tenancy, "usernameOrEmailAddress": user, "password": password}
}

func TestAuthenticate(t *testing.T) {
	t.Parallel()
	const refused = `{"message":"Invalid credentials, failed to login.","errorCode":1000,"resourceIds":null}`
	for _, tt := range []struct {
		name   string
		body   any
		status int // as configured
		want   int
	}{
		{"good", passwordLogin("Default", "ADMIN", "p"), 0, 200},
		{"by e-mail", passwordLogin("default", "admin@acme.test", "p"), 0, 200},
		{"no tenancy", passwordLogin("", "admin", "p"), 0, 200},
		{"wrong password", passwordLogin("Default", "admin", "guess"), 0, 400},
		{"wrong user", passwordLogin("Default", "guess", "p"), 0, 400},
		{"wrong tenancy", passwordLogin("Other", "admin", "p"), 0, 400},
		{"wrong password, 401", passwordLogin("Default", "admin", "guess"), 401, 401},
		{"wrong password, 200", passwordLogin("Default", "admin", "guess"), 200, 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, c := setup(t, Config{
				Tenant: "Default", Users: []User{{Name: "admin", Email: "admin@acme.test", Password: "p"}},
				Switches: Switches{InvalidCredentialsStatus: tt.status},
			})
			c.base = testHost
			c.header.Del("Authorization")
			x := c.post(tt.want, authenticatePath, tt.body)
			if s.TokenCounts().Logins["password"] == 0 {
				if string(x.body) != refused {
					t.Errorf("body: got %s, want %s", x.body, refused)
				}
				return
			}
			if tt.want != http.StatusOK || tt.status != 0 {
				t.Fatalf("logged in, want a refusal")
			}
			var got abpBody
			x.decode(t, &got)
			token, _ := got.Result.(string)
			c.header.Set("Authorization", "Bearer "+token)
			c.get(http.StatusOK, "/odata/QueueItems")
			if diff := cmp.Diff(abpBody{Result: token, Success: true, ABP: true}, got); diff != "" {
				t.Errorf("body (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAuthenticateMissesFields(t *testing.T) {
	t.Parallel()
	_, c := setup(t, Config{})
	c.base = testHost
	for _, tt := range []struct {
		body any
		want []string
	}{
		{object{"usernameOrEmailAddress": "admin"}, []string{"password"}},
		{object{"password": "p"}, []string{"usernameOrEmailAddress"}},
		{"tenancyName=Default", []string{"usernameOrEmailAddress", "password"}},
	} {
		var got abpBody
		c.post(http.StatusBadRequest, authenticatePath, tt.body).decode(t, &got)
		if got.Success || !got.ABP || got.Error == nil || got.Error.Message != "Your request is not valid!" {
			t.Fatalf("%v: got %+v", tt.body, got)
		}
		members := []string{}
		faults, _ := got.Error.ValidationErrors.([]any)
		for _, fault := range faults {
			fields, _ := fault.(map[string]any)
			names, _ := fields["members"].([]any)
			name, _ := names[0].(string)
			members = append(members, name)
		}
		if diff := cmp.Diff(tt.want, members); diff != "" {
			t.Errorf("%v: missing members (-want +got):\n%s", tt.body, diff)
		}
	}
}

func TestAuthenticateIsStandalone(t *testing.T) {
	t.Parallel()
	_, c := setup(t, Config{})
	if x := c.post(http.StatusOK, authenticatePath, passwordLogin("Default", "admin", "p")); !strings.Contains(string(x.body), "<html>") {
		t.Errorf("in the cloud: got %s, want an HTML page", x.body)
	}
	c.base = testHost
	c.get(http.StatusNotFound, authenticatePath)
}

func TestPasswordTokenExpires(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, c := setup(t, Config{Org: "acme", Users: []User{{Name: "admin", Password: "p"}, {Name: "joe", Password: "p", Org: "other"}}})
		c.base = testHost
		authenticate := func(user string) {
			var got struct{ Result string }
			c.post(http.StatusOK, authenticatePath, passwordLogin("Default", user, "p")).decode(t, &got)
			c.header.Set("Authorization", "Bearer "+got.Result)
		}
		authenticate("joe")
		c.get(http.StatusUnauthorized, "/odata/QueueItems") // of another organisation
		authenticate("admin")
		time.Sleep(30*time.Minute - time.Second)
		c.get(http.StatusOK, "/odata/QueueItems")
		time.Sleep(time.Second)
		c.get(http.StatusUnauthorized, "/odata/QueueItems")
	})
}
