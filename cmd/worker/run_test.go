package main

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"waybill/cmd/internal/cli"
	"waybill/orchestrator/simulator"
	"waybill/pipeline"
	"waybill/pipeline/embedded"
)

// A worker whose connection is closed for good does not stay up without one.
func TestServeEndsWithItsConnection(t *testing.T) {
	t.Parallel()
	server, err := embedded.Start(embedded.Options{StoreDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close() //nolint:errcheck // its files are temporary
	flags := simulatorFlags{folder: "Shared"}
	orchestrator, err := flags.start(simulator.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer orchestrator.Close()
	log := slog.New(slog.DiscardHandler)
	s := simulatedSettings("http://simulator", "Shared")
	tenants, err := s.connectTenants(surroundings{log: log, transport: orchestrator.RoundTripper()})
	if err != nil {
		t.Fatal(err)
	}
	nc, err := server.Connect(nats.Timeout(5 * time.Second))
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- serve(t.Context(), nc, s.workerConfig(tenants, true, log), "") }()
	for orchestrator.Calls()["Folders"] == 0 { // it is about to pull
		time.Sleep(10 * time.Millisecond)
	}
	nc.Close()
	select {
	case err := <-served:
		if e, ok := errors.AsType[*cli.Error](err); !ok || e.Code != cli.ExitUnreachable {
			t.Errorf("got %v, want exit code %d", err, cli.ExitUnreachable)
		}
	case <-time.After(time.Minute):
		t.Error("it still serves")
	}
}

// What waiting does not mend has the exit code that says so.
func TestExitCodeOfAStreamThatIsGone(t *testing.T) {
	t.Parallel()
	err := exitCodeOf(&pipeline.GoneError{Role: pipeline.StreamLedger, Stream: "UIPATH_LEDGER"})
	if e, ok := errors.AsType[*cli.Error](err); !ok || e.Code != cli.ExitUsage {
		t.Errorf("got %v, want exit code %d", err, cli.ExitUsage)
	}
}
