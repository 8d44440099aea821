package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/nats-io/nats.go"

	"waybill/cmd/internal/cli"
	"waybill/pipeline"
)

// serveHealth answers health checks on an address, if there is one: /healthz
// says that the process has its connection to NATS, /readyz that it serves
// requests, with what it has done so far.
func serveHealth(ctx context.Context, address string, nc *nats.Conn, w *pipeline.Worker, log *slog.Logger) (stop func(), err error) {
	if address == "" {
		return func() {}, nil
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, cli.Errorf(cli.ExitUsage, "listen for health checks: %w", err)
	}
	log.Info("health checks ready", "address", listener.Addr().String())
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(rw http.ResponseWriter, _ *http.Request) {
		answerHealth(rw, nc.IsConnected(), map[string]any{"nats": nc.Status().String()})
	})
	mux.HandleFunc("GET /readyz", func(rw http.ResponseWriter, _ *http.Request) {
		stats := w.Stats()
		answerHealth(rw, stats.Ready && nc.IsConnected(), map[string]any{"ready": stats.Ready, "outcomes": stats.Outcomes})
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			nc.Close() // without its health checks a worker would be restarted at random
		}
	}()
	return func() {
		_ = server.Close() // nobody waits for an answer now
		<-ended
	}, nil
}

func answerHealth(rw http.ResponseWriter, well bool, body any) {
	rw.Header().Set("Content-Type", "application/json")
	if !well {
		rw.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(rw).Encode(body) // whoever asked has gone
}
