package proving

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// node is one NATS server of the installation.
type node struct {
	name        string
	store       string
	port        int
	clusterPort int // 0 for a server alone
}

func (n node) address() string { return "127.0.0.1:" + strconv.Itoa(n.port) }

// planNodes gives each server its ports and its folder.
func (in *Installation) planNodes(ctx context.Context) error {
	if len(in.nodes) > 0 {
		return nil
	}
	if in.Nodes <= 1 {
		port, err := freePort(ctx)
		in.nodes = []node{{name: "nats", store: in.store, port: port}}
		return err
	}
	for i := range in.Nodes {
		port, err := freePort(ctx)
		if err != nil {
			return err
		}
		cluster, err := freePort(ctx)
		if err != nil {
			return err
		}
		name := "nats-" + strconv.Itoa(i+1)
		in.nodes = append(in.nodes, node{name: name, store: filepath.Join(in.store, name), port: port, clusterPort: cluster})
	}
	return nil
}

// freePort finds a port on the loopback address that nobody listens on.
func freePort(ctx context.Context) (int, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer listener.Close() //nolint:errcheck // it was only to find the port
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	return n, nil
}

// StartNATS starts the servers that do not run: a second time, after one was
// killed, on the same port and with what it had written. It returns when
// JetStream answers.
func (in *Installation) StartNATS(ctx context.Context, env []string) error {
	if err := in.planNodes(ctx); err != nil {
		return err
	}
	var started []*Process
	for _, n := range in.nodes {
		if p, err := in.Process(n.name); err == nil && p.Running() {
			continue
		}
		p, err := in.startNode(n, env)
		if err != nil {
			return err
		}
		started = append(started, p)
	}
	for _, p := range started {
		if _, err := p.Says(ctx, `NATS server ready" url=(\S+)`); err != nil {
			return err
		}
	}
	if in.nc != nil {
		return nil
	}
	return in.connect(ctx)
}

func (in *Installation) startNode(n node, env []string) (*Process, error) {
	args := []string{"nats", "--store", n.store, "--port", strconv.Itoa(n.port), "--name", n.name, "--sync-always=" + strconv.FormatBool(!in.SyncDefault)}
	if n.clusterPort != 0 {
		var routes []string
		for _, other := range in.nodes {
			routes = append(routes, "nats://127.0.0.1:"+strconv.Itoa(other.clusterPort))
		}
		args = append(args, "--cluster-port", strconv.Itoa(n.clusterPort), "--routes", strings.Join(routes, ","))
	}
	return in.Run(n.name, env, args...)
}

// connect opens the installation's own connection, and waits until JetStream
// has found its leader, and the leader all servers.
func (in *Installation) connect(ctx context.Context) error {
	var urls []string
	for _, n := range in.nodes {
		urls = append(urls, "nats://"+n.address())
	}
	in.NATSURL = strings.Join(urls, ",")
	var err error
	quiet := func(*nats.Conn, *nats.Subscription, error) {} // that connections break is the point
	if in.nc, err = nats.Connect(in.NATSURL, nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond), nats.Name("waybill test"), nats.ErrorHandler(quiet)); err != nil {
		return fmt.Errorf("connect to NATS: %w", err)
	}
	if in.JS, err = jetstream.New(in.nc, jetstream.WithPublishAsyncTimeout(publishTimeout)); err != nil {
		return fmt.Errorf("open JetStream: %w", err)
	}
	for {
		if err = in.askJetStream(ctx); err == nil {
			err = in.placeEverywhere(ctx)
		}
		if err == nil {
			return nil
		}
		if wait(ctx, 100*time.Millisecond) != nil {
			return errors.Join(fmt.Errorf("JetStream is not ready: %w", err), context.Cause(ctx))
		}
	}
}

// askJetStream gives up soon: a cluster without a leader answers nothing.
func (in *Installation) askJetStream(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_, err := in.JS.AccountInfo(ctx)
	return err //nolint:wrapcheck // the caller says what was being done
}

// placeEverywhere makes a stream with a replica on each server, and removes it: a
// leader that has not heard of all servers refuses one, and so it would refuse
// the workers theirs, who give up then.
func (in *Installation) placeEverywhere(ctx context.Context) error {
	if len(in.nodes) == 1 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	const name = "everywhere"
	config := jetstream.StreamConfig{Name: name, Storage: jetstream.MemoryStorage, Replicas: len(in.nodes)}
	if _, err := in.JS.CreateStream(ctx, config); err != nil {
		return fmt.Errorf("make a stream on all servers: %w", err)
	}
	if err := in.JS.DeleteStream(ctx, name); err != nil {
		return fmt.Errorf("remove the stream on all servers: %w", err)
	}
	return nil
}

// publishTimeout is after how long a request of whose publishing nobody has
// heard is published again.
const publishTimeout = 3 * time.Second
