package main

import (
	"context"
	"net/http/httptest"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"waybill/cmd/internal/cli"
	"waybill/cmd/internal/proving"
	"waybill/orchestrator"
	"waybill/orchestrator/simulator"
	"waybill/pipeline"
)

// tokenLife is so short that a renewal ahead of time is soon due, and so long
// that calls can go on meanwhile.
const tokenLife = 15 * time.Second

// TestStopInMidRenewal: a worker that is told to stop while its login is renewed
// in the background, with nothing in hand that waits for it, ends with the new
// refresh token.
func TestStopInMidRenewal(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("starts processes")
	}
	ctx, cancel := context.WithTimeout(t.Context(), proving.Patience)
	defer cancel()
	sim := simulator.New(simulator.Config{TokenLife: tokenLife})
	t.Cleanup(sim.Close)
	if _, err := sim.AddQueue("Shared", simulator.Queue{Name: proving.UniqueQueue.Name, Unique: true}); err != nil {
		t.Fatal(err)
	}
	network := httptest.NewServer(sim)
	t.Cleanup(network.Close)
	one := tenant{Name: cli.DefaultTenant, URL: network.URL + "/acme/Default/orchestrator_", ClientID: "app", Login: loginUser}
	folder := t.TempDir()
	store, err := tokenPlaces{tokenPlace: tokenPlace{Folder: folder}}.of(one)
	if err != nil {
		t.Fatal(err)
	}
	keepLogin(t, sim, one, store)
	in := setUp(t)
	if err := in.StartNATS(ctx, []string{"HOME=" + folder}); err != nil {
		t.Fatal(err)
	}
	p, err := in.Run("worker", []string{
		"HOME=" + folder, "NATS_URL=" + in.NATSURL, "UIPATH_URL=" + one.URL, "UIPATH_TENANT=" + one.Name, "UIPATH_CLIENT_ID=app",
		"UIPATH_LOGIN=user", "WAYBILL_TOKEN_FOLDER=" + folder, "UIPATH_FOLDER_PATH=Shared",
	}, slices.Concat([]string{"run"}, shortTimes)...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Says(ctx, "worker ready"); err != nil {
		t.Fatal(err)
	}
	if err := in.Collect(ctx); err != nil {
		t.Fatal(err)
	}
	// Calls go on with the old token while the renewal that one of them has begun
	// is held up.
	held := sim.Hold(simulator.Hold{Operation: "Token", When: simulator.After})
	for n := 0; !arrived(held); n++ {
		if err := in.Publish(ctx, proving.UniqueQueue, proving.NewRequest(proving.UniqueQueue, "INV-"+strconv.Itoa(n))); err != nil {
			t.Fatal(err)
		}
		if err := in.Await(ctx, pipeline.StageFinal); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Says(ctx, "stopping"); err != nil {
		t.Fatal(err)
	}
	held.Release()
	if code, err := p.ExitCode(ctx); err != nil || code != 0 {
		t.Errorf("exit code %d, %v", code, err)
	}
	grant, _, err := store.Load(ctx)
	if err != nil || len(grant.RefreshTokens) != 2 || grant.User != "" {
		t.Errorf("%d refresh tokens, in use by %q, %v; want two, by nobody", len(grant.RefreshTokens), grant.User, err)
	}
}

// arrived waits a moment for a call to run into the hold.
func arrived(held *simulator.Held) bool {
	select {
	case <-held.Arrived():
		return true
	case <-time.After(100 * time.Millisecond):
		return false
	}
}

// keepLogin has a user log in twice, and keeps what is left.
func keepLogin(t *testing.T, sim *simulator.Server, one tenant, store orchestrator.TokenStore) {
	t.Helper()
	cfg := orchestrator.Config{BaseURL: one.URL, Transport: sim.RoundTripper(), Login: orchestrator.RefreshToken{ClientID: one.ClientID}}
	ann := sim.Visitor("ann", "pw")
	var grant orchestrator.Grant
	for range 2 {
		a, err := orchestrator.NewAuthorization(cfg, orchestrator.AuthorizationRequest{RedirectURL: defaultRedirectURL})
		if err != nil {
			t.Fatal(err)
		}
		end, err := ann.Open(t.Context(), a.URL())
		if err != nil {
			t.Fatal(err)
		}
		got, err := a.Exchange(t.Context(), end)
		if err != nil {
			t.Fatal(err)
		}
		if grant.Login == "" {
			grant = got
			continue
		}
		grant = grant.Join(got)
	}
	if err := store.Save(t.Context(), grant, ""); err != nil {
		t.Fatal(err)
	}
}
