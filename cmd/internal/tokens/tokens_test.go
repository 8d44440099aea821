package tokens

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"waybill/orchestrator"
	"waybill/pipeline"
	"waybill/pipeline/embedded/servertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// grant has secrets that are easily found.
var grant = orchestrator.Grant{
	TokenURL: "https://id.example/connect/token", ClientID: "app", Login: "one", AccessToken: "secret-access",
	RefreshTokens: []orchestrator.Secret{"secret-first", "secret-second"}, Scopes: []string{"OR.Jobs"}, User: "me",
	Expires: time.Date(2026, 12, 1, 2, 3, 4, 0, time.UTC), RenewedAt: time.Date(2026, 12, 1, 1, 3, 4, 0, time.UTC),
}

func newTestKey(t *testing.T) (Key, string) {
	t.Helper()
	text, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	key, err := ParseKey(text)
	if err != nil {
		t.Fatal(err)
	}
	return key, text
}

func newBucket(t *testing.T) (*pipeline.TokenBucket, jetstream.JetStream) {
	t.Helper()
	js, _ := servertest.JetStream(t)
	bucket := pipeline.NewTokenBucket(js, pipeline.Topology{})
	return bucket, js
}

// stores are a plain file, a sealed one, and a bucket, all empty.
func stores(t *testing.T) map[string]*Store {
	t.Helper()
	key, _ := newTestKey(t)
	tokens, _ := newBucket(t)
	if err := tokens.Provision(t.Context()); err != nil {
		t.Fatal(err)
	}
	bucket, err := Bucket(tokens, "Prod & Co", key)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]*Store{
		"file":        File(filepath.Join(t.TempDir(), "deep", "plain.login"), Key{}),
		"sealed file": File(filepath.Join(t.TempDir(), "sealed.login"), key),
		"bucket":      bucket,
	}
}

func TestStores(t *testing.T) {
	t.Parallel()
	for name, store := range stores(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			if _, _, err := store.Load(ctx); !errors.Is(err, orchestrator.ErrNoGrant) {
				t.Fatalf("empty: got %v, want ErrNoGrant", err)
			}
			if err := store.Save(ctx, grant, ""); err != nil {
				t.Fatal(err)
			}
			if err := store.Save(ctx, grant, ""); !errors.Is(err, orchestrator.ErrGrantChanged) {
				t.Errorf("save as the first, again: got %v, want ErrGrantChanged", err)
			}
			got, first, err := store.Load(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(grant, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			changed := grant
			changed.User = ""
			if err := store.Save(ctx, changed, first); err != nil {
				t.Fatal(err)
			}
			if err := store.Save(ctx, grant, first); !errors.Is(err, orchestrator.ErrGrantChanged) {
				t.Errorf("save over a newer one: got %v, want ErrGrantChanged", err)
			}
			if got, _, err := store.Load(ctx); err != nil || got.User != "" {
				t.Errorf("got %q, %v", got.User, err)
			}
		})
	}
}

// TestOneOfManySaves: of all who save over the same revision one succeeds, and
// whoever reads meanwhile reads a whole.
func TestOneOfManySaves(t *testing.T) {
	t.Parallel()
	for name, store := range stores(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			if err := store.Save(ctx, grant, ""); err != nil {
				t.Fatal(err)
			}
			for range 5 {
				_, revision, err := store.Load(ctx)
				if err != nil {
					t.Fatal(err)
				}
				var saved atomic.Int32
				var wg sync.WaitGroup
				for i := range 8 {
					wg.Go(func() {
						mine := grant
						mine.User = fmt.Sprint("worker ", i, " ", revision)
						switch err := store.Save(ctx, mine, revision); {
						case err == nil:
							saved.Add(1)
						case !errors.Is(err, orchestrator.ErrGrantChanged):
							t.Error(err)
						}
						if got, _, err := store.Load(ctx); err != nil || len(got.RefreshTokens) != 2 {
							t.Errorf("read %d refresh tokens, %v", len(got.RefreshTokens), err)
						}
					})
				}
				wg.Wait()
				if got := saved.Load(); got != 1 {
					t.Errorf("%d have saved, want 1", got)
				}
			}
		})
	}
}

func TestFileIsOnlyOnes(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("has no modes")
	}
	path := filepath.Join(t.TempDir(), "waybill", "one.login")
	store := File(path, Key{})
	if err := store.Save(t.Context(), grant, ""); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]os.FileMode{path: 0o600, path + ".lock": 0o600, filepath.Dir(path): 0o700} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s: mode %#o, want %#o", name, got, want)
		}
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	_, revision, err := store.Load(t.Context())
	if err == nil || !strings.Contains(err.Error(), "others can read it (mode 0640): chmod 600 it") {
		t.Errorf("got %v", err)
	}
	// A new login takes its place.
	if err := store.Save(t.Context(), grant, revision); err != nil {
		t.Error(err)
	}
	if _, _, err := store.Load(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestFailedReplaceLeavesNothing: a file that cannot be put in its place does not
// stay beside it, with tokens in it.
func TestFailedReplaceLeavesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	inTheWay := filepath.Join(dir, "one.login")
	if err := os.MkdirAll(filepath.Join(inTheWay, "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := replace(inTheWay, []byte("secret")); err == nil {
		t.Error("no error")
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 {
		t.Errorf("the folder has %v, want what was in the way alone", entries)
	}
}

// What a process that was killed has left beside the file goes with the next save.
func TestRemainsAreRemoved(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"one.login.123.new", "two.login.123.new"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("secret"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := File(filepath.Join(dir, "one.login"), Key{}).Save(t.Context(), grant, ""); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"one.login": true, "one.login.123.new": false, "two.login.123.new": true} {
		if _, err := os.Stat(filepath.Join(dir, name)); (err == nil) != want {
			t.Errorf("%s: %v, want it there: %t", name, err, want)
		}
	}
}

// What nobody can read can be replaced.
func TestUnusableIsReplaced(t *testing.T) {
	t.Parallel()
	key, _ := newTestKey(t)
	other, _ := newTestKey(t)
	path := filepath.Join(t.TempDir(), "one.login")
	if err := File(path, key).Save(t.Context(), grant, ""); err != nil {
		t.Fatal(err)
	}
	store := File(path, other)
	_, revision, err := store.Load(t.Context())
	if !errors.Is(err, orchestrator.ErrGrantUnusable) {
		t.Fatalf("got %v, want ErrGrantUnusable", err)
	}
	if err := store.Save(t.Context(), grant, revision); err != nil {
		t.Fatal(err)
	}
	if _, _, err := store.Load(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestSealed(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "one.login")
	key, text := newTestKey(t)
	other, _ := newTestKey(t)
	if err := File(path, key).Save(t.Context(), grant, ""); err != nil {
		t.Fatal(err)
	}
	sealed, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(sealed), "secret") || !strings.HasPrefix(string(sealed), "-----BEGIN AGE ENCRYPTED FILE-----") {
		t.Errorf("it is not sealed: %s", sealed)
	}
	if _, _, err := File(path, Key{}).Load(t.Context()); err == nil || !strings.Contains(err.Error(), "it is sealed: set WAYBILL_TOKEN_KEY") {
		t.Errorf("without the key: got %v", err)
	}
	if _, _, err := File(path, other).Load(t.Context()); err == nil || !strings.Contains(err.Error(), "it was sealed with another key") {
		t.Errorf("with another key: got %v", err)
	}
	_, otherText := newTestKey(t)
	both, err := ParseKey("# the new one first\n" + otherText + "\n\n" + text + "\n")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := File(path, both).Load(t.Context()); err != nil {
		t.Errorf("with a new key before the old one: %v", err)
	}
	if err := os.WriteFile(path, append(sealed[:200], "cut"...), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := File(path, key).Load(t.Context()); err == nil {
		t.Error("a damaged file was read")
	}
}

func TestPlainFileIsSealedAtTheNextSave(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "one.login")
	if err := File(path, Key{}).Save(t.Context(), grant, ""); err != nil {
		t.Fatal(err)
	}
	key, _ := newTestKey(t)
	store := File(path, key)
	_, revision, err := store.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Save(t.Context(), grant, revision); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(path); err != nil || strings.Contains(string(text), "secret") {
		t.Errorf("it is not sealed: %s, %v", text, err)
	}
}

func TestBucket(t *testing.T) {
	t.Parallel()
	tokens, js := newBucket(t)
	if _, err := Bucket(tokens, "Prod", Key{}); err == nil || !strings.Contains(err.Error(), "no key to seal it with") {
		t.Errorf("without a key: got %v", err)
	}
	key, _ := newTestKey(t)
	store, err := Bucket(tokens, "Prod", key)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := store.Load(t.Context()); !errors.Is(err, orchestrator.ErrNoGrant) {
		t.Errorf("without a bucket: got %v, want ErrNoGrant", err)
	}
	for range 2 {
		if err := tokens.Provision(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Save(t.Context(), grant, ""); err != nil {
		t.Fatal(err)
	}
	kv, err := js.KeyValue(t.Context(), "UIPATH_TOKENS")
	if err != nil {
		t.Fatal(err)
	}
	entry, err := kv.Get(t.Context(), "tenants.Prod")
	if err != nil || strings.Contains(string(entry.Value()), "secret") {
		t.Errorf("got %v, %v; want a sealed value", entry, err)
	}
	other, err := Bucket(tokens, "Test", key)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := other.Load(t.Context()); !errors.Is(err, orchestrator.ErrNoGrant) {
		t.Errorf("another tenant: got %v, want ErrNoGrant", err)
	}
}

// Whoever may write to the bucket, but has not the key, cannot have workers act
// in another user's name; and worker login can replace what is there.
func TestBucketTakesOnlyWhatIsSealed(t *testing.T) {
	t.Parallel()
	tokens, js := newBucket(t)
	if err := tokens.Provision(t.Context()); err != nil {
		t.Fatal(err)
	}
	key, _ := newTestKey(t)
	store, err := Bucket(tokens, "Prod", key)
	if err != nil {
		t.Fatal(err)
	}
	planted, err := encode(grant)
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.KeyValue(t.Context(), "UIPATH_TOKENS")
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range [][]byte{planted, append([]byte("\n"), planted...), {}} {
		if _, err := kv.Put(t.Context(), "tenants.Prod", text); err != nil {
			t.Fatal(err)
		}
		got, revision, err := store.Load(t.Context())
		if !errors.Is(err, orchestrator.ErrGrantUnusable) || !strings.Contains(err.Error(), "it is not sealed") || got.Login != "" {
			t.Fatalf("got login %q, %v; want ErrGrantUnusable", got.Login, err)
		}
		if err := store.Save(t.Context(), grant, revision); err != nil {
			t.Fatal(err)
		}
		if _, _, err := store.Load(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// A file that cannot be a login is replaced by one, like any that is unusable.
func TestLargeFileIsReplaced(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "one.login")
	store := File(path, Key{})
	large := func() string {
		t.Helper()
		if err := os.WriteFile(path, make([]byte, largest+1), 0o600); err != nil {
			t.Fatal(err)
		}
		_, revision, err := store.Load(t.Context())
		if !errors.Is(err, orchestrator.ErrGrantUnusable) || !strings.Contains(err.Error(), "it has 1048577 bytes") {
			t.Fatalf("got %v, want ErrGrantUnusable", err)
		}
		return revision
	}
	revision := large()
	if err := store.Save(t.Context(), grant, ""); !errors.Is(err, orchestrator.ErrGrantChanged) {
		t.Errorf("save as the first: got %v, want ErrGrantChanged", err)
	}
	if err := store.Save(t.Context(), grant, revision); err != nil {
		t.Fatal(err)
	}
	if _, _, err := store.Load(t.Context()); err != nil {
		t.Error(err)
	}
	if err := store.Save(t.Context(), grant, large()+"0"); !errors.Is(err, orchestrator.ErrGrantChanged) {
		t.Errorf("save over another one: got %v, want ErrGrantChanged", err)
	}
}

func TestParseKeyDoesNotShowWhatItRead(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "# nothing", "AGE-SECRET-KEY-1hunter2", "hunter2", "age1hunter2"} {
		_, err := ParseKey(text)
		if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "age-keygen") {
			t.Errorf("%q: got %v", text, err)
		}
	}
}

func TestKeyIsHidden(t *testing.T) {
	t.Parallel()
	key, text := newTestKey(t)
	logged := func(handler func(*bytes.Buffer) slog.Handler) func(Key) string {
		return func(k Key) string {
			var out bytes.Buffer
			slog.New(handler(&out)).Info("", "it", k)
			return out.String()
		}
	}
	for name, show := range map[string]func(Key) string{
		"%v":          func(k Key) string { return fmt.Sprintf("%v", k) },
		"%+v":         func(k Key) string { return fmt.Sprintf("%+v", k) },
		"%#v":         func(k Key) string { return fmt.Sprintf("%#v", k) },
		"%s":          func(k Key) string { return fmt.Sprintf("%s", k) },
		"%x":          func(k Key) string { return fmt.Sprintf("%x", k) },
		"in a struct": func(k Key) string { return fmt.Sprintf("%#v", struct{ It *Key }{&k}.It) },
		"slog, text":  logged(func(out *bytes.Buffer) slog.Handler { return slog.NewTextHandler(out, nil) }),
		"slog, JSON":  logged(func(out *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(out, nil) }),
		"JSON": func(k Key) string {
			text, err := json.Marshal(k)
			return fmt.Sprint(string(text), err)
		},
	} {
		if got := show(key); !strings.Contains(got, "[hidden]") || strings.Contains(got, strings.TrimSpace(text)) || strings.Contains(got, "0x") {
			t.Errorf("%s: it shows as %s", name, got)
		}
		if got := show(Key{}); strings.Contains(got, "[hidden]") {
			t.Errorf("%s: the zero Key shows as %s", name, got)
		}
	}
	// Of what is in an unexported field fmt asks no method.
	numbers := regexp.MustCompile(`(?i)([0-9]+ ){8}|(0x[0-9a-f]+, ){8}|[0-9a-f]{32}`)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%t"} {
		if got := fmt.Sprintf(verb, struct{ it Key }{key}); numbers.MatchString(got) || strings.Contains(got, strings.TrimSpace(text)) {
			t.Errorf("%s: in a struct it shows as %s", verb, got)
		}
	}
}

func TestDecode(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                                      "it is no stored login",
		`{"refreshTokens":["hunter2"`:           "it is no stored login",
		`{"version":2,"accessToken":"hunter2"}`: "its version is 2, this program knows 1",
		`{}`:                                    "its version is 0",
	} {
		_, err := decode([]byte(text))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}

func TestCanceled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	store := File(filepath.Join(t.TempDir(), "one.login"), Key{})
	if err := store.Save(ctx, grant, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

// A link leads to the file, which is replaced where it is.
func TestFileBehindALink(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("links are an administrator's there")
	}
	path, link := filepath.Join(t.TempDir(), "one.login"), filepath.Join(t.TempDir(), "link.login")
	if err := File(path, Key{}).Save(t.Context(), grant, ""); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	_, revision, err := File(link, Key{}).Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	next := grant
	next.Login = "next"
	if err := File(link, Key{}).Save(t.Context(), next, revision); err != nil {
		t.Fatal(err)
	}
	if got, _, err := File(path, Key{}).Load(t.Context()); err != nil || got.Login != "next" {
		t.Errorf("behind the link is login %q, %v; want the next", got.Login, err)
	}
}

// What might never end is not read, and never replaced.
func TestNoRegularFile(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("has no such files")
	}
	link := filepath.Join(t.TempDir(), "link.login")
	if err := os.Symlink("/dev/zero", link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{link, t.TempDir()} {
		store := File(path, Key{})
		_, revision, err := store.Load(t.Context())
		if err == nil || errors.Is(err, orchestrator.ErrGrantUnusable) || !strings.Contains(err.Error(), "is no file that can be written anew") {
			t.Errorf("%s: got %v", path, err)
		}
		if err := store.Save(t.Context(), grant, revision); err == nil {
			t.Errorf("%s: it was replaced", path)
		}
	}
}
