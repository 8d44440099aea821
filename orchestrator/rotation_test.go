package orchestrator_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"waybill/orchestrator"
	"waybill/orchestrator/simulator"
)

// worker is a client on behalf of a user, one of those that share a store.
func worker(t *testing.T, server *simulator.Server, store orchestrator.TokenStore, change ...func(*orchestrator.Config)) *orchestrator.Client {
	t.Helper()
	cfg := userConfig(server, store)
	for _, f := range change {
		f(&cfg)
	}
	client, err := orchestrator.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// strict is an Orchestrator that takes a refresh token once, and everything back
// from whoever presents it again.
func strict(t *testing.T) *simulator.Server {
	t.Helper()
	server := simulator.New(simulator.Config{Switches: simulator.Switches{RefreshTokenReuseRevokes: true}})
	t.Cleanup(server.Close)
	server.AddFolder("Finance")
	return server
}

func ask(t *testing.T, client *orchestrator.Client) error {
	t.Helper()
	for _, err := range client.Folders(t.Context(), orchestrator.Query{}) {
		if err != nil {
			return err
		}
	}
	return nil
}

// TestTwoWorkersShareOneRefreshToken for a thousand rotations, with calls that
// meet at every renewal and tokens that are taken back in between: each refresh
// token is used once, by one of them, and no call goes wrong.
func TestTwoWorkersShareOneRefreshToken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const rotations = 1000
		server := strict(t)
		store := loggedIn(t, server, 1)
		workers := []*orchestrator.Client{worker(t, server, store), worker(t, server, store)}
		started := time.Now()
		for round := 0; server.TokenCounts().Refreshes < rotations; round++ {
			if round%97 == 0 {
				server.RevokeTokens()
			}
			var wg sync.WaitGroup
			for _, client := range workers {
				for range 5 {
					wg.Go(func() {
						if err := ask(t, client); err != nil {
							t.Errorf("after %s: %v", time.Since(started), err)
						}
					})
				}
			}
			wg.Wait()
			if t.Failed() {
				return
			}
			time.Sleep(4 * time.Minute)
		}
		synctest.Wait()
		counts := server.TokenCounts()
		if counts.Refused != (simulator.RefusedRefreshes{}) {
			t.Errorf("refresh tokens refused: %+v", counts.Refused)
		}
		if tokens := len(store.present().RefreshTokens); tokens != 1 || store.present().User != "" {
			t.Errorf("%d refresh tokens are left, in use by %q; want one, by nobody", tokens, store.present().User)
		}
		if least := rotations * 45 * time.Minute; time.Since(started) < least {
			t.Errorf("%d rotations in %s: workers have not shared what one has got", counts.Refreshes, time.Since(started))
		}
		t.Logf("%d rotations in %s of fake time, %d saves", counts.Refreshes, time.Since(started), len(store.saves))
	})
}

// crashAfterReceipt has the store lost to a worker from the moment in which it
// has a new refresh token in hand.
type crashAfterReceipt struct {
	http.RoundTripper

	store *memoryStore
	armed atomic.Bool
}

var errCrashed = errors.New("crashed")

func (c *crashAfterReceipt) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := c.RoundTripper.RoundTrip(req)
	if strings.HasSuffix(req.URL.Path, "/connect/token") && c.armed.Load() {
		c.store.fail(errCrashed)
	}
	return resp, err
}

// crashed is a store whose worker was killed between the receipt of a new
// refresh token and its store. Another may have used what is in it.
func crashed(t *testing.T, server *simulator.Server, tokens int) *memoryStore {
	t.Helper()
	store := loggedIn(t, server, tokens)
	line := &crashAfterReceipt{RoundTripper: server.RoundTripper(), store: store}
	first := worker(t, server, store, func(c *orchestrator.Config) { c.Transport = line })
	if err := ask(t, first); err != nil {
		t.Fatal(err)
	}
	line.armed.Store(true)
	server.RevokeTokens()
	_ = ask(t, first) // its last call
	synctest.Wait()
	time.Sleep(time.Minute) // what it tries to save goes nowhere
	store.fail(nil)
	if store.present().User == "" {
		t.Fatal("the store does not say that the refresh token is in use")
	}
	server.RevokeTokens() // what it got is known to nobody
	return store
}

func TestCrashBetweenReceiptAndStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		server := strict(t)
		store := crashed(t, server, 2)
		var logged bytes.Buffer
		next := worker(t, server, store, func(c *orchestrator.Config) { c.Logger = slog.New(slog.NewTextHandler(&logged, nil)) })
		started := time.Now()
		if err := ask(t, next); err != nil {
			t.Fatalf("the tenant is locked out: %v", err)
		}
		if waited := time.Since(started); waited < 30*time.Second || waited > 40*time.Second {
			t.Errorf("the next worker waited %s, want the time that a use may take", waited)
		}
		if tokens := len(store.present().RefreshTokens); tokens != 1 {
			t.Errorf("%d refresh tokens are left, want the one that was not lost", tokens)
		}
		if !strings.Contains(logged.String(), "log in again (worker login) to have two") {
			t.Errorf("the log says nothing of it: %s", logged.String())
		}
		for range 10 {
			time.Sleep(time.Hour)
			if err := ask(t, next); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// Where the identity server bears with lost answers, one refresh token is enough.
func TestCrashWithLeeway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		server := simulator.New(simulator.Config{Switches: simulator.Switches{RefreshTokenLeeway: time.Hour}})
		t.Cleanup(server.Close)
		store := crashed(t, server, 1)
		if err := ask(t, worker(t, server, store)); err != nil {
			t.Errorf("the tenant is locked out: %v", err)
		}
	})
}

// With one refresh token and a strict server nothing can be done but to say so;
// the token stays, should the refusal be a mistake.
func TestLostRefreshToken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		server := strict(t)
		store := crashed(t, server, 1)
		next := worker(t, server, store)
		for range 2 {
			err := ask(t, next)
			e, ok := errors.AsType[*orchestrator.Error](err)
			if !ok || !e.LoginRefused() || !strings.Contains(e.Error(), "was used elsewhere before: log in again with worker login") {
				t.Errorf("got %v", err)
			}
		}
		if len(store.present().RefreshTokens) != 1 {
			t.Error("the last refresh token was thrown away")
		}
		store.put(authorize(t, server, userConfig(server, &memoryStore{}), 2))
		time.Sleep(refusalStands)
		if err := ask(t, next); err != nil {
			t.Errorf("after another login: %v", err)
		}
	})
}

// An answer that never arrives uses a refresh token up as a crash does.
func TestLostAnswer(t *testing.T) {
	t.Parallel()
	for _, kind := range []simulator.FaultKind{simulator.CutAfter, simulator.HTML, simulator.ErrorAfter, simulator.GatewayTimeoutAfter, simulator.Unavailable, simulator.Throttle} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				server := strict(t)
				store := loggedIn(t, server, 2)
				client := worker(t, server, store)
				server.RevokeTokens()
				if err := server.SetFaults(simulator.Faults{TokenRate: 1, Kinds: []simulator.FaultKind{kind}}); err != nil {
					t.Fatal(err)
				}
				if err := ask(t, client); err == nil {
					t.Fatal("no error")
				}
				if err := server.SetFaults(simulator.Faults{}); err != nil {
					t.Fatal(err)
				}
				time.Sleep(refusalStands)
				for range 3 {
					if err := ask(t, client); err != nil {
						t.Fatalf("the tenant is locked out: %v", err)
					}
					time.Sleep(time.Hour)
				}
				want := 1
				if kind == simulator.Unavailable || kind == simulator.Throttle { // the token was not used
					want = 2
				}
				if got := len(store.present().RefreshTokens); got != want {
					t.Errorf("%d refresh tokens are left, want %d", got, want)
				}
			})
		})
	}
}

// A store that fails for a while costs nothing: the worker goes on with what it
// has got, and saves it as soon as it can.
func TestStoreFailsForAWhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		server := strict(t)
		store := loggedIn(t, server, 1)
		line := &crashAfterReceipt{RoundTripper: server.RoundTripper(), store: store}
		line.armed.Store(true)
		var logged bytes.Buffer
		client := worker(t, server, store, func(c *orchestrator.Config) {
			c.Transport, c.Logger = line, slog.New(slog.NewTextHandler(&logged, nil))
		})
		server.RevokeTokens()
		if err := ask(t, client); err != nil {
			t.Fatalf("with the token it has got: %v", err)
		}
		if !strings.Contains(logged.String(), "do not stop this worker") {
			t.Errorf("the log says nothing of it: %s", logged.String())
		}
		line.armed.Store(false)
		store.fail(nil)
		for range 90 {
			time.Sleep(time.Minute)
			if err := ask(t, client); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if counts := server.TokenCounts(); counts.Refused != (simulator.RefusedRefreshes{}) || counts.Refreshes != 2 {
			t.Errorf("got %+v, want two rotations and nothing refused", counts)
		}
		if err := ask(t, worker(t, server, store)); err != nil {
			t.Errorf("the next worker: %v", err)
		}
	})
}

// A client that is closed leaves the store with every refresh token it has got:
// it waits for a renewal under way, and tries once more to save what could not be.
func TestCloseKeepsRefreshTokens(t *testing.T) {
	t.Parallel()
	for name, play := range map[string]func(*testing.T, *orchestrator.Client, *memoryStore){
		"in mid-renewal": func(t *testing.T, client *orchestrator.Client, _ *memoryStore) {
			t.Helper()
			go func() { _ = ask(t, client) }()
			time.Sleep(time.Second)
		},
		"unsaved": func(t *testing.T, client *orchestrator.Client, store *memoryStore) {
			t.Helper()
			if err := ask(t, client); err != nil {
				t.Error(err)
			}
			store.fail(nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				server := strict(t)
				store := loggedIn(t, server, 2)
				line := &crashAfterReceipt{RoundTripper: slowAnswer{server.RoundTripper(), 5 * time.Second}, store: store}
				line.armed.Store(name == "unsaved")
				client := worker(t, server, store, func(c *orchestrator.Config) { c.Transport = line })
				server.RevokeTokens()
				play(t, client, store)
				line.armed.Store(false)
				if err := client.Close(t.Context()); err != nil {
					t.Error(err)
				}
				if counts := server.TokenCounts(); counts.Refreshes != 1 || len(store.present().RefreshTokens) != 2 || store.present().User != "" {
					t.Errorf("%d renewals, and %d refresh tokens are kept, in use by %q; want 1, 2 and nobody", counts.Refreshes, len(store.present().RefreshTokens), store.present().User)
				}
				time.Sleep(10 * time.Second)
				if err := ask(t, worker(t, server, store)); err != nil {
					t.Errorf("the next worker: %v", err)
				}
				if refused := server.TokenCounts().Refused; refused != (simulator.RefusedRefreshes{}) {
					t.Errorf("refused: %+v", refused)
				}
				server.RevokeTokens()
				if e, ok := errors.AsType[*orchestrator.Error](ask(t, client)); !ok || !strings.Contains(e.Error(), "the client is closed") {
					t.Errorf("after its end: got %v", e)
				}
			})
		})
	}
}

// Whoever waits for another's use when its end comes begins nothing of its own
// any more, not later either.
func TestCloseWhileAnotherRenews(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		server := strict(t)
		store := loggedIn(t, server, 2)
		inUse := store.present()
		inUse.User = "another, dead"
		store.put(inUse)
		client := worker(t, server, store)
		server.RevokeTokens()
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := ask(t, client); err == nil || !strings.Contains(err.Error(), "the client is closed") {
				t.Errorf("the call got %v", err)
			}
		})
		time.Sleep(5 * time.Second)
		begin := time.Now()
		if err := client.Close(t.Context()); err != nil || time.Since(begin) > 0 {
			t.Errorf("%v after %s; there is nothing to wait for", err, time.Since(begin))
		}
		wg.Wait()
		time.Sleep(5 * time.Minute)
		if counts := server.TokenCounts(); counts.Refreshes != 0 || counts.Refused != (simulator.RefusedRefreshes{}) {
			t.Errorf("after its end it has renewed: %+v", counts)
		}
	})
}

// slowStore takes its time to save.
type slowStore struct {
	*memoryStore

	by time.Duration
}

func (s slowStore) Save(ctx context.Context, g orchestrator.Grant, revision string) error {
	time.Sleep(s.by)
	return s.memoryStore.Save(ctx, g, revision)
}

// Nor is anything begun by who had taken the login for use, and not used it yet.
func TestCloseBeforeTheExchange(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		server := strict(t)
		store := slowStore{loggedIn(t, server, 2), 4 * time.Second}
		client := worker(t, server, store)
		server.RevokeTokens()
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := ask(t, client); err == nil || !strings.Contains(err.Error(), "the client is closed") {
				t.Errorf("the call got %v", err)
			}
		})
		time.Sleep(time.Second)
		if err := client.Close(t.Context()); err != nil {
			t.Error(err)
		}
		wg.Wait()
		if counts := server.TokenCounts(); counts.Refreshes != 0 || store.present().User != "" {
			t.Errorf("%d renewals, in use by %q; want none, by nobody", counts.Refreshes, store.present().User)
		}
	})
}

// hangingStore takes no answer back to whoever saves, once it hangs.
type hangingStore struct {
	*memoryStore

	hangs atomic.Bool
}

func (s *hangingStore) Save(ctx context.Context, g orchestrator.Grant, revision string) error {
	if s.hangs.Load() {
		<-ctx.Done()
		return errors.New("the store hangs")
	}
	return s.memoryStore.Save(ctx, g, revision)
}

// The end of a client with an unsaved token takes no longer than it may, and
// its error says what is lost and why. Even with no time left it is tried.
func TestCloseWithoutAStore(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		limit time.Duration
		hangs bool
	}{
		"a store that hangs": {time.Second, true},
		"no time":            {0, true},
		"no time is needed":  {0, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				server := strict(t)
				store := &hangingStore{memoryStore: loggedIn(t, server, 2)}
				line := &crashAfterReceipt{RoundTripper: server.RoundTripper(), store: store.memoryStore}
				line.armed.Store(true)
				client := worker(t, server, store, func(c *orchestrator.Config) { c.Transport = line })
				server.RevokeTokens()
				if err := ask(t, client); err != nil {
					t.Fatal(err)
				}
				store.fail(nil)
				store.hangs.Store(tt.hangs)
				ctx, cancel := context.WithTimeout(t.Context(), tt.limit)
				defer cancel()
				begin := time.Now()
				err := client.Close(ctx)
				if time.Since(begin) > tt.limit {
					t.Errorf("took %s of %s", time.Since(begin), tt.limit)
				}
				if !tt.hangs {
					if err != nil || store.present().User != "" {
						t.Errorf("got %v, want it saved", err)
					}
					return
				}
				if err == nil || !strings.Contains(err.Error(), "a refresh token is lost, since it could not be saved: log in again with worker login: ") || !strings.Contains(err.Error(), "the store hangs") {
					t.Errorf("got %v, want what is lost and why", err)
				}
			})
		})
	}
}

// What could not be saved is saved without a call's help.
func TestUnsavedIsSavedWithoutCalls(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		server := strict(t)
		store := loggedIn(t, server, 2)
		line := &crashAfterReceipt{RoundTripper: server.RoundTripper(), store: store}
		line.armed.Store(true)
		client := worker(t, server, store, func(c *orchestrator.Config) { c.Transport = line })
		server.RevokeTokens()
		if err := ask(t, client); err != nil {
			t.Fatal(err)
		}
		line.armed.Store(false)
		store.fail(nil)
		time.Sleep(2 * time.Minute)
		if store.present().User != "" || server.TokenCounts().Refreshes != 1 {
			t.Errorf("in use by %q, %d renewals; want it saved", store.present().User, server.TokenCounts().Refreshes)
		}
	})
}

// slowAnswer is a worker that stands still with the answer in hand.
type slowAnswer struct {
	http.RoundTripper

	by time.Duration
}

func (s slowAnswer) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := s.RoundTripper.RoundTrip(req)
	if strings.HasSuffix(req.URL.Path, "/connect/token") {
		time.Sleep(s.by)
	}
	return resp, err
}

// A worker that stands still for longer than a use may take is taken for dead.
// When it goes on, what it has got is not thrown away.
func TestFrozenWorker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		server := simulator.New(simulator.Config{})
		t.Cleanup(server.Close)
		store := loggedIn(t, server, 2)
		frozen := worker(t, server, store, func(c *orchestrator.Config) { c.Transport = slowAnswer{server.RoundTripper(), 2 * time.Minute} })
		server.RevokeTokens()
		var wg sync.WaitGroup
		wg.Go(func() { _ = ask(t, frozen) })
		time.Sleep(time.Second)
		other := worker(t, server, store)
		if err := ask(t, other); err != nil {
			t.Errorf("the other worker: %v", err)
		}
		if got := len(store.present().RefreshTokens); got != 1 {
			t.Errorf("%d refresh tokens, want the one not in use", got)
		}
		wg.Wait()
		synctest.Wait()
		if got := len(store.present().RefreshTokens); got != 2 {
			t.Errorf("%d refresh tokens, want the frozen worker's too", got)
		}
		for range 4 {
			time.Sleep(time.Hour)
			if err := ask(t, other); err != nil {
				t.Error(err)
			}
		}
		if counts := server.TokenCounts(); counts.Refused.Reused != 1 {
			t.Errorf("got %+v, want one refusal: of the token that the frozen worker had used", counts)
		}
	})
}

// Who logs in anew while a worker renews is not mixed up with who did before.
func TestLoginDuringRenewal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		server := strict(t)
		store := loggedIn(t, server, 2)
		client := worker(t, server, store, func(c *orchestrator.Config) { c.Transport = slowAnswer{server.RoundTripper(), 10 * time.Second} })
		server.RevokeTokens()
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := ask(t, client); err != nil {
				t.Error(err)
			}
		})
		time.Sleep(time.Second)
		anew := authorize(t, server, userConfig(server, &memoryStore{}), 2)
		_, revision, err := store.Load(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := store.Save(t.Context(), anew, revision); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		if got := store.present(); got.Login != anew.Login || len(got.RefreshTokens) != 2 {
			t.Errorf("the store has %d refresh tokens of login %s, want the two of %s", len(got.RefreshTokens), got.Login, anew.Login)
		}
		if got := store.present(); got.AccessToken != anew.AccessToken || server.TokenCounts().Refreshes != 1 {
			t.Errorf("%d renewals; want one, of the login before, and the new one's access token used", server.TokenCounts().Refreshes)
		}
	})
}

// What is stored belongs to one application. Another's worker does not use it
// up, and says what is wrong.
func TestStoredLoginOfAnotherApplication(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		server := strict(t)
		store := loggedIn(t, server, 1)
		client := worker(t, server, store, func(c *orchestrator.Config) {
			c.Login = orchestrator.RefreshToken{ClientID: "another", Store: store}
		})
		err := ask(t, client)
		if e, ok := errors.AsType[*orchestrator.Error](err); !ok || !e.LoginRefused() || !strings.Contains(e.Error(), "is that of application app at https://cloud.uipath.com/acme/identity_/connect/token, not of another at") {
			t.Errorf("got %v", err)
		}
		if err := ask(t, worker(t, server, store)); err != nil {
			t.Errorf("the application itself: %v", err)
		}
	})
}

// A confidential application's login wants its secret, before the stored access
// token has ended too.
func TestStoredLoginWithoutItsSecret(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		server := strict(t)
		grant := authorize(t, server, orchestrator.Config{
			BaseURL: cloud, Transport: server.RoundTripper(), Login: orchestrator.RefreshToken{ClientID: "app", ClientSecret: "app-secret", Store: &memoryStore{}},
		}, 1)
		err := ask(t, worker(t, server, &memoryStore{grant: grant, revision: 1}))
		if e, ok := errors.AsType[*orchestrator.Error](err); !ok || !e.LoginRefused() || !strings.Contains(e.Error(), "has a secret, and none is set") {
			t.Errorf("got %v", err)
		}
	})
}

// What nobody but a person can mend is not waited for.
func TestUnusableStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		err := ask(t, worker(t, strict(t), brokenStore{}))
		if e, ok := errors.AsType[*orchestrator.Error](err); !ok || !e.LoginRefused() || !strings.Contains(e.Error(), "sealed with another key") {
			t.Errorf("got %v", err)
		}
	})
}

type brokenStore struct{ orchestrator.TokenStore }

func (brokenStore) Load(context.Context) (orchestrator.Grant, string, error) {
	return orchestrator.Grant{}, "", fmt.Errorf("%w: it was sealed with another key", orchestrator.ErrGrantUnusable)
}

func TestNoStoredLogin(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client := worker(t, strict(t), &memoryStore{})
		err := ask(t, client)
		if e, ok := errors.AsType[*orchestrator.Error](err); !ok || !e.LoginRefused() || !strings.Contains(e.Error(), "no login is stored: log in with worker login") {
			t.Errorf("got %v", err)
		}
	})
}

// A refresh token that nobody has used for sixty days is over.
func TestRefreshTokenExpires(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		server := strict(t)
		store := loggedIn(t, server, 2)
		time.Sleep(61 * 24 * time.Hour)
		err := ask(t, worker(t, server, store))
		if e, ok := errors.AsType[*orchestrator.Error](err); !ok || !e.LoginRefused() || !strings.Contains(e.Error(), "invalid_grant: the refresh token has expired") {
			t.Errorf("got %v", err)
		}
	})
}
