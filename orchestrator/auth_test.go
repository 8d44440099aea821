package orchestrator

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

const tokenPath = "/acme/identity_/connect/token"

var testCredentials = ClientCredentials{ClientID: "app-1", ClientSecret: "s3cret&=+"}

// identity is a token endpoint that counts, before an API that takes only the
// tokens it gave out last.
type identity struct {
	life    int           // seconds; 0: the answer names none
	takes   time.Duration // how long a login takes
	logins  atomic.Int32
	revoked atomic.Int32              // tokens up to this number are refused
	fail    func(http.ResponseWriter) // instead of a token
	failing atomic.Bool
	api     http.HandlerFunc
}

func (s *identity) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == tokenPath {
		time.Sleep(s.takes)
		n := s.logins.Add(1)
		if s.failing.Load() {
			s.fail(w)
			return
		}
		reply(w, 200, fmt.Sprintf(`{"access_token":"t%d","expires_in":%d,"token_type":"Bearer","scope":"OR.Jobs"}`, n, s.life))
		return
	}
	var n int32
	if _, err := fmt.Sscanf(r.Header.Get("Authorization"), "Bearer t%d", &n); err != nil || n <= s.revoked.Load() {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	s.api(w, r)
}

func (s *identity) client(t *testing.T, change ...func(*Config)) *Client {
	t.Helper()
	if s.api == nil {
		s.api = answers(200, `{"Id":5}`)
	}
	return newTestClient(t, s.ServeHTTP, append([]func(*Config){func(c *Config) { c.Login = testCredentials }}, change...)...)
}

func TestTokenURL(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		base, given string
		want        string
		wantErr     string
	}{
		"cloud":            {base: testBase, want: "https://cloud.uipath.com/acme/identity_/connect/token"},
		"automation suite": {base: "https://rpa.example:8443/acme/prod/orchestrator_/", want: "https://rpa.example:8443/acme/identity_/connect/token"},
		"on-premises":      {base: "https://rpa.example", want: "https://rpa.example/identity/connect/token"},
		"given":            {base: "https://rpa.example/x", given: "https://id.example/identity/connect/token", want: "https://id.example/identity/connect/token"},
		"cannot be told":   {base: "https://rpa.example/x", wantErr: `TokenURL is empty and cannot be told from BaseURL "https://rpa.example/x", whose path is not`},
		"no address":       {base: testBase, given: "id.example/token", wantErr: `TokenURL "id.example/token" is no web address`},
		"with a query":     {base: testBase, given: "https://id.example/token?client_secret=x", wantErr: `TokenURL "https://id.example/token" holds more`},
		"with a user":      {base: testBase, given: "https://me:pw@id.example/token", wantErr: `TokenURL "https://…@id.example/token" holds more`},
		"retired":          {base: testBase, given: "https://account.uipath.com/oauth/token", wantErr: "belongs to a retired service"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			base, err := parseBaseURL(test.base)
			if err != nil {
				t.Fatal(err)
			}
			got, err := identityURL(test.given, base)
			if err == nil && got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if test.wantErr != "" {
				wantText(t, fmt.Sprint(err), test.wantErr)
			} else if err != nil {
				t.Errorf("got error %v", err)
			}
		})
	}
}

func TestTokenRequestIsAForm(t *testing.T) {
	t.Parallel()
	for name, scopes := range map[string][]string{
		"OR.Jobs OR.Queues OR.Execution OR.Folders.Read": nil,
		"OR.Default OR.Jobs":                             {"OR.Default", "OR.Jobs"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var form url.Values
			client := newTestClient(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != tokenPath {
					reply(w, 200, `{"Id":5}`)
					return
				}
				if got, want := r.Header.Get("Content-Type"), "application/x-www-form-urlencoded"; got != want {
					t.Errorf("content type: got %q, want %q", got, want)
				}
				if got := r.Header.Get("Authorization"); got != "" {
					t.Errorf("got Authorization %q, want the secret in the form alone", got)
				}
				if got := r.Header.Get("User-Agent"); got != "tests/1" {
					t.Errorf("got User-Agent %q", got)
				}
				if err := r.ParseForm(); err != nil {
					t.Error(err)
				}
				form = r.PostForm
				reply(w, 200, `{"access_token":"t1","expires_in":"3600","token_type":"Bearer"}`)
			}, func(c *Config) {
				login := testCredentials
				login.Scopes = scopes
				c.Login, c.UserAgent = login, "tests/1"
			})
			if _, err := client.Job(t.Context(), testFolder, 5); err != nil {
				t.Fatal(err)
			}
			want := url.Values{
				"grant_type": {"client_credentials"}, "client_id": {"app-1"}, "client_secret": {"s3cret&=+"}, "scope": {name},
			}
			if got, want := form.Encode(), want.Encode(); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

func TestFiftyCallersMakeOneLogin(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		id := &identity{life: 3600, takes: 3 * time.Second}
		client := id.client(t)
		call50(t, client)
		if got := id.logins.Load(); got != 1 {
			t.Errorf("got %d logins, want 1", got)
		}
		// All hold t1 now; Orchestrator takes it no more.
		id.revoked.Store(1)
		call50(t, client)
		if got := id.logins.Load(); got != 2 {
			t.Errorf("after 401 for all: got %d logins, want 2", got)
		}
	})
}

func call50(t *testing.T, client *Client) {
	t.Helper()
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if _, err := client.Job(t.Context(), testFolder, 5); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestTokenIsRenewedAheadOfTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		id := &identity{life: 3600, takes: 20 * time.Second}
		client := id.client(t)
		used := func(want string) {
			t.Helper()
			started := time.Now()
			id.api = func(w http.ResponseWriter, r *http.Request) {
				if got := r.Header.Get("Authorization"); got != "Bearer "+want {
					t.Errorf("at %s: got %q, want token %s", started.Format("04:05"), got, want)
				}
				reply(w, 200, `{"Id":5}`)
			}
			if _, err := client.Job(t.Context(), testFolder, 5); err != nil {
				t.Error(err)
			}
			if took := time.Since(started); took != 0 && want != "t1" {
				t.Errorf("a call waited %s for a token", took)
			}
		}
		used("t1")
		time.Sleep(54 * time.Minute)
		used("t1")
		if got := id.logins.Load(); got != 1 {
			t.Errorf("got %d logins before it is time, want 1", got)
		}
		time.Sleep(time.Minute + time.Second) // five minutes before the end
		used("t1")                            // begins the renewal, does not wait for it
		used("t1")
		time.Sleep(21 * time.Second)
		used("t2")
		if got := id.logins.Load(); got != 2 {
			t.Errorf("got %d logins, want 2", got)
		}
	})
}

func TestOldTokenServesWhileRenewalFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var logged bytes.Buffer
		id := &identity{life: 3600, fail: func(w http.ResponseWriter) { w.WriteHeader(http.StatusInternalServerError) }}
		client := id.client(t, func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&logged, nil)) })
		if _, err := client.Job(t.Context(), testFolder, 5); err != nil {
			t.Fatal(err)
		}
		id.failing.Store(true)
		time.Sleep(56 * time.Minute)
		for range 5 {
			if _, err := client.Job(t.Context(), testFolder, 5); err != nil {
				t.Fatalf("the old token is still good: %v", err)
			}
			synctest.Wait()
		}
		if got := id.logins.Load(); got != 2 {
			t.Errorf("got %d logins, want 2: a failed renewal pauses the next", got)
		}
		time.Sleep(renewPause + time.Second)
		_, _ = client.Job(t.Context(), testFolder, 5)
		synctest.Wait()
		if got := id.logins.Load(); got != 3 {
			t.Errorf("got %d logins after the pause, want 3", got)
		}
		wantText(t, logged.String(), "token not renewed", "log in: 500 Internal Server Error")

		time.Sleep(4 * time.Minute) // now the old one is over
		_, err := client.Job(t.Context(), testFolder, 5)
		e := asError(t, err, Transient)
		if e.Class != Identity || e.StatusCode != http.StatusInternalServerError || e.Op != "get job: log in" {
			t.Errorf("got %+v", e)
		}
		id.failing.Store(false)
		if _, err := client.Job(t.Context(), testFolder, 5); err != nil {
			t.Errorf("after the endpoint recovered: %v", err)
		}
	})
}

// However the life of a token is written, the answer is taken: a refresh token
// may have been used for it.
func TestTokenLifeInEveryForm(t *testing.T) {
	t.Parallel()
	for name, login := range map[string]Login{"application": testCredentials, "user key": UserKey{TokenURL: "https://identity.example.net" + tokenPath, ClientID: "id", Key: "key"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testTokenLife(t, login)
		})
	}
}

func testTokenLife(t *testing.T, login Login) {
	t.Helper()
	for life, renewed := range map[string]bool{
		`3600`: true, `"3600"`: true, `3600.0`: true, `3.6e3`: true, `"abc"`: false, `null`: false, `-5`: false, `1e300`: false, `"NaN"`: false, `{}`: false,
	} {
		synctest.Test(t, func(t *testing.T) {
			var logins atomic.Int32
			client := newTestClient(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == tokenPath {
					logins.Add(1)
					reply(w, 200, `{"access_token":"t","token_type":"Bearer","expires_in":`+life+`}`)
					return
				}
				reply(w, 200, `{"Id":5}`)
			}, func(c *Config) { c.Login = login })
			for range 3 {
				if _, err := client.Job(t.Context(), testFolder, 5); err != nil {
					t.Errorf("%s: %v", life, err)
				}
				time.Sleep(70 * time.Minute)
			}
			if got := logins.Load() > 1; got != renewed {
				t.Errorf("%s: %d logins", life, logins.Load())
			}
		})
	}
}

func TestTokenWithoutEndIsKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		id := &identity{}
		client := id.client(t)
		for range 3 {
			if _, err := client.Job(t.Context(), testFolder, 5); err != nil {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Hour)
		}
		if got := id.logins.Load(); got != 1 {
			t.Errorf("got %d logins, want 1", got)
		}
	})
}

func TestCallerThatGivesUpTakesNobodyAlong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		id := &identity{life: 3600, takes: 10 * time.Second}
		client := id.client(t)
		impatient, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := client.StartJobs(impatient, testFolder, StartInfo{ReleaseKey: "r"})
			if e := asError(t, err, Transient); !errors.Is(e, context.DeadlineExceeded) {
				t.Errorf("got %v, want the deadline", e)
			}
		})
		synctest.Wait()
		if _, err := client.Job(t.Context(), testFolder, 5); err != nil {
			t.Error(err)
		}
		wg.Wait()
		if got := id.logins.Load(); got != 1 {
			t.Errorf("got %d logins, want 1", got)
		}
	})
}

func TestRefusedTokenIsRenewedOnce(t *testing.T) {
	t.Parallel()
	id := &identity{life: 3600, api: answers(201, `{"value":[{"Id":9,"Key":"k","State":"Pending"}]}`)}
	id.revoked.Store(1)
	client := id.client(t)
	jobs, err := client.StartJobs(t.Context(), testFolder, StartInfo{ReleaseKey: "r"})
	if err != nil || len(jobs) != 1 || jobs[0].ID != 9 {
		t.Fatalf("got %v, %v, want the job: 401 says the write was not done", jobs, err)
	}
	id.revoked.Store(1000)
	_, err = client.StartJobs(t.Context(), testFolder, StartInfo{ReleaseKey: "r"})
	e := asError(t, err, Denied)
	wantText(t, e.Error(), "start jobs: 401 Unauthorized", "check that the token URL belongs to the organization of the tenant's URL")
	if got := id.logins.Load(); got != 3 {
		t.Errorf("got %d logins, want 3: one renewal for each call", got)
	}
}

func TestRefusedPersonalAccessToken(t *testing.T) {
	t.Parallel()
	var calls int
	client := newTestClient(t, func(w http.ResponseWriter, r *http.Request) {
		calls++
		if got := r.Header.Get("Authorization"); got != "Bearer rt_test" {
			t.Errorf("got %q", got)
		}
		reply(w, 401, `{"message":"You are not authenticated!","errorCode":0,"__abp":true}`)
	})
	_, err := client.Job(t.Context(), testFolder, 5)
	e := asError(t, err, Denied)
	wantText(t, e.Error(), "get job: 401 Unauthorized: You are not authenticated!", "has expired, was revoked", "make a new one")
	if calls != 1 {
		t.Errorf("got %d calls, want 1: the token cannot be renewed", calls)
	}
}

func TestLoginFailures(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		status      int
		contentType string
		body        string
		kind        Kind
		want        []string
	}{
		"invalid_client 400": {
			400, jsonType, `{"error":"invalid_client"}`, Denied,
			[]string{"log in: 400 Bad Request: invalid_client: ", "does not know this client id", "check both"},
		},
		"invalid_client 401": {401, jsonType, `{"error":"invalid_client"}`, Denied, []string{"401 Unauthorized", "check both"}},
		"invalid_client 200": {200, jsonType, `{"error":"invalid_client"}`, Denied, []string{"check both"}},
		"invalid_scope": {
			400, jsonType, `{"error":"invalid_scope","error_description":"OR.Jobs and OR.Jobs.Read"}`, Denied,
			[]string{"invalid_scope: OR.Jobs and OR.Jobs.Read", "X, X.Read and X.Write for one only"},
		},
		"invalid_grant": {400, jsonType, `{"error":"invalid_grant"}`, Denied, []string{"log in anew"}},
		"a scope, in words": {
			400, jsonType, `{"errorMessage":"Scope(s) 'OR.Jobs' is(are) invalid. Expect to have 'OR.Queues'"}`, Denied,
			[]string{"of X, X.Read and X.Write for one only"},
		},
		"unauthorized_client": {400, jsonType, `{"error":"unauthorized_client"}`, Denied, []string{"confidential application"}},
		"another word":        {400, jsonType, `{"error":"invalid_request"}`, Denied, []string{"invalid_request", "check the token URL, client id, client secret and scopes"}},
		"scope, in words": {
			400, jsonType, `{"errorMessage":"OAuth authorization failed. 'IdentityServerApi' scope not found."}`, Denied,
			[]string{"scope not found"},
		},
		"token with a line break": {200, jsonType, `{"access_token":"a\nb"}`, Denied, []string{"lacks a token in access_token that a header can carry"}},
		"token without end":       {200, jsonType, `{"access_token":"` + strings.Repeat("a", 1<<20) + `"}`, Denied, []string{"lacks a token in access_token that a header can carry"}},
		"html for a token": {
			200, "text/html", htmlLogin, Denied,
			[]string{"200 OK with text/html instead of JSON", "Sign in", "check the token URL"},
		},
		"json without a token": {200, jsonType, `{"result":"x"}`, Denied, []string{"lacks access_token"}},
		"form":                 {200, "application/x-www-form-urlencoded", "access_token=x", Denied, []string{"instead of JSON"}},
		"redirect":             {302, "text/html", "", Denied, []string{"302 Found to nowhere"}},
		"wrong path":           {404, "text/html", "<html></html>", Denied, []string{"404 Not Found with text/html", "check the token URL"}},
		"500":                  {500, jsonType, `{"error":"server_error"}`, Transient, []string{"500 Internal Server Error: server_error"}},
		"502 html":             {502, "text/html", "<html></html>", Transient, []string{"502 Bad Gateway with text/html"}},
		"503 empty":            {503, "", "", Transient, []string{"503 Service Unavailable"}},
		"429":                  {429, "", "", Transient, []string{"429 Too Many Requests"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := newTestClient(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != tokenPath {
					t.Errorf("call of %s without a token", r.URL.Path)
				}
				w.Header().Set("Content-Type", test.contentType)
				w.Header().Set("Retry-After", "7")
				w.WriteHeader(test.status)
				_, _ = io.WriteString(w, test.body)
			}, func(c *Config) { c.Login = testCredentials })
			_, err := client.StartJobs(t.Context(), testFolder, StartInfo{ReleaseKey: "r"})
			e := asError(t, err, test.kind)
			wantText(t, e.Error(), append(test.want, "start jobs: log in")...)
			if e.Class != Identity || e.StatusCode != test.status {
				t.Errorf("got class %s, status %d", e.Class, e.StatusCode)
			}
			if test.kind == Transient && e.RetryAfter != 7*time.Second {
				t.Errorf("got RetryAfter %s, want 7s", e.RetryAfter)
			}
			if strings.Contains(e.Error(), "s3cret") || strings.Contains(e.Error(), url.QueryEscape(string(testCredentials.ClientSecret))) {
				t.Errorf("the secret is in %q", e)
			}
		})
	}
}

func TestTokenEndpointThatCannotBeReached(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for name, transport := range map[string]roundTripper{
			"connection refused": func(*http.Request) (*http.Response, error) { return nil, syscall.ECONNREFUSED },
			"no answer in time": func(r *http.Request) (*http.Response, error) {
				<-r.Context().Done()
				return nil, r.Context().Err()
			},
			"unexpected EOF": func(*http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(io.MultiReader(strings.NewReader("{"), cutReader{}))}, nil
			},
		} {
			client := newTestClient(t, nil, func(c *Config) { c.Login, c.Transport = testCredentials, transport })
			_, err := client.StartJobs(t.Context(), testFolder, StartInfo{ReleaseKey: "r"})
			e := asError(t, err, Transient)
			if e.Class != Identity {
				t.Errorf("%s: got class %s", name, e.Class)
			}
			wantText(t, e.Error(), "start jobs: log in: ", name)
			if strings.Contains(e.Error(), "cloud.uipath.com") {
				t.Errorf("%s: the address is in %q", name, e)
			}
		}
	})
}

// cutReader is an answer that breaks off.
type cutReader struct{}

func (cutReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestLoginsHideTheirSecrets(t *testing.T) {
	t.Parallel()
	for _, login := range []Login{
		ClientCredentials{ClientID: "app-1", ClientSecret: "hunter2"},
		PersonalAccessToken("rt_hunter2"),
		Password{Username: "ann", Password: "hunter2"},
		UserKey{ClientID: "id", Key: "hunter2"},
		RefreshToken{ClientID: "app-1", ClientSecret: "hunter2"},
	} {
		var logged bytes.Buffer
		slog.New(slog.NewJSONHandler(&logged, nil)).Info("x", "login", login, "config", Config{Login: login})
		asJSON, err := json.Marshal(map[string]any{"login": login})
		if err != nil {
			t.Fatal(err)
		}
		text := fmt.Sprintf("%v %+v %#v %s %d %x %q %v %+v", login, login, login, login, login, login, login, Config{Login: login}, Config{Login: login}) +
			logged.String() + string(asJSON)
		if strings.Contains(text, "hunter2") {
			t.Errorf("the secret shows in %s", text)
		}
		wantText(t, text, "hidden")
	}
}

// FuzzTokenAnswer: whatever answers in place of the token endpoint, there is a
// token or an error that says what to do, and no secret in it.
func FuzzTokenAnswer(f *testing.F) {
	const secret = "s3cr3t+/=value"
	for _, body := range []string{
		`{"access_token":"t","expires_in":3600,"token_type":"Bearer"}`, `{"access_token":"t","expires_in":-1}`, `{"access_token":"t","expires_in":"60"}`,
		`{"access_token":"t","expires_in":9007199254740993}`, `{"access_token":"t","expires_in":{}}`, `{"access_token":"","x":1}`, `{"access_token":7}`,
		`{"error":"invalid_client","error_description":"no ` + secret + `"}`, `{"error":"invalid_scope","traceId":"` + secret + `"}`, `{"error":{"code":0,"message":"` + secret + `"}}`,
		"s3cr3t%2B%2F%3Dvalue", "<title>" + secret + "</title>", "",
	} {
		f.Add(200, jsonType, []byte(body))
		f.Add(400, jsonType, []byte(body))
		f.Add(503, "text/html", []byte(body))
	}
	base, err := parseBaseURL(testBase)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, status int, contentType string, body []byte) {
		if status < 200 || status > 599 {
			return
		}
		transport := roundTripper(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {contentType}}, Body: io.NopCloser(bytes.NewReader(body))}, nil
		})
		s, err := newSession(Config{Login: ClientCredentials{ClientID: "id", ClientSecret: secret}, Transport: transport}.withDefaults(), base)
		if err != nil {
			t.Fatal(err)
		}
		token, err := s.logIn()
		if err == nil {
			if token == "" {
				t.Error("logged in without a token")
			}
			if time.Now().Before(s.expireAt) && s.renewAt.After(s.expireAt) {
				t.Errorf("renewed at %s, after the end at %s", s.renewAt, s.expireAt)
			}
			return
		}
		e := loginError(err)
		if e.Class != Identity || e.Kind != Transient && e.Kind != Denied {
			t.Errorf("got kind %s, class %s", e.Kind, e.Class)
		}
		if text := e.Error(); strings.Contains(text, secret) || strings.Contains(text, url.QueryEscape(secret)) {
			t.Errorf("the secret is told: %s", text)
		}
	})
}
