package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"waybill/cmd/internal/cli"
	"waybill/pipeline"
)

// Server says what is to be looked at of NATS.
type Server struct {
	Connect   func(context.Context) (*nats.Conn, error) // which heeds the context
	Topology  pipeline.Topology
	Provision bool     // worker run makes the streams that are missing
	Tenants   []string // that are served
	Tokens    bool     // logins are kept in the installation's bucket
	// TenantsUnknown is that the settings could not be read, or name no tenant.
	TenantsUnknown bool
	MonitorURL     string // of the server's monitoring; empty: not known
	Timeout        time.Duration
}

// The checks of NATS, as skipped lines name them.
const (
	checkConnection = "connection"
	checkEncryption = "encryption"
	checkVersion    = "version"
	checkJetStream  = "JetStream"
	checkAccount    = "account limits"
	checkStreams    = "streams"
	checkSync       = "sync interval"
	checkWaiting    = "requests waiting"
	checkRights     = "rights"
	checkClock      = "clock"
)

// server is one look at NATS.
type server struct {
	Server
	report

	nc *nats.Conn
	js jetstream.JetStream
	// infoDenied is that the account's state may not be asked for, which
	// workers need not do.
	infoDenied bool
	lost       error          // why the server says no more what it denies
	skew       *time.Duration // how far its clock is ahead of ours; nil: not known
}

// look checks NATS. The connection stays open, for what tenants' logins need of
// it.
func (s Server) look(ctx context.Context) *server {
	l := &server{Server: s, report: report{where: "NATS"}}
	if !l.connect(ctx) {
		l.skipAll("the connection to NATS", checkEncryption, checkVersion, checkJetStream, checkAccount, checkStreams, checkSync, checkWaiting, checkRights, checkClock)
		return l
	}
	l.encryption()
	l.version()
	switch {
	case !l.inbox():
		l.skipAll("the right to subscribe", checkJetStream, checkAccount, checkStreams, checkWaiting, checkClock)
	case !l.jetStream(ctx):
		l.skipAll("JetStream", checkStreams, checkWaiting, checkRights, checkClock)
	case s.Topology.Validate() != nil:
		l.skipAll("the settings", checkStreams, checkWaiting, checkRights, checkClock)
	default:
		states := l.inspect(ctx)
		l.streams(ctx, states)
		l.waiting(ctx, states)
		l.rights(states)
		l.clock(ctx, states)
	}
	l.syncInterval(ctx)
	return l
}

// within bounds one check.
func (s Server) within(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, s.Timeout, fmt.Errorf("no answer within %s (--timeout)", s.Timeout))
}

func (l *server) inspect(ctx context.Context) []pipeline.StreamState {
	ctx, cancel := l.within(ctx)
	defer cancel()
	states := pipeline.Inspect(ctx, l.js, l.Topology)
	if l.Tokens { // else nobody needs a right on it
		states = append(states, pipeline.InspectTokens(ctx, l.js, l.Topology))
	}
	return states
}

func (l *server) connect(ctx context.Context) bool {
	ctx, cancel := l.within(ctx)
	defer cancel()
	nc, err := l.Connect(ctx)
	if err != nil {
		if ctx.Err() != nil {
			err = cli.Errorf(cli.ExitUnreachable, "%w", context.Cause(ctx))
		}
		l.unconnected(err)
		return false
	}
	l.nc = nc
	nc.SetErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}) // what is denied is reported, not logged
	begin := time.Now()
	if err := nc.FlushTimeout(l.Timeout); err != nil {
		l.fail(cli.ExitUnreachable, checkConnection, "see why the server is busy, or the way to it is slow", "%s does not answer: %v", nc.ConnectedAddr(), err)
		nc.Close()
		return false
	}
	l.ok(checkConnection, "%s%s, round trip %s", nc.ConnectedAddr(), serverName(nc), short(time.Since(begin)))
	return true
}

// serverName leaves out the name of a server that was given none: it is called
// by its id then.
func serverName(nc *nats.Conn) string {
	if name := nc.ConnectedServerName(); name != nc.ConnectedServerId() {
		return ", server " + name
	}
	return ""
}

// unconnected tells what to change apart from what is wrong, where the error
// knows both.
func (l *server) unconnected(err error) {
	code, mend := cli.ExitUsage, "correct the setting that is named"
	if e, ok := errors.AsType[*cli.Error](err); ok {
		code = e.Code
	}
	if code == cli.ExitUnreachable {
		mend = "start NATS there, or say where it is with NATS_URL or --nats-url"
	}
	found := oneLine(err)
	if e, ok := errors.AsType[*cli.ConnectError](err); ok {
		found, mend = e.Found(), e.Mend
	}
	l.fail(code, checkConnection, mend, "%s", found)
}

// inProcess is the address of a server in this process.
const inProcess = "pipe"

// encryption looks at TLS. Without it whoever is on the way can read what is
// sent, and passwords and credentials with it.
func (l *server) encryption() {
	if state, err := l.nc.TLSConnectionState(); err == nil {
		text := tls.VersionName(state.Version)
		if len(state.PeerCertificates) > 0 {
			l.certificate(checkEncryption, text, state.PeerCertificates[0])
			return
		}
		l.ok(checkEncryption, "%s", text)
		return
	}
	l.unencrypted(l.nc.ConnectedAddr(), l.sendsCredentials())
}

func (l *server) unencrypted(address string, credentials bool) {
	host, _, err := net.SplitHostPort(address)
	local := err == nil && (host == "localhost" || net.ParseIP(host).IsLoopback()) || address == inProcess
	switch {
	case local:
		l.ok(checkEncryption, "no TLS, and the server is on this machine")
	case credentials:
		l.warn(checkEncryption, "give the server a certificate (tls in nats-server.conf) and use tls:// in NATS_URL", "no TLS to a server elsewhere, to which credentials are sent")
	default:
		l.ok(checkEncryption, "no TLS, and no credentials are sent")
	}
}

func (l *server) sendsCredentials() bool {
	o := l.nc.Opts
	return strings.Contains(l.nc.ConnectedUrl(), "@") || o.User != "" || o.Password != "" || o.Token != "" ||
		o.UserJWT != nil || o.Nkey != "" || o.UserInfo != nil || o.TokenHandler != nil
}

// version: the ledger is written in atomic batches, which came with 2.12.
func (l *server) version() {
	const major, minor = 2, 12
	version := l.nc.ConnectedServerVersion()
	if olderThan(version, major, minor) {
		l.fail(cli.ExitUsage, checkVersion, fmt.Sprintf("update nats-server to %d.%d or newer: the ledger needs its atomic batches", major, minor), "nats-server %s", version)
		return
	}
	l.ok(checkVersion, "nats-server %s", version)
}

func olderThan(version string, major, minor int) bool {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 2 {
		return false // a build of its own, which the probe of worker run judges
	}
	m, errMajor := strconv.Atoi(parts[0])
	n, errMinor := strconv.Atoi(parts[1])
	return errMajor == nil && errMinor == nil && (m < major || m == major && n < minor)
}
