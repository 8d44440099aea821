package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"waybill/cmd/internal/proving"
	"waybill/cmd/internal/tokens"
	"waybill/orchestrator"
	"waybill/orchestrator/simulator"
	"waybill/pipeline"
	"waybill/pipeline/embedded/servertest"
)

// secretly is how every command is run that has secrets to keep: what it is
// given, and how long it runs before it is broken off.
type secretly struct {
	args []string
	// until is what it says when it has come far enough; empty: it ends by
	// itself.
	until string
	// pages are addresses, in what it says, of pages that it shows.
	pages string
}

// commandsWithSecrets has every command there is, by the words that call it.
var commandsWithSecrets = map[string]secretly{
	"run":         {args: []string{"--listen", "127.0.0.1:0"}, until: `calls paused|carried|worker ready|refuse|error`, pages: `address=(\S+)`},
	"dev":         {args: []string{"--nats-port", "-1", "--simulator-listen", "127.0.0.1:0", "--listen", "127.0.0.1:0"}, until: "worker ready", pages: `address=(\S+)`},
	"demo":        {},
	"simulator":   {args: []string{"--listen", "127.0.0.1:0"}, until: "simulated Orchestrator ready", pages: `control=http://([^/\s]+)`},
	"prove":       {args: []string{"--for", "1s"}},
	"nats":        {until: "NATS server ready"},
	"login":       {args: []string{"--timeout", "500ms"}},
	"discover":    {},
	"doctor":      {},
	"permissions": {},
}

// keeper knows the secrets, those that are configured and those that are issued.
type keeper struct {
	mu      sync.Mutex
	secrets map[string]string // by what they are
}

func (k *keeper) add(what, secret string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.secrets[fmt.Sprint(what, " ", len(k.secrets))] = secret
}

// find gives the secrets that a text shows, in whatever spelling.
func (k *keeper) find(text string) []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	var found []string
	for what, secret := range k.secrets {
		asJSON, err := json.Marshal(secret)
		if err != nil {
			panic(err) // a text always encodes
		}
		for _, spelling := range []string{
			secret, url.QueryEscape(secret), url.PathEscape(secret), strings.Trim(string(asJSON), `"`), fmt.Sprintf("%q", secret),
			base64.StdEncoding.EncodeToString([]byte(secret)), base64.RawURLEncoding.EncodeToString([]byte(secret)), fmt.Sprintf("%x", secret),
		} {
			if strings.Contains(text, spelling) {
				found = append(found, what)
				break
			}
		}
	}
	return found
}

// issuing passes an Orchestrator's answers on, and notes the tokens in them.
func (k *keeper) issuing(next http.Handler) http.Handler {
	issued := regexp.MustCompile(`"(access_token|refresh_token|result)":"([^"]{8,})"`)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		recorder := httptest.NewRecorder()
		next.ServeHTTP(recorder, r)
		for _, match := range issued.FindAllStringSubmatch(recorder.Body.String(), -1) {
			k.add(match[1], match[2])
		}
		maps.Copy(w.Header(), recorder.Header())
		w.WriteHeader(recorder.Code)
		_, _ = w.Write(recorder.Body.Bytes())
	})
}

// talkative repeats everything it is sent, as an error.
func talkative(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body) // what is missing is not repeated
	said, _ := json.Marshal(fmt.Sprintf("%s %s %s", r.URL, body, r.Header))
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusBadRequest)
	_, _ = fmt.Fprintf(w, `{"message":%s,"error":"invalid_client","error_description":%s}`, said, said)
}

// TestNoCommandTellsASecret runs every command with secrets that are known, with
// each way in, against an Orchestrator that is well, one that repeats what it is
// sent and none at all, and looks for them in everything that comes out: what it
// prints and logs at level debug, the pages it shows, the stacks it prints when
// it is aborted, and the files it leaves.
func TestNoCommandTellsASecret(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("starts many processes")
	}
	key, err := tokens.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	k := &keeper{secrets: map[string]string{
		"NATS password": "n4ts-pa55/word", "client secret": "cl13nt s3cret+/=&", "personal access token": "rt_p3rs0nal-t0ken",
		"password": "pa55 w0rd+\"ß", "user key": "u5er-key/+=", "token key": strings.TrimSpace(key),
		"monitoring password": "m0n1tor-pa55/word",
	}}
	sim := simulator.New(simulator.Config{
		ClientID: "app", ClientSecret: k.secrets["client secret"], PersonalAccessToken: k.secrets["personal access token"],
		UserKey: k.secrets["user key"], Users: []simulator.User{{Name: "ann", Password: k.secrets["password"]}},
	})
	t.Cleanup(sim.Close)
	sim.AddFolder("Shared")
	good, bad := httptest.NewServer(k.issuing(sim)), httptest.NewServer(http.HandlerFunc(talkative))
	t.Cleanup(func() { good.Close(); bad.Close() })
	natsURL := "nats://u:" + url.PathEscape(k.secrets["NATS password"]) + "@" + servertest.Start(t, &server.Options{JetStream: true, Username: "u", Password: k.secrets["NATS password"]}).Addr().String()

	ways := map[string][]string{
		"application": {"UIPATH_CLIENT_ID=app", "UIPATH_CLIENT_SECRET=" + k.secrets["client secret"]},
		"basic":       {"UIPATH_CLIENT_ID=app", "UIPATH_CLIENT_SECRET=" + k.secrets["client secret"], "UIPATH_CLIENT_AUTH=basic"},
		"token":       {"UIPATH_PAT=" + k.secrets["personal access token"]},
		"password":    {"UIPATH_USERNAME=ann", "UIPATH_PASSWORD=" + k.secrets["password"]},
		"userKey":     {"UIPATH_CLIENT_ID=app", "UIPATH_USER_KEY=" + k.secrets["user key"], "UIPATH_IDENTITY_URI=ORCHESTRATOR/oauth/token"},
		"user": {
			"UIPATH_LOGIN=user", "UIPATH_CLIENT_ID=app", "UIPATH_CLIENT_SECRET=" + k.secrets["client secret"],
			"WAYBILL_TOKEN_STORE=bucket", "WAYBILL_TOKEN_KEY=" + k.secrets["token key"], "UIPATH_REDIRECT_URL=http://127.0.0.1:" + freePort(t) + "/",
		},
	}
	addresses := map[string]string{"well": good.URL, "talkative": bad.URL, "away": "http://127.0.0.1:" + freePort(t)}
	k.keepLogins(t, natsURL, addresses, sim)
	monitor := "http://u:" + url.PathEscape(k.secrets["monitoring password"]) + "@" // from here on more is kept
	for _, cmd := range newRoot().Commands() {
		name := cmd.Name()
		if slices.Contains([]string{"help", "completion"}, name) {
			continue
		}
		how, known := commandsWithSecrets[name]
		if !known {
			t.Errorf("worker %s is not tried: add it to commandsWithSecrets", name)
			continue
		}
		for way, environment := range ways {
			for state, address := range addresses {
				if !usesOrchestrator(cmd) && (way != "application" || state != "well") {
					continue
				}
				t.Run(strings.Join([]string{name, way, state}, "/"), func(t *testing.T) {
					t.Parallel()
					base := address + "/acme/Default/orchestrator_"
					if way == "password" {
						base = address
					}
					env := []string{"NATS_URL=" + natsURL, "NATS_MONITOR=" + monitor + strings.TrimPrefix(address, "http://"), "UIPATH_URL=" + base, "UIPATH_TENANT=" + state, "UIPATH_FOLDER_PATH=Shared"}
					for _, variable := range environment {
						env = append(env, strings.ReplaceAll(variable, "ORCHESTRATOR", address))
					}
					said := k.try(t, name, how, env)
					if usesOrchestrator(cmd) && name != "login" && state == "talkative" && !strings.Contains(said, "[hidden]") {
						t.Errorf("nothing was hidden, so nothing was tried: %s", said)
					}
				})
			}
		}
	}
}

// keepLogins keeps what a user's login has left, in the tenant of each address.
func (k *keeper) keepLogins(t *testing.T, natsURL string, addresses map[string]string, sim *simulator.Server) {
	t.Helper()
	nc, err := nats.Connect(natsURL)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := openJetStream(nc)
	if err != nil {
		t.Fatal(err)
	}
	bucket := pipeline.NewTokenBucket(js, pipeline.Topology{})
	if err := bucket.Provision(t.Context()); err != nil {
		t.Fatal(err)
	}
	key, err := tokens.ParseKey(k.secrets["token key"])
	if err != nil {
		t.Fatal(err)
	}
	for state, address := range addresses {
		login := orchestrator.RefreshToken{ClientID: "app", ClientSecret: orchestrator.Secret(k.secrets["client secret"])}
		a, err := orchestrator.NewAuthorization(
			orchestrator.Config{BaseURL: address + "/acme/Default/orchestrator_", Transport: sim.RoundTripper(), Login: login},
			orchestrator.AuthorizationRequest{RedirectURL: "http://localhost/"})
		if err != nil {
			t.Fatal(err)
		}
		end, err := sim.Visitor("ann", k.secrets["password"]).Open(t.Context(), a.URL())
		if err != nil {
			t.Fatal(err)
		}
		grant, err := a.Exchange(t.Context(), end)
		if err != nil {
			t.Fatal(err)
		}
		k.add("refresh token", string(grant.RefreshTokens[0]))
		grant.AccessToken = "" // so that the refresh token is used
		store, err := tokens.Bucket(bucket, state, key)
		if err != nil {
			t.Fatal(err)
		}
		if err := store.Save(t.Context(), grant, ""); err != nil {
			t.Fatal(err)
		}
	}
}

// usesOrchestrator tells the commands that log in.
func usesOrchestrator(cmd *cobra.Command) bool {
	return slices.Contains([]string{"run", "login", "discover", "doctor"}, cmd.Name())
}

// try runs a command and looks for secrets in all that comes of it.
func (k *keeper) try(t *testing.T, name string, how secretly, env []string) string {
	t.Helper()
	dir := t.TempDir()
	in := proving.New("worker", dir, dir)
	t.Cleanup(func() { _ = in.Close() }) // it is broken off, which counts as a panic there
	ctx, cancel := context.WithTimeout(t.Context(), proving.Patience)
	defer cancel()
	work := filepath.Join(dir, "work")
	if err := os.Mkdir(work, 0o700); err != nil {
		t.Fatal(err)
	}
	env = append(env, "HOME="+work, "TMPDIR="+work, "PATH=/usr/bin:/bin", "GOTRACEBACK=crash", "GORACE="+os.Getenv("GORACE"))
	args := append([]string{name}, how.args...)
	if hasFlag(name, "log-level") {
		args = append(args, "--log-level", "debug")
	}
	if name == "dev" {
		args = append(args, "--data", work)
	}
	p, err := in.Run(name, env, args...)
	if err != nil {
		t.Fatal(err)
	}
	var seen strings.Builder
	if how.until != "" {
		if _, err := p.Says(ctx, how.until); err == nil {
			seen.WriteString(pagesOf(ctx, p, how.pages))
			if err := p.Signal(syscall.SIGABRT); err != nil {
				t.Log(err) // it may have ended by itself
			}
		}
	}
	if _, err := p.ExitCode(ctx); err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		seen.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen.Len() == 0 {
		t.Error("it has said nothing at all")
	}
	for _, what := range k.find(seen.String()) {
		t.Errorf("worker %s shows the %s", strings.Join(args, " "), what)
	}
	return seen.String()
}

func hasFlag(name, flag string) bool {
	cmd, _, err := newRoot().Find([]string{name})
	return err == nil && cmd.Flags().Lookup(flag) != nil
}

// pagesOf gives what its pages show.
func pagesOf(ctx context.Context, p *proving.Process, address string) string {
	if address == "" {
		return ""
	}
	short, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	match, err := p.Says(short, address)
	if err != nil {
		return ""
	}
	var seen strings.Builder
	for _, path := range []string{"/healthz", "/readyz", "/simulator/", "/simulator/tokens", "/simulator/effects", "/simulator/calls"} {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+match[1]+path, http.NoBody)
		if err != nil {
			continue
		}
		resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
		if err != nil {
			continue
		}
		text, _ := io.ReadAll(resp.Body) // what there is
		_ = resp.Body.Close()
		seen.Write(text)
	}
	return seen.String()
}
