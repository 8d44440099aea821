package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"waybill/cmd/internal/cli"
	"waybill/orchestrator"
	"waybill/pipeline"
)

// maxPendingPublishes lets the dead letters of several batches be under way at
// once.
const maxPendingPublishes = 16_384

// serviceFlags are those of every command that runs the service.
type serviceFlags struct {
	config  string
	listen  string
	limits  limits
	logging cli.Logging
}

func (f *serviceFlags) addFlags(fs *pflag.FlagSet) {
	fs.StringVar(&f.config, "config", "", "configuration file (default "+defaultFile+", if it is there)")
	fs.StringVar(&f.listen, "listen", "", "address for health checks, such as :8080: /healthz, /readyz")
	fs.DurationVar(&f.limits.AckWait, "ack-wait", 0, "how soon a crashed worker's deliveries come back (10s)")
	fs.DurationVar(&f.limits.CallTimeout, "call-timeout", 0, "longest time one call to Orchestrator may take (30s)")
	fs.DurationVar(&f.limits.Hold, "hold", 0, "how long a claim on a request is good for (45s)")
	fs.DurationVar(&f.limits.Settle, "settle", 0, "how long after a claim has ended Orchestrator may still apply its call (30s)")
	fs.DurationVar(&f.limits.Patience, "patience", 0, "how long to look for what cannot be told, before unknown (15m)")
	fs.DurationVar(&f.limits.Linger, "linger", 0, "how long a bulk call waits to fill up (5ms)")
	fs.DurationVar(&f.limits.Drain, "drain", 0, "how long to finish what has begun, when told to stop (25s)")
	fs.IntVar(&f.limits.BulkItems, "bulk-items", 0, "items in one bulk call (500)")
	f.logging.AddFlags(fs)
}

// over puts the flags that were given over what the file says.
func (f *serviceFlags) over(file limits) limits {
	for _, d := range []struct{ flag, file *time.Duration }{
		{&f.limits.AckWait, &file.AckWait},
		{&f.limits.CallTimeout, &file.CallTimeout},
		{&f.limits.Hold, &file.Hold},
		{&f.limits.Settle, &file.Settle},
		{&f.limits.Patience, &file.Patience},
		{&f.limits.Linger, &file.Linger},
		{&f.limits.Drain, &file.Drain},
	} {
		if *d.flag != 0 {
			*d.file = *d.flag
		}
	}
	if f.limits.BulkItems != 0 {
		file.BulkItems = f.limits.BulkItems
	}
	return file
}

func newRunCommand() *cobra.Command {
	var flags serviceFlags
	var server cli.NATS
	provision, replicas, unsteady := true, 0, int64(0)
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the service",
		Long: `run serves requests until it is told to stop (Ctrl-C or SIGTERM), then finishes
what it has begun within the drain time. Any number of workers may share the
work; killing one loses nothing.

Settings come from flags, then the environment, then waybill.yaml:
  NATS_URL NATS_CREDS NATS_CONTEXT NATS_NKEY NATS_CA NATS_CERT NATS_KEY
  NATS_INBOX_PREFIX
  UIPATH_URL, or UIPATH_URI UIPATH_ORGANIZATION UIPATH_TENANT
  UIPATH_LOGIN UIPATH_CLIENT_ID UIPATH_CLIENT_SECRET UIPATH_CLIENT_AUTH
  UIPATH_SCOPE UIPATH_IDENTITY_URI UIPATH_PAT UIPATH_USERNAME UIPATH_PASSWORD
  UIPATH_USER_KEY UIPATH_CA UIPATH_CERT UIPATH_KEY
  UIPATH_FOLDER_PATH UIPATH_FOLDER_KEY UIPATH_FOLDER_ID
  WAYBILL_PREFIX WAYBILL_TOKEN_STORE WAYBILL_TOKEN_FOLDER WAYBILL_TOKEN_KEY
Secrets are never flags; each may also be in a file that the variable with _FILE
names (UIPATH_CLIENT_SECRET_FILE, UIPATH_PAT_FILE, …), or come from standard input
where that is -.`,
		Example: `  NATS_URL=nats://nats.example.net:4222 \
  UIPATH_URL=https://cloud.uipath.com/organization/tenant/orchestrator_ \
  UIPATH_CLIENT_ID=… UIPATH_CLIENT_SECRET_FILE=/run/secrets/uipath \
  UIPATH_FOLDER_PATH=Finance worker run --listen :8080

  worker run --config waybill.yaml --replicas 3`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := loadSettings(flags.config)
			if err != nil {
				return err
			}
			if replicas != 0 {
				s.Replicas = replicas
			}
			s.Limits = flags.over(s.Limits)
			if err := s.checkLogins(); err != nil {
				return err
			}
			log := flags.logging.New(cmd.ErrOrStderr())
			server.Logger = log
			return tellingDenials(cmd.Context(), &server, func(ctx context.Context) error {
				nc, err := server.Connect(ctx, "waybill worker")
				if err != nil {
					return err //nolint:wrapcheck // it names the server and what to do
				}
				defer nc.Close()
				js, err := openJetStream(nc)
				if err != nil {
					return err
				}
				tenants, err := s.connectTenants(surroundings{log: log, js: js})
				if err != nil {
					return err
				}
				defer closeClients(ctx, tenants, log)
				collectRarely()
				cfg := s.workerConfig(tenants, provision, log)
				if unsteady != 0 {
					cfg.Wall = newUnsteadyClock(unsteady, time.Now).now
				}
				return serve(ctx, nc, cfg, flags.listen)
			})
		},
	}
	flags.addFlags(cmd.Flags())
	server.AddFlags(cmd.Flags())
	cmd.Flags().BoolVar(&provision, "provision", true, "make missing streams; false: refuse to start without them")
	cmd.Flags().IntVar(&replicas, "replicas", 0, "servers that hold each stream, when they are made: 1, 3 or 5 (1)")
	cmd.Flags().Int64Var(&unsteady, "unsteady-clock", 0, "seed of a wall clock that is set every few seconds; 0 for the real one")
	_ = cmd.Flags().MarkHidden("unsteady-clock") // the flag is there
	return cmd
}

// reached is set by tests alone, which end the process at one of its points.
var reached func(p pipeline.Point, index, of int)

func (s settings) topology() pipeline.Topology {
	return pipeline.Topology{Prefix: s.Prefix, Replicas: s.Replicas, Retention: s.Retention}
}

func (s settings) workerConfig(tenants []pipeline.Tenant, provision bool, log *slog.Logger) pipeline.Config {
	cfg := pipeline.Config{
		Topology:  s.topology(),
		Tenants:   tenants,
		Worker:    s.Worker,
		Provision: provision,
		Logger:    log,
		Reached:   reached,
	}
	s.Limits.applyTo(&cfg)
	return cfg
}

// collectRarely has garbage collected when four times as much is in use as was
// after the last time, not twice: a busy worker spends a fifth of its time on it
// otherwise, and holds little. Whoever sets GOGC knows better.
func collectRarely() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(300)
	}
}

// serve runs a worker on a connection, and its health checks, until the
// context ends.
func serve(ctx context.Context, nc *nats.Conn, cfg pipeline.Config, listen string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	nc.SetClosedHandler(func(*nats.Conn) { cancel(errClosed) })
	js, err := openJetStream(nc)
	if err != nil {
		return err
	}
	cfg.JetStream = js
	w, err := pipeline.New(cfg)
	if err != nil {
		return cli.Errorf(cli.ExitUsage, "%w", err)
	}
	stopHealth, err := serveHealth(ctx, listen, nc, w, cfg.Logger)
	if err != nil {
		return err
	}
	defer stopHealth()
	err = w.Run(ctx)
	if errors.Is(context.Cause(ctx), errClosed) {
		return cli.Errorf(cli.ExitUnreachable, "%w", errors.Join(errClosed, nc.LastError(), err))
	}
	if errors.Is(err, pipeline.ErrDrainTimeout) {
		if signal, ok := errors.AsType[*cli.SignalError](context.Cause(ctx)); ok {
			return cli.Errorf(cli.Code(128+int(signal.Signal)), "%w; what was in hand is finished by another worker, or by this one when it is started again", err)
		}
	}
	return exitCodeOf(err)
}

// openJetStream gives the way to the streams.
func openJetStream(nc *nats.Conn) (jetstream.JetStream, error) {
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(maxPendingPublishes))
	if err != nil {
		return nil, fmt.Errorf("open JetStream: %w", err)
	}
	return js, nil
}

// errClosed is why a worker ends by itself: a connection that is closed, not
// only lost, never comes back.
var errClosed = errors.New("the connection to NATS is closed for good")

// exitCodeOf says by the exit code what kept a worker from starting.
func exitCodeOf(err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return nil
	}
	if e, ok := errors.AsType[*orchestrator.Error](err); ok && e.Kind == orchestrator.Denied {
		return cli.Errorf(cli.ExitCredentials, "%w", err)
	}
	if errors.Is(err, pipeline.ErrDefaultFolder) {
		return cli.Errorf(cli.ExitUsage, "%w; set UIPATH_FOLDER_PATH, UIPATH_FOLDER_KEY or UIPATH_FOLDER_ID, or the tenant's folder in %s", err, defaultFile)
	}
	if errors.Is(err, nats.ErrNoResponders) || errors.Is(err, jetstream.ErrJetStreamNotEnabled) || errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount) {
		return cli.Errorf(cli.ExitUsage, "%w: is JetStream enabled on this server and for this account?", err)
	}
	if errors.Is(err, nats.ErrTimeout) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrConnectionClosed) || errors.Is(err, pipeline.ErrLedgerFull) {
		return cli.Errorf(cli.ExitUnreachable, "%w", err)
	}
	return cli.Errorf(cli.ExitUsage, "%w", err)
}
