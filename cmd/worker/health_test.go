package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"waybill/cmd/internal/cli"
	"waybill/cmd/internal/proving"
	"waybill/pipeline"
	"waybill/pipeline/embedded"
)

// freeAddress is one that nobody listens on just now.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close() //nolint:errcheck // nothing was done with it
	return listener.Addr().String()
}

// getHealth gives the status, 0 if nobody answers, and the body of a health
// check.
func getHealth(t *testing.T, address, path string) (int, map[string]any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil
	}
	defer resp.Body.Close() //nolint:errcheck // it has been read
	var body map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return resp.StatusCode, body
}

// awaitHealth asks until the answer has this status.
func awaitHealth(t *testing.T, address, path string, want int) {
	t.Helper()
	deadline := time.Now().Add(proving.Patience)
	for {
		got, body := getHealth(t, address, path)
		if got == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: got %d %v after %s, want %d", path, got, body, proving.Patience, want)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func TestHealthBeforeServing(t *testing.T) {
	t.Parallel()
	server, err := embedded.Start(embedded.Options{StoreDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close() //nolint:errcheck // its files are temporary
	nc, err := server.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	s := simulatedSettings("http://127.0.0.1:1", "Shared")
	tenants, err := s.connectTenants(surroundings{log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	cfg := s.workerConfig(tenants, true, nil)
	cfg.JetStream = js
	w, err := pipeline.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	address := freeAddress(t)
	stop, err := serveHealth(t.Context(), address, nc, w, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if status, body := getHealth(t, address, "/healthz"); status != http.StatusOK || !cmp.Equal(body, map[string]any{"nats": "CONNECTED"}) {
		t.Errorf("/healthz while connected: %d %v", status, body)
	}
	if status, body := getHealth(t, address, "/readyz"); status != http.StatusServiceUnavailable || !cmp.Equal(body, map[string]any{"ready": false, "outcomes": nil}) {
		t.Errorf("/readyz before the worker serves: %d %v", status, body)
	}
	_, err = serveHealth(t.Context(), address, nc, w, slog.New(slog.DiscardHandler))
	if e, ok := errors.AsType[*cli.Error](err); !ok || e.Code != cli.ExitUsage {
		t.Errorf("a second time on the same address: got %v, want exit code %d", err, cli.ExitUsage)
	}
	nc.Close()
	if status, body := getHealth(t, address, "/healthz"); status != http.StatusServiceUnavailable || !cmp.Equal(body, map[string]any{"nats": "CLOSED"}) {
		t.Errorf("/healthz when the connection is closed: %d %v", status, body)
	}
	stop()
	if status, _ := getHealth(t, address, "/healthz"); status != 0 {
		t.Errorf("/healthz when stopped: got an answer with status %d", status)
	}
}

func TestHealthOff(t *testing.T) {
	t.Parallel()
	stop, err := serveHealth(t.Context(), "", nil, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	stop()
}

// The health checks of a worker that serves, loses NATS and finds it again.
func TestHealthWhileServing(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("starts processes")
	}
	ctx, cancel := context.WithTimeout(t.Context(), proving.Patience)
	defer cancel()
	in := setUp(t)
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + in.Logs, "GORACE=" + os.Getenv("GORACE"), "UIPATH_PAT=rt_1", "UIPATH_FOLDER_PATH=Shared"}
	check(in.StartNATS(ctx, env))
	check(in.StartOrchestrator(ctx, env))
	address := freeAddress(t)
	worker, err := in.Run("one", append(env, "NATS_URL="+in.NATSURL, "UIPATH_URL="+in.OrchestratorURL(cli.DefaultTenant)), "run", "--listen", address)
	check(err)

	awaitHealth(t, address, "/readyz", http.StatusOK)
	check(in.Collect(ctx))
	check(in.Publish(ctx, proving.PlainQueue, proving.NewRequest(proving.PlainQueue, "ORD-1"), proving.NewRequest(proving.PlainQueue, "ORD-2")))
	check(in.Await(ctx, pipeline.StageFinal))
	want := any(map[string]any{"accepted": 2.0})
	for _, body := getHealth(t, address, "/readyz"); !cmp.Equal(body["outcomes"], want); _, body = getHealth(t, address, "/readyz") {
		if ctx.Err() != nil { // they are counted a moment after they are published
			t.Fatalf("/readyz after two items: %v", body)
		}
	}

	in.Processes["nats"].Kill()
	awaitHealth(t, address, "/healthz", http.StatusServiceUnavailable)
	awaitHealth(t, address, "/readyz", http.StatusServiceUnavailable)
	check(in.StartNATS(ctx, env))
	awaitHealth(t, address, "/healthz", http.StatusOK)
	awaitHealth(t, address, "/readyz", http.StatusOK)

	check(worker.Signal(os.Interrupt))
	if code, err := worker.ExitCode(ctx); err != nil || code != 0 {
		t.Errorf("the worker ended with %d, %v", code, err)
	}
}
