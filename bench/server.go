package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"waybill/pipeline"
)

// natsServer is the NATS server of a run.
type natsServer struct {
	*process

	bench   *bench
	dir     string
	address string
}

func (s *natsServer) url() string { return "nats://" + s.address }

// startServer starts a server with an empty store.
func (b *bench) startServer(ctx context.Context, dir string, always bool) (*natsServer, error) {
	address, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	s := &natsServer{bench: b, dir: dir, address: address}
	return s, s.start(ctx, always)
}

// start starts it with what its store has.
func (s *natsServer) start(ctx context.Context, always bool) error {
	jetStream := fmt.Sprintf("store_dir: %q", filepath.Join(s.dir, "store"))
	if always {
		jetStream += "\n  sync_interval: always"
	}
	config := fmt.Sprintf("listen: %q\njetstream {\n  %s\n}\n", s.address, jetStream)
	path := filepath.Join(s.dir, "nats-server.conf")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		return fmt.Errorf("write the server's configuration: %w", err)
	}
	var err error
	if s.process, err = startProcess(ctx, s.dir, "nats-server", cleanEnvironment(), s.bench.natsServer, "-c", path); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, errTooLong)
	defer cancel()
	err = poll(ctx, 10*time.Millisecond, func() (bool, error) { return s.serves(ctx), s.check() })
	if err != nil {
		s.kill()
		return fmt.Errorf("wait for the NATS server: %w", err)
	}
	return nil
}

// restart stops the server and starts it anew with what it has stored.
func (s *natsServer) restart(ctx context.Context, always bool) error {
	if err := s.stop(ctx); err != nil {
		return err
	}
	return s.start(ctx, always)
}

func (s *natsServer) serves(ctx context.Context) bool {
	nc, js, err := s.connect()
	if err != nil {
		return false
	}
	defer nc.Close()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	_, err = js.AccountInfo(ctx)
	return err == nil
}

// maxPending is how many published requests may be under way: enough to keep
// the server busy, little enough for it to keep up.
const maxPending = 8_192

func (s *natsServer) connect(opts ...jetstream.JetStreamOpt) (*nats.Conn, jetstream.JetStream, error) {
	return connect(s.url(), "bench runner", opts...)
}

func connect(url, name string, opts ...jetstream.JetStreamOpt) (*nats.Conn, jetstream.JetStream, error) {
	nc, err := nats.Connect(url, nats.Name(name))
	if err != nil {
		return nil, nil, fmt.Errorf("connect to NATS: %w", err)
	}
	js, err := jetstream.New(nc, append(opts, jetstream.WithPublishAsyncMaxPending(maxPending))...)
	if err != nil {
		nc.Close()
		return nil, nil, fmt.Errorf("open JetStream: %w", err)
	}
	return nc, js, nil
}

// The stream that the bare loop and the peer publish their outcomes to.
const (
	peersStream  = "OUTCOMES"
	peersSubject = "bench.outcomes"
	peersFilter  = "bench.>"
)

// outcomesOf says where a side's outcomes stand: those of the tenant that is
// measured.
func outcomesOf(s side) (stream, subject string) {
	if s == sideWaybill {
		return pipeline.Topology{}.LedgerStream(), "uipath.outcomes." + tenantName + ".>"
	}
	return peersStream, peersFilter
}

// provision makes the streams that a side needs.
func provision(ctx context.Context, js jetstream.JetStream, s side) error {
	if err := pipeline.Provision(ctx, js, pipeline.Topology{}); err != nil {
		return fmt.Errorf("make waybill's streams: %w", err)
	}
	if s == sideWaybill {
		return nil
	}
	_, err := js.CreateStream(ctx, jetstream.StreamConfig{
		Name: peersStream, Subjects: []string{peersSubject, peersSubject + ".>"}, Storage: jetstream.FileStorage,
		AllowAtomicPublish: true, AllowBatchPublish: true,
	})
	if err != nil {
		return fmt.Errorf("make the stream of outcomes: %w", err)
	}
	return nil
}

// requestSubject is where requests of a lane are published.
func requestSubject(tenant, kind string, lane int) string {
	return strings.Join([]string{"uipath.requests", tenant, "-", kind, laneName(kind, lane)}, ".")
}

const (
	tenantName   = "Default" // of the tenant that is measured
	organization = "bench"   // which that tenant belongs to
	folderName   = "Shared"
)

// laneName is the name of a queue or a process.
func laneName(kind string, lane int) string {
	if kind == kindJobs {
		return fmt.Sprintf("Process%d", lane)
	}
	return fmt.Sprintf("Queue%d", lane)
}
