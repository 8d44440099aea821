package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"waybill/cmd/internal/cli"
	"waybill/cmd/internal/tokens"
	"waybill/orchestrator"
	"waybill/orchestrator/simulator"
)

// loginRun is one run of worker login against a simulated tenant.
type loginRun struct {
	t         *testing.T
	simulator *simulator.Server
	folder    string // where the login is kept
	shown     *shownAddresses
	typed     *io.PipeWriter
	stdout    bytes.Buffer
	ended     chan error
}

// shownAddresses is standard error, of which the addresses to open are taken.
type shownAddresses struct {
	text  bytes.Buffer
	found chan string
}

var authorizeAddress = regexp.MustCompile(`(?m)^http://\S+/connect/authorize\S+$`)

func (s *shownAddresses) Write(p []byte) (int, error) {
	if address := authorizeAddress.Find(p); address != nil {
		s.found <- string(address)
	}
	return s.text.Write(p)
}

// startLogin runs worker login with these flags; the environment is the whole
// process's, so tests that use it do not run beside others.
func startLogin(t *testing.T, cfg simulator.Config, environment []string, flags ...string) *loginRun {
	t.Helper()
	r := &loginRun{t: t, simulator: simulator.New(cfg), shown: &shownAddresses{found: make(chan string, 9)}, ended: make(chan error, 1), folder: t.TempDir()}
	network := httptest.NewServer(r.simulator)
	t.Cleanup(func() {
		network.Close()
		r.simulator.Close()
	})
	inFolder(t, nil, append([]string{
		"UIPATH_URL=" + network.URL + "/acme/Default/orchestrator_", "UIPATH_LOGIN=user", "UIPATH_CLIENT_ID=app",
		"WAYBILL_TOKEN_FOLDER=" + r.folder, "UIPATH_REDIRECT_URL=http://localhost:" + freePort(t) + "/callback", "PATH=" + t.TempDir(),
	}, environment...)...)
	in, typed := io.Pipe()
	r.typed = typed
	cmd := newLoginCommand()
	cmd.SetArgs(flags)
	cmd.SetIn(in)
	cmd.SetOut(&r.stdout)
	cmd.SetErr(r.shown)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	go func() {
		r.ended <- cmd.ExecuteContext(ctx)
		_ = typed.Close()
	}()
	return r
}

// address is the next one that is to be opened.
func (r *loginRun) address() string {
	r.t.Helper()
	select {
	case address := <-r.shown.found:
		return address
	case err := <-r.ended:
		r.t.Fatalf("it has ended: %v", err)
	case <-time.After(time.Minute):
		r.t.Fatal("no address is shown")
	}
	return ""
}

func (r *loginRun) typeIn(line string) {
	r.t.Helper()
	if _, err := io.WriteString(r.typed, line+"\n"); err != nil {
		r.t.Fatal(err)
	}
}

// visit has a user's browser go through the identity server, to the address it
// ends on.
func (r *loginRun) visit(v *simulator.Visitor, address string) string {
	r.t.Helper()
	end, err := v.Open(r.t.Context(), address)
	if err != nil {
		r.t.Fatal(err)
	}
	return end
}

// callBack is the browser's call of the address it was sent to: where that sends
// it, and what it shows.
func (r *loginRun) callBack(address string) (next, page string) {
	r.t.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, Transport: &http.Transport{DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, address, http.NoBody)
	if err != nil {
		r.t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // it has been read
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.Header.Get("Location"), string(text)
}

// ends waits for the end, which is a failure with these words, or none.
func (r *loginRun) ends(code cli.Code, words ...string) {
	r.t.Helper()
	err := <-r.ended
	if code == cli.ExitOK {
		if err != nil {
			r.t.Fatal(err)
		}
		return
	}
	e, ok := errors.AsType[*cli.Error](err)
	if !ok || e.Code != code {
		r.t.Fatalf("got %v, want exit code %d", err, code)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			r.t.Errorf("got %q, want %q in it", err, word)
		}
	}
}

// kept is how many refresh tokens the login has left.
func (r *loginRun) kept() int {
	r.t.Helper()
	files, err := filepath.Glob(filepath.Join(r.folder, "*.login"))
	if err != nil || len(files) > 1 {
		r.t.Fatalf("got %v, %v", files, err)
	}
	if len(files) == 0 {
		return 0
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		r.t.Fatal(err)
	}
	return strings.Count(regexp.MustCompile(`"refreshTokens":\[[^\]]*\]`).FindString(string(text)), `",`) + 1
}

func acme() simulator.Config {
	return simulator.Config{Org: "acme", Users: []simulator.User{{Name: "ann", Password: "pw"}, {Name: "eve", Password: "pw", Org: "other"}}}
}

func TestLoginThroughTheBrowser(t *testing.T) { //nolint:paralleltest // environment and folder are the whole process's
	r := startLogin(t, acme(), nil)
	ann := r.simulator.Visitor("ann", "pw")
	first := r.address()
	strange := strings.Replace(r.visit(ann, first), "state=", "state=another", 1)
	if _, page := r.callBack(strange); !strings.Contains(page, "not the answer to the login that waits here") {
		t.Errorf("another login's answer was told: %s", page)
	}
	next, _ := r.callBack(r.visit(ann, first))
	if _, page := r.callBack(r.visit(ann, next)); !strings.Contains(page, "Logged in") {
		t.Errorf("the last page says %s", page)
	}
	r.ends(cli.ExitOK)
	if got := r.simulator.Calls()["Login"]; got != 1 {
		t.Errorf("the user had to log in %d times, want once", got)
	}
	if got := r.kept(); got != 2 {
		t.Errorf("%d refresh tokens are kept, want 2", got)
	}
	if !strings.HasPrefix(r.stdout.String(), "logged in to tenant Default; kept in "+r.folder) {
		t.Errorf("standard output: %s", r.stdout.String())
	}
}

func TestLoginWithoutABrowser(t *testing.T) { //nolint:paralleltest // environment and folder are the whole process's
	r := startLogin(t, acme(), nil, "--no-browser")
	ann := r.simulator.Visitor("ann", "pw")
	r.typeIn(r.visit(ann, r.address()))
	r.typeIn(r.visit(ann, r.address()))
	r.ends(cli.ExitOK)
	if got := r.kept(); got != 2 {
		t.Errorf("%d refresh tokens are kept, want 2", got)
	}
}

func TestLoginWithOneRefreshToken(t *testing.T) { //nolint:paralleltest // environment and folder are the whole process's
	r := startLogin(t, acme(), nil, "--no-browser")
	r.typeIn(r.visit(r.simulator.Visitor("ann", "pw"), r.address()))
	r.address()
	r.typeIn("")
	r.ends(cli.ExitOK)
	if got := r.kept(); got != 1 {
		t.Errorf("%d refresh tokens are kept, want 1", got)
	}
	if !strings.Contains(r.shown.text.String(), "there is one refresh token, not two") {
		t.Errorf("nothing is said of it: %s", r.shown.text.String())
	}
}

func TestLoginRefused(t *testing.T) { //nolint:paralleltest // environment and folder are the whole process's
	for _, test := range []struct { //nolint:paralleltest // the same
		name        string
		environment []string
		flags       []string
		config      func(*simulator.Config)
		user        string
		code        cli.Code
		want        []string
	}{
		{
			name: "redirect URL not registered", flags: []string{"--no-browser"}, user: "ann", code: cli.ExitCredentials,
			config: func(c *simulator.Config) { c.RedirectURIs = []string{"http://localhost:8085/callback"} },
			want:   []string{"Invalid redirect_uri", "register it in UiPath, letter by letter, or set redirectUrl"},
		},
		{
			name: "user of another organization", flags: []string{"--no-browser"}, user: "eve", code: cli.ExitCredentials,
			want: []string{"219: the user does not belong to the organization"},
		},
		{
			name: "token for another organization", flags: []string{"--no-browser"}, user: "ann", code: cli.ExitCredentials,
			config: func(c *simulator.Config) {
				c.Org = ""
				c.Users = []simulator.User{{Name: "ann", Password: "pw", Org: "other"}}
			},
			environment: []string{"UIPATH_ACR_VALUES=tenantName:other"},
			want:        []string{"tenant Default does not take this user's token: log in to the organization of"},
		},
		{
			name: "secret of a confidential application missing", flags: []string{"--no-browser"}, user: "ann", code: cli.ExitCredentials,
			config: func(c *simulator.Config) { c.ClientID, c.ClientSecret = "app", "secret" },
			want:   []string{"invalid_client"},
		},
		{
			name: "unknown scopes together", flags: []string{"--no-browser"}, environment: []string{"UIPATH_SCOPE=OR.Jobs OR.Jobs.Read"}, user: "ann",
			code: cli.ExitCredentials, want: []string{"invalid_scope", "of X, X.Read and X.Write for one only"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := acme()
			if test.config != nil {
				test.config(&cfg)
			}
			r := startLogin(t, cfg, test.environment, test.flags...)
			r.typeIn(r.visit(r.simulator.Visitor(test.user, "pw"), r.address()))
			r.ends(test.code, test.want...)
			if got := r.kept(); got != 0 {
				t.Errorf("%d refresh tokens are kept, want none", got)
			}
		})
	}
}

func TestLoginWithNobodyThere(t *testing.T) { //nolint:paralleltest // environment and folder are the whole process's
	r := startLogin(t, acme(), nil, "--timeout", "100ms")
	r.ends(cli.ExitTimeout, "the browser has not come back within 100ms", "use --no-browser and give that page's address")
	r = startLogin(t, acme(), []string{"UIPATH_REDIRECT_URL=https://elsewhere.example/callback"})
	r.ends(cli.ExitUsage, "the redirect URL https://elsewhere.example/callback is not one of this machine", "use --no-browser")
	r = startLogin(t, acme(), []string{"UIPATH_LOGIN=", "UIPATH_PAT=rt_1"})
	r.ends(cli.ExitUsage, "its login is token, which needs no browser: set login: user")
	r = startLogin(t, acme(), nil, "Elsewhere")
	r.ends(cli.ExitUsage, `no tenant "Elsewhere" in the settings: name one of ["Default"]`)
	r = startLogin(t, acme(), []string{"WAYBILL_TOKEN_KEY=hunter2"})
	r.ends(cli.ExitUsage, "WAYBILL_TOKEN_KEY: it holds no age identity")
}

// A second login takes the place of the first.
func TestLoginAgain(t *testing.T) { //nolint:paralleltest // environment and folder are the whole process's
	r := startLogin(t, acme(), nil, "--no-browser")
	ann := r.simulator.Visitor("ann", "pw")
	r.typeIn(r.visit(ann, r.address()))
	r.typeIn(r.visit(ann, r.address()))
	r.ends(cli.ExitOK)
	s, err := loadSettings("")
	if err != nil {
		t.Fatal(err)
	}
	store, err := s.tokenPlaces(nil).of(s.Tenants[0])
	if err != nil {
		t.Fatal(err)
	}
	before, _, err := store.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	in, typed := io.Pipe()
	r.typed = typed
	cmd := newLoginCommand()
	cmd.SetArgs([]string{"--no-browser"})
	cmd.SetIn(in)
	cmd.SetErr(r.shown)
	cmd.SetOut(&r.stdout)
	go func() { r.ended <- cmd.ExecuteContext(t.Context()) }()
	r.typeIn(r.visit(ann, r.address()))
	r.typeIn(r.visit(ann, r.address()))
	r.ends(cli.ExitOK)
	after, _, err := store.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if after.Login == before.Login || len(after.RefreshTokens) != 2 || after.AccessToken == before.AccessToken {
		t.Errorf("got %d refresh tokens of the same login", len(after.RefreshTokens))
	}
	_ = typed.Close()
}

// What is done to the stored login between the two authorizations stays done:
// the second adds to the first, and to nothing else.
func TestLoginReplacedMeanwhile(t *testing.T) { //nolint:paralleltest // environment and folder are the whole process's
	text, err := tokens.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	key, err := tokens.ParseKey(text)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct { //nolint:paralleltest // the same
		name string
		do   func(path string) error
	}{
		{"sealed with a key that is not here", func(path string) error {
			if err := os.Remove(path); err != nil {
				return err
			}
			return tokens.File(path, key).Save(t.Context(), orchestrator.Grant{Login: "another", RefreshTokens: []orchestrator.Secret{"theirs"}}, "")
		}},
		{"another login", func(path string) error {
			if err := os.Remove(path); err != nil {
				return err
			}
			return tokens.File(path, tokens.Key{}).Save(t.Context(), orchestrator.Grant{Login: "another", RefreshTokens: []orchestrator.Secret{"theirs"}}, "")
		}},
		{"removed", os.Remove},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := startLogin(t, acme(), nil, "--no-browser")
			ann := r.simulator.Visitor("ann", "pw")
			r.typeIn(r.visit(ann, r.address()))
			second := r.visit(ann, r.address())
			files, err := filepath.Glob(filepath.Join(r.folder, "*.login"))
			if err != nil || len(files) != 1 {
				t.Fatalf("got %v, %v", files, err)
			}
			if err := test.do(files[0]); err != nil {
				t.Fatal(err)
			}
			want, wantErr := os.ReadFile(files[0])
			r.typeIn(second)
			r.ends(cli.ExitUnexpected, "tenant Default: the login is no longer kept as it was", "run worker login again")
			got, err := os.ReadFile(files[0])
			if !bytes.Equal(got, want) || (err == nil) != (wantErr == nil) {
				t.Errorf("it is replaced by %q, %v", got, err)
			}
			if r.stdout.Len() > 0 {
				t.Errorf("standard output: %s", r.stdout.String())
			}
		})
	}
}
