package main

import (
	"cmp"
	"context"
	"errors"
	"io"
	"os"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"waybill/cmd/internal/cli"
	"waybill/pipeline"
)

// target is the installation that a command talks to.
type target struct {
	nats    cli.NATS
	logging cli.Logging
	prefix  string
	role    pipeline.Role // whose rights the command needs
	wait    bool          // for outcomes of what is handed in
}

func (t *target) addFlags(fs *pflag.FlagSet) {
	fs.StringVar(&t.prefix, "prefix", environment("WAYBILL_PREFIX", "uipath"), "first token of the installation's subjects (WAYBILL_PREFIX)")
	t.nats.AddFlags(fs)
	fs.StringVar(&t.nats.APIPrefix, "nats-api-prefix", environment("NATS_API_PREFIX", ""), "how JetStream is asked, for a user in an account that imports it (NATS_API_PREFIX; the context's, or $JS.API)")
	t.logging.AddFlags(fs)
}

// session is an open connection to the installation.
type session struct {
	nc        *nats.Conn
	js        jetstream.JetStream
	topology  pipeline.Topology
	publisher *publisher
}

// connect opens a session. As many requests as pending says may be on their
// way at a time.
func (t *target) connect(ctx context.Context, stderr io.Writer, pending int) (*session, error) {
	topology := pipeline.Topology{Prefix: t.prefix}
	if err := topology.Validate(); err != nil {
		return nil, explain(err)
	}
	log := t.logging.New(stderr)
	t.nats.Logger = log
	if t.nats.Denials == nil {
		t.nats.Denials = &cli.Denials{}
	}
	nc, api, err := t.nats.ConnectFrom(ctx, "enqueue")
	if err != nil {
		return nil, err //nolint:wrapcheck // says all there is to say
	}
	js, err := jetstream.NewWithAPIPrefix(nc, api, jetstream.WithPublishAsyncMaxPending(pending), jetstream.WithPublishAsyncTimeout(answerTimeout))
	if err != nil {
		nc.Close()
		return nil, explain(err)
	}
	return &session{nc: nc, js: js, topology: topology, publisher: &publisher{Publisher: pipeline.NewPublisher(js, topology), denials: t.nats.Denials, log: log}}, nil
}

// within runs what a command does on a session. Where NATS denies something
// that is needed, it ends at once, and says so.
func (t *target) within(cmd *cobra.Command, pending int, do func(context.Context, *session) error) error {
	t.nats.Denials = &cli.Denials{}
	ctx, stop := t.nats.Denials.Watch(cmd.Context())
	defer stop()
	s, err := t.connect(ctx, cmd.ErrOrStderr(), pending)
	if err != nil {
		return err
	}
	defer s.close()
	err = do(ctx, s)
	denied := cli.DeniedIn(ctx)
	if inner, ok := errors.AsType[*cli.DeniedError](err); ok {
		denied = inner
	}
	if err != nil && denied != nil {
		return t.explainDenial(denied)
	}
	return err
}

func (s *session) close() { s.nc.Close() }

// lane is where a command's requests go.
type lane struct {
	tenant, folder string
	name           string
}

// addFlags adds --tenant, --folder and the flag of the name, which is queue or
// process.
func (l *lane) addFlags(fs *pflag.FlagSet, name, usage string) {
	fs.StringVar(&l.name, name, "", usage)
	fs.StringVar(&l.tenant, "tenant", defaultTenant(), "Orchestrator's tenant (UIPATH_TENANT, or the one in UIPATH_URL)")
	fs.StringVar(&l.folder, "folder", defaultFolder(), `path of the folder, such as Finance/Invoices, or - for the tenant's default (UIPATH_FOLDER_PATH)`)
}

// of gives the lane for items or for jobs.
func (l *lane) of(kind pipeline.Kind) (pipeline.Lane, error) {
	lane := pipeline.Lane{Tenant: l.tenant, Folder: l.folder, Kind: kind, Name: l.name}
	return lane, explain(lane.Validate())
}

// defaultTenant is found as the worker finds it, so that both mean the same.
func defaultTenant() string {
	return cmp.Or(os.Getenv("UIPATH_TENANT"), cli.TenantOfURL(os.Getenv("UIPATH_URL")), cli.DefaultTenant)
}

func defaultFolder() string { return environment("UIPATH_FOLDER_PATH", pipeline.DefaultFolder) }

// explain puts an exit code to an error from the pipeline or from NATS that has
// none yet.
func explain(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*cli.Error](err); ok {
		return err
	}
	if _, ok := errors.AsType[*pipeline.InvalidError](err); ok {
		return cli.Errorf(cli.ExitUsage, "%w", err)
	}
	switch {
	case errors.Is(err, jetstream.ErrBucketNotFound), errors.Is(err, jetstream.ErrStreamNotFound), errors.Is(err, jetstream.ErrNoStreamResponse):
		return cli.Errorf(cli.ExitUnreachable, "the installation is not there yet; start a worker against this NATS server, it makes the streams: %w", err)
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return cli.Errorf(cli.ExitUsage, "the NATS server runs without JetStream; start it with -js: %w", err)
	case isPassing(err):
		return cli.Errorf(cli.ExitUnreachable, "the NATS server does not answer; try again: %w", err)
	}
	return err
}

// isPassing reports whether an error may be over in a moment: the server did
// not answer, and nobody knows what it did.
func isPassing(err error) bool {
	for _, passing := range []error{nats.ErrTimeout, context.DeadlineExceeded, nats.ErrDisconnected, nats.ErrNoResponders, nats.ErrConnectionClosed, jetstream.ErrAsyncPublishTimeout} {
		if errors.Is(err, passing) {
			return !errors.Is(err, jetstream.ErrNoStreamResponse)
		}
	}
	return false
}
