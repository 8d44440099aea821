package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/chromedp/chromedp"

	"waybill/cmd/internal/cli"
	"waybill/cmd/internal/proving"
	"waybill/orchestrator"
	"waybill/orchestrator/simulator"
	"waybill/pipeline"
)

// crashSaveVariable, where it is set, has a worker that the tests run end itself
// by SIGKILL when it has a new refresh token in hand and is about to save it.
const crashSaveVariable = "WAYBILL_TEST_CRASH_SAVE"

type crashingStore struct{ orchestrator.TokenStore }

func (s crashingStore) Save(ctx context.Context, g orchestrator.Grant, revision string) error {
	if g.User != "" { // it takes the refresh token for use; the save after that has the new one
		return s.TokenStore.Save(ctx, g, revision)
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // until the signal has come
}

// userInstallation is one whose worker goes in by a user's login.
type userInstallation struct {
	*proving.Installation

	t   *testing.T
	ctx context.Context //nolint:containedctx // of the test
	env []string
}

func newUserInstallation(t *testing.T, more ...string) *userInstallation {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), proving.Patience)
	t.Cleanup(cancel)
	in := &userInstallation{Installation: setUp(t), t: t, ctx: ctx}
	home := t.TempDir()
	in.env = append([]string{"HOME=" + home, "TMPDIR=" + home, "PATH=" + filepath.Join(home, "bin") + ":" + os.Getenv("PATH"), "GORACE=" + os.Getenv("GORACE")}, more...)
	in.must(in.StartNATS(ctx, in.env))
	in.must(in.StartOrchestrator(ctx, append([]string{"UIPATH_CLIENT_ID=app", "UIPATH_USERNAME=ann", "UIPATH_PASSWORD=pass word"}, in.env...)))
	in.env = append(in.env, "NATS_URL="+in.NATSURL, "UIPATH_URL="+in.OrchestratorURL(cli.DefaultTenant), "UIPATH_FOLDER_PATH=Shared",
		"UIPATH_LOGIN=user", "UIPATH_CLIENT_ID=app", "UIPATH_REDIRECT_URL=http://localhost:"+freePort(t)+"/callback")
	return in
}

func (in *userInstallation) must(err error) {
	in.t.Helper()
	if err != nil {
		in.t.Fatal(err)
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close() //nolint:errcheck // it was only asked for a port
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// start runs a worker until it is ready.
func (in *userInstallation) start(name string, env ...string) *proving.Process {
	in.t.Helper()
	p, err := in.Run(name, slices.Concat(in.env, env), slices.Concat([]string{"run"}, shortTimes)...)
	in.must(err)
	_, err = p.Says(in.ctx, "worker ready")
	in.must(err)
	in.must(in.Collect(in.ctx))
	return p
}

// carryOut publishes an item and waits for its outcome.
func (in *userInstallation) carryOut(key string) {
	in.t.Helper()
	in.must(in.Publish(in.ctx, proving.UniqueQueue, proving.NewRequest(proving.UniqueQueue, key)))
	in.must(in.Await(in.ctx, pipeline.StageFinal))
}

// revoke takes the access tokens back, so that the next call needs a renewal.
func (in *userInstallation) revoke() {
	in.t.Helper()
	in.must(in.Ask(in.ctx, http.MethodPost, "/tokens/revoke", struct{}{}, nil))
}

func (in *userInstallation) tokens() simulator.TokenCounts {
	in.t.Helper()
	var counts simulator.TokenCounts
	in.must(in.Ask(in.ctx, http.MethodGet, "/tokens", nil, &counts))
	return counts
}

// TestLoginInABrowser: a user logs in with Chromium, and a worker goes on with
// what that has left, through two rotations and a kill -9 between the receipt of
// a refresh token and its store.
func TestLoginInABrowser(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("starts processes and a browser")
	}
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("there is no chromium here")
	}
	for _, place := range []struct {
		name string
		env  func(t *testing.T) []string
	}{
		{"file", func(*testing.T) []string { return nil }},
		{"bucket", func(t *testing.T) []string {
			key, err := exec.CommandContext(t.Context(), "worker", "login", "--new-key").Output()
			if err != nil {
				t.Fatal(err)
			}
			return []string{"WAYBILL_TOKEN_STORE=bucket", "WAYBILL_TOKEN_KEY=" + strings.TrimSpace(string(key))}
		}},
	} {
		t.Run(place.name, func(t *testing.T) {
			t.Parallel()
			in := newUserInstallation(t, place.env(t)...)
			in.logIn(chromium)
			if counts := in.tokens(); counts.Logins["authorization_code"] != 2 || counts.Refreshes != 0 {
				t.Fatalf("after the login: %+v", counts)
			}
			worker := in.start("first")
			in.carryOut("before")
			for i := range 2 {
				in.revoke()
				in.carryOut("rotation-" + strconv.Itoa(i))
			}
			worker.Kill()
			if counts := in.tokens(); counts.Refreshes != 2 || counts.Refused != (simulator.RefusedRefreshes{}) {
				t.Errorf("after two rotations: %+v", counts)
			}

			in.revoke()
			victim, err := in.Run("victim", append(in.env, crashSaveVariable+"=1"), slices.Concat([]string{"run"}, shortTimes)...)
			in.must(err)
			if _, err := victim.ExitCode(in.ctx); err != nil || !victim.WasKilled() {
				t.Fatalf("the victim was not killed: %v", err)
			}
			in.start("second")
			in.carryOut("after")
			if counts := in.tokens(); counts.Refreshes != 4 || counts.Refused.Reused != 1 {
				t.Errorf("after the crash: %+v; want four rotations, the third of which was lost and is told by a refusal", counts)
			}
			report, err := in.Judge(in.ctx)
			in.must(err)
			if !report.Held() {
				t.Errorf("%s", report)
			}
		})
	}
}

// logIn has Chromium go through the identity server's pages.
func (in *userInstallation) logIn(chromium string) {
	in.t.Helper()
	opened := filepath.Join(in.t.TempDir(), "opened")
	bin := filepath.Join(strings.TrimPrefix(in.env[0], "HOME="), "bin")
	in.must(os.MkdirAll(bin, 0o700))
	in.must(os.WriteFile(filepath.Join(bin, "xdg-open"), []byte("#!/bin/sh\nenv >'"+opened+".env'\nprintf %s \"$1\" >'"+opened+"'\n"), 0o700))
	p, err := in.Run("login", in.env, "login")
	in.must(err)
	address, err := p.Says(in.ctx, `(?m)^http://\S+/connect/authorize\S+$`)
	in.must(err)

	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]), chromedp.ExecPath(chromium), chromedp.NoSandbox)
	ctx, stop := chromedp.NewExecAllocator(in.ctx, options...)
	defer stop()
	ctx, stop = chromedp.NewContext(ctx)
	defer stop()
	in.must(chromedp.Do(ctx,
		chromedp.Navigate(address[0]),
		chromedp.SendKeys("#username", "ann"), chromedp.SendKeys("#password", "guess"), chromedp.Click("#login"),
	))
	refused, err := chromedp.Run(ctx, chromedp.Text("#message"))
	in.must(err)
	in.must(chromedp.Do(ctx,
		chromedp.SendKeys("#password", "pass word"), chromedp.Click("#login"), // the name still stands there
		chromedp.WaitVisible("#done"),
	))
	title, err := chromedp.Run(ctx, chromedp.Text("h1"))
	in.must(err)
	text, err := chromedp.Run(ctx, chromedp.Text("p"))
	in.must(err)
	if refused == "" || title != "Logged in" || text != "You can close this page." {
		in.t.Errorf("a wrong password was told %q, the last page says %q and %q", refused, title, text)
	}
	code, err := p.ExitCode(in.ctx)
	if err != nil || code != 0 {
		in.t.Fatalf("worker login: exit code %d, %v", code, err)
	}
	if got, err := os.ReadFile(opened); err != nil || string(got) != address[0] {
		in.t.Errorf("opened %q, %v; want %q", got, err, address[0])
	}
	if env, err := os.ReadFile(opened + ".env"); err != nil || strings.Contains(string(env), "AGE-SECRET-KEY") || strings.Contains(string(env), "NATS_URL") {
		in.t.Errorf("the browser's environment, %v:\n%s", err, env)
	}
	if log, err := os.ReadFile(in.LogOf("login")); err != nil || !strings.Contains(string(log), "logged in to tenant Default; kept in ") {
		in.t.Errorf("worker login says %s, %v", log, errors.Join(err))
	}
}
