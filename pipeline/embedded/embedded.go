// Package embedded runs a NATS server with JetStream inside the process: for
// worker dev and worker demo, which need no set-up, and for tests.
//
// It is the real server, on disk, with the same streams. Inside a
// testing/synctest bubble it runs in fake time: see [OutsideBubble].
package embedded

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats-server/v2/server/ats"
	"github.com/nats-io/nats.go"
)

// Options choose how the server runs. The zero value listens nowhere and
// keeps its data in a folder of its own that Close removes.
type Options struct {
	// StoreDir is where JetStream keeps its files; empty: a temporary folder.
	StoreDir string
	// Listen is whether other processes can connect; Port is where, on the
	// loopback address (-1 picks a free one).
	Listen bool
	Port   int
	// SyncAlways has every write reach the disk before it is acknowledged, as
	// in production. Without it a crash of the machine (not of the process)
	// can lose acknowledged writes.
	SyncAlways bool
	// Name is the server's; each in a cluster needs one of its own.
	Name string
	// ClusterPort, where it is not zero, is where the other servers of a
	// cluster on this machine connect to, and Routes are their URLs, of which
	// this one's own may be one.
	ClusterPort int
	Routes      []string
	// Accounts are accounts, users and permissions in the words of a
	// nats-server.conf. Empty: whoever connects may do everything.
	Accounts string
}

const (
	defaultName = "waybill-embedded"
	clusterName = "waybill"
)

// cluster adds what a server needs to be one of several. Clients are not told
// of the others: they may be meant to reach each by a way of its own.
func (o Options) cluster(to *server.Options) {
	if o.ClusterPort == 0 {
		return
	}
	to.Cluster = server.ClusterOpts{Name: clusterName, Host: "127.0.0.1", Port: o.ClusterPort, NoAdvertise: true}
	to.Routes = server.RoutesFromStr(strings.Join(o.Routes, ","))
}

// Server is a running server.
type Server struct {
	server *server.Server
	remove string // the temporary folder, if there is one
}

// startTimeout bounds how long a server may take to be ready.
const startTimeout = 10 * time.Second

// Start runs a server and returns when it takes connections. It fails where
// the port is taken or the folder cannot be written.
func Start(opts Options) (*Server, error) {
	s := &Server{}
	if opts.StoreDir == "" {
		dir, err := os.MkdirTemp("", "waybill-jetstream-")
		if err != nil {
			return nil, fmt.Errorf("make a folder for JetStream: %w", err)
		}
		opts.StoreDir, s.remove = dir, dir
	}
	config := &server.Options{}
	if opts.Accounts != "" {
		if err := config.ProcessConfigString(opts.Accounts); err != nil {
			return nil, errors.Join(fmt.Errorf("read the accounts of the embedded NATS server: %w", err), s.removeStore())
		}
	}
	config.ServerName = cmp.Or(opts.Name, defaultName)
	config.DontListen = !opts.Listen
	config.Host, config.Port = "127.0.0.1", opts.Port
	config.JetStream, config.StoreDir, config.SyncAlways = true, opts.StoreDir, opts.SyncAlways
	config.NoSigs, config.NoLog = true, true
	opts.cluster(config)
	ns, err := server.NewServer(config)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("configure the embedded NATS server: %w", err), s.removeStore())
	}
	s.server = ns
	ns.Start()
	if !ns.ReadyForConnections(startTimeout) {
		return nil, errors.Join(fmt.Errorf("embedded NATS server: not ready on 127.0.0.1:%d with its files in %s; is the port or the folder in use?", opts.Port, opts.StoreDir), s.Close())
	}
	if !ns.JetStreamEnabled() {
		return nil, errors.Join(fmt.Errorf("embedded NATS server: JetStream could not use the folder %s", opts.StoreDir), s.Close())
	}
	return s, nil
}

// URL is where other processes connect; empty if the server does not listen.
func (s *Server) URL() string { return s.server.ClientURL() }

// Connect opens a connection inside the process, without a socket.
func (s *Server) Connect(opts ...nats.Option) (*nats.Conn, error) {
	nc, err := nats.Connect("", append(opts, nats.InProcessServer(s.server))...)
	if err != nil {
		return nil, fmt.Errorf("connect to the embedded NATS server: %w", err)
	}
	return nc, nil
}

// Close stops the server, waits until it has, and removes its files if they
// were temporary.
func (s *Server) Close() error {
	s.server.Shutdown()
	s.server.WaitForShutdown()
	return s.removeStore()
}

func (s *Server) removeStore() error {
	if s.remove == "" {
		return nil
	}
	if err := os.RemoveAll(s.remove); err != nil {
		return fmt.Errorf("remove the temporary JetStream folder: %w", err)
	}
	return nil
}

// OutsideBubble starts, outside, the one goroutine of the server's that may
// not live inside a testing/synctest bubble (its clock, shared by all servers
// of the process). Call it before synctest.Test and the function it returns
// after.
func OutsideBubble() (release func()) {
	ats.Register()
	return ats.Unregister
}
