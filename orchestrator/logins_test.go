package orchestrator_test

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"waybill/orchestrator"
	"waybill/orchestrator/simulator"
)

const (
	cloud      = "https://cloud.uipath.com/acme/prod/orchestrator_"
	suite      = "https://suite.example:8443/acme/prod/orchestrator_"
	onPremises = "https://orchestrator.example"
)

// wayIn is one login, against an Orchestrator that knows the user ann with the
// password "pass word", the application app with the secret app-secret, the user
// key user-key and the personal access token rt_1.
type wayIn struct {
	name    string
	base    string
	login   func(secret orchestrator.Secret) orchestrator.Login
	secret  orchestrator.Secret
	life    time.Duration // of its tokens; 0: it has only one, which nobody renews
	refused []string      // what is said of a wrong secret
}

var waysIn = []wayIn{
	{
		name: "application, cloud", base: cloud, secret: "app-secret", life: time.Hour,
		login: func(s orchestrator.Secret) orchestrator.Login {
			return orchestrator.ClientCredentials{ClientID: "app", ClientSecret: s}
		},
		refused: []string{"invalid_client", "check both"},
	},
	{
		name: "application, Automation Suite, Basic header", base: suite, secret: "app-secret", life: time.Hour,
		login: func(s orchestrator.Secret) orchestrator.Login {
			return orchestrator.ClientCredentials{ClientID: "app", ClientSecret: s, BasicAuth: true, Scopes: []string{"OR.Default"}}
		},
		refused: []string{"invalid_client", "check both"},
	},
	{
		name: "application, on-premises", base: onPremises, secret: "app-secret", life: time.Hour,
		login: func(s orchestrator.Secret) orchestrator.Login {
			return orchestrator.ClientCredentials{ClientID: "app", ClientSecret: s}
		},
		refused: []string{"invalid_client", "check both"},
	},
	{
		name: "personal access token", base: cloud, secret: "rt_1",
		login:   func(s orchestrator.Secret) orchestrator.Login { return orchestrator.PersonalAccessToken(s) },
		refused: []string{"401 Unauthorized", "has expired, was revoked", "make a new one"},
	},
	{
		name: "password", base: onPremises, secret: "pass word", life: 30 * time.Minute,
		login: func(s orchestrator.Secret) orchestrator.Login {
			return orchestrator.Password{Username: "ann", Password: s}
		},
		refused: []string{"Invalid credentials, failed to login.", "error code 1000", "check user name, password and tenancy name"},
	},
	{
		name: "user key", base: cloud, secret: "user-key", life: 24 * time.Hour,
		login: func(s orchestrator.Secret) orchestrator.Login {
			return orchestrator.UserKey{TokenURL: "https://legacy.example/oauth/token", ClientID: "public", Key: s}
		},
		refused: []string{"invalid_grant", "the user key is not accepted", "make a new one"},
	},
	{
		name: "user, cloud", base: cloud, secret: "app-secret", life: time.Hour, refused: []string{"invalid_client", "check both"},
		login: func(s orchestrator.Secret) orchestrator.Login {
			return orchestrator.RefreshToken{ClientID: "app", ClientSecret: s}
		},
	},
	{
		name: "user, on-premises, Basic header", base: onPremises, secret: "app-secret", life: time.Hour, refused: []string{"invalid_client", "check both"},
		login: func(s orchestrator.Secret) orchestrator.Login {
			return orchestrator.RefreshToken{ClientID: "app", ClientSecret: s, BasicAuth: true}
		},
	},
}

// line is what lies between a client and the simulated Orchestrator.
type line struct {
	next      http.RoundTripper
	logins    atomic.Int32 // requests for tokens
	down      atomic.Bool  // for requests for tokens
	html      atomic.Bool  // instead of tokens
	refuseAll atomic.Bool  // calls of the API, whatever the token
}

// refusalStands is for how long a login that was refused is not tried again.
const refusalStands = 10 * time.Second

// loginTakes is how long a login takes, so that callers meet in it.
const loginTakes = 3 * time.Second

func (l *line) RoundTrip(req *http.Request) (*http.Response, error) {
	if !strings.HasSuffix(req.URL.Path, "/token") && !strings.HasSuffix(req.URL.Path, "/Authenticate") {
		if l.refuseAll.Load() {
			return &http.Response{StatusCode: http.StatusUnauthorized, Header: http.Header{}, Body: http.NoBody}, nil
		}
		return l.next.RoundTrip(req)
	}
	l.logins.Add(1)
	time.Sleep(loginTakes)
	switch {
	case l.down.Load():
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	case l.html.Load():
		page := io.NopCloser(strings.NewReader("<html><head><title>Sign in</title></head></html>"))
		return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"text/html"}}, Body: page}, nil
	}
	return l.next.RoundTrip(req)
}

// trial is one login in one situation.
type trial struct {
	wayIn
	*line

	server *simulator.Server
	client *orchestrator.Client
}

func newTrial(t *testing.T, way wayIn, secret orchestrator.Secret) *trial {
	t.Helper()
	server := simulator.New(simulator.Config{
		ClientID: "app", ClientSecret: "app-secret", UserKey: "user-key", PersonalAccessToken: "rt_1",
		Users: []simulator.User{{Name: "ann", Password: "pass word"}},
	})
	t.Cleanup(server.Close)
	server.AddFolder("Finance")
	tr := &trial{wayIn: way, line: &line{next: server.RoundTripper()}, server: server}
	login := way.login(secret)
	if user, ok := login.(orchestrator.RefreshToken); ok {
		good := user
		good.ClientSecret, good.Store = "app-secret", &memoryStore{}
		grant := authorize(t, server, orchestrator.Config{BaseURL: way.base, Transport: server.RoundTripper(), Login: good}, 2)
		grant.AccessToken = "" // so that the first call needs one
		user.Store = &memoryStore{grant: grant, revision: 1}
		login = user
	}
	var err error
	tr.client, err = orchestrator.New(orchestrator.Config{BaseURL: way.base, Tenant: "Default", Login: login, Transport: tr.line, RetryFor: -1})
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// call50 has fifty callers at once; all get the same.
func (tr *trial) call50(t *testing.T) error {
	t.Helper()
	var wg sync.WaitGroup
	errs := make([]error, 50)
	for i := range errs {
		wg.Go(func() {
			for _, err := range tr.client.Folders(t.Context(), orchestrator.Query{}) {
				errs[i] = err
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if fmt.Sprint(err) != fmt.Sprint(errs[0]) {
			t.Errorf("one caller got %v, another %v", errs[0], err)
		}
	}
	return errs[0]
}

// wantLogins compares the requests for tokens since the last time.
func (tr *trial) wantLogins(t *testing.T, want int32) {
	t.Helper()
	if tr.life == 0 {
		want = 0
	}
	if got := tr.logins.Swap(0); got != want {
		t.Errorf("got %d requests for tokens, want %d", got, want)
	}
}

func (tr *trial) wantWorks(t *testing.T) {
	t.Helper()
	if err := tr.call50(t); err != nil {
		t.Fatalf("got %v", err)
	}
}

func (tr *trial) wantError(t *testing.T, kind orchestrator.Kind, parts ...string) {
	t.Helper()
	err := tr.call50(t)
	e, ok := errors.AsType[*orchestrator.Error](err)
	if !ok || e.Kind != kind {
		t.Fatalf("got %v, want an error of kind %s", err, kind)
	}
	for _, part := range parts {
		if !strings.Contains(e.Error(), part) {
			t.Errorf("got %q, want it to contain %q", e, part)
		}
	}
	for _, secret := range []string{"wrong-secret", string(tr.secret)} {
		if len(secret) > 3 && strings.Contains(e.Error(), secret) {
			t.Errorf("the secret is in %q", e)
		}
	}
	if kind == orchestrator.Denied && !e.LoginRefused() {
		t.Errorf("%v does not count as a refused login", e)
	}
}

// situations are what befalls every login.
var situations = []struct {
	name string
	play func(*testing.T, wayIn)
}{
	{"first token", func(t *testing.T, way wayIn) {
		tr := newTrial(t, way, way.secret)
		started := time.Now()
		tr.wantWorks(t)
		tr.wantLogins(t, 1)
		if took := time.Since(started); way.life > 0 && took != loginTakes {
			t.Errorf("fifty callers waited %s, want one login's %s", took, loginTakes)
		}
	}},
	{"renewal ahead of time", func(t *testing.T, way wayIn) {
		tr := newTrial(t, way, way.secret)
		tr.wantWorks(t)
		tr.wantLogins(t, 1)
		time.Sleep(cmp.Or(way.life, time.Hour) - 5*time.Minute)
		started := time.Now()
		tr.wantWorks(t)
		if took := time.Since(started); took != 0 {
			t.Errorf("callers waited %s for the renewal", took)
		}
		time.Sleep(2 * loginTakes)
		tr.wantLogins(t, 1)
		time.Sleep(10 * time.Minute) // the first one is over
		tr.wantWorks(t)
		tr.wantLogins(t, 0)
	}},
	{"revoked in mid-run", func(t *testing.T, way wayIn) {
		tr := newTrial(t, way, way.secret)
		tr.wantWorks(t)
		tr.wantLogins(t, 1)
		if way.life == 0 {
			tr.refuseAll.Store(true) // nothing else takes a personal access token back there
			tr.wantError(t, orchestrator.Denied, way.refused...)
			tr.wantLogins(t, 0)
			return
		}
		tr.server.RevokeTokens()
		tr.wantWorks(t)
		tr.wantLogins(t, 1)
		tr.refuseAll.Store(true) // also what it renews: the user has lost the right
		tr.wantError(t, orchestrator.Denied, "401 Unauthorized", "a freshly issued token is refused too")
	}},
	{"wrong secret", func(t *testing.T, way wayIn) {
		tr := newTrial(t, way, "wrong-secret")
		tr.wantError(t, orchestrator.Denied, way.refused...)
		tr.wantLogins(t, 1)
	}},
	{"endpoint down", func(t *testing.T, way wayIn) {
		tr := newTrial(t, way, way.secret)
		tr.down.Store(true)
		if way.life == 0 {
			tr.wantWorks(t)
			return
		}
		tr.wantError(t, orchestrator.Transient, "log in", "connection refused")
		tr.wantLogins(t, 1)
		tr.down.Store(false)
		tr.wantWorks(t)
		tr.wantLogins(t, 1)
	}},
	{"HTML answer", func(t *testing.T, way wayIn) {
		tr := newTrial(t, way, way.secret)
		tr.html.Store(true)
		if way.life == 0 {
			tr.wantWorks(t)
			return
		}
		tr.wantError(t, orchestrator.Denied, "200 OK with text/html instead of JSON", `a page titled "Sign in"`, "check ")
		tr.wantLogins(t, 1)
		tr.html.Store(false)
		tr.wantError(t, orchestrator.Denied, "text/html instead of JSON") // the refusal stands for a moment
		tr.wantLogins(t, 0)
		time.Sleep(refusalStands)
		tr.wantWorks(t)
		tr.wantLogins(t, 1)
	}},
}

// TestEveryLoginInEverySituation: fifty callers at once make one request for a
// token, whatever the login and whatever befalls it.
func TestEveryLoginInEverySituation(t *testing.T) {
	t.Parallel()
	for _, way := range waysIn {
		for _, situation := range situations {
			t.Run(way.name+"/"+situation.name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) { situation.play(t, way) })
			})
		}
	}
}
