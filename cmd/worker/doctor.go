package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"waybill/cmd/internal/cli"
	"waybill/cmd/internal/doctor"
	"waybill/orchestrator"
	"waybill/pipeline"
)

// doctorCommand holds the flags of worker doctor.
type doctorCommand struct {
	config      string
	output      string
	monitor     string
	timeout     time.Duration
	provision   bool
	replicas    int
	noListReads bool
	noWrites    bool
	server      cli.NATS

	transport http.RoundTripper // of tests; nil is the network
}

func newDoctorCommand() *cobra.Command {
	c := &doctorCommand{}
	cmd := &cobra.Command{
		Use:   "doctor [TENANT...]",
		Short: "Check all that worker run needs, and say what to change",
		Long: `doctor looks at the surroundings of worker run, with the same settings, and
changes nothing (but that a user's login is renewed, as a worker would, where its
token has ended). It prints a line for each check: ok, warn, fail, or skip where it
could not look; what it found; and after an arrow, what to change.

NATS: connection, encryption, version, JetStream and its limits, each stream and
its settings, replicas and room, what waits or came to nothing, and each right
that a worker needs, tried by messages that cannot be stored. How often a server
syncs is known to its own monitoring alone: --nats-monitor, or NATS_MONITOR where
its address holds a password. Of a cluster, look at each server.

Each tenant, or those that are named: URL, name, connection, certificate, login,
scopes, default folder, and each call that workers make. The rights to list queue
items and jobs are tried by one list call each, of the 100 a minute that the tenant
has (--no-list-reads leaves them out). The rights to add items and start jobs are
tried by asking for a queue and a process that cannot be, their names being made
up at that moment (--no-writes leaves them out).

Exit codes: 0 where nothing failed, warnings or not. Otherwise that of what waiting
does not mend, the most basic first: 2 where settings or streams are wrong; 5
where only a login is refused or a right is missing, and perhaps something cannot
be reached; 4 where something cannot be reached, and nothing else failed.`,
		Example: `  worker doctor
  worker doctor Production --nats-monitor http://nats.example.net:8222
  worker doctor -o json | jq -r '.[] | select(.mark == "fail") | .mend'`,
		RunE: c.run,
	}
	fs := cmd.Flags()
	fs.StringVar(&c.config, "config", "", "configuration file (default "+defaultFile+", if it is there)")
	cli.OutputFlag(fs, &c.output, cli.FormatTable)
	fs.DurationVar(&c.timeout, "timeout", 10*time.Second, "longest time one check may take; one that may renew a user's login takes up to 75s all the same")
	fs.StringVar(&c.monitor, "nats-monitor", "", "monitoring of one NATS server, such as http://nats.example.net:8222 (NATS_MONITOR)")
	fs.BoolVar(&c.provision, "provision", true, "worker run makes missing streams; false: it is started with --provision=false")
	fs.IntVar(&c.replicas, "replicas", 0, "servers that are to hold each stream, as for worker run")
	fs.BoolVar(&c.noListReads, "no-list-reads", false, "do not try the rights to list queue items and jobs")
	fs.BoolVar(&c.noWrites, "no-writes", false, "do not try the rights to add queue items and start jobs")
	c.server.AddFlags(fs)
	return cmd
}

func (c *doctorCommand) run(cmd *cobra.Command, args []string) error {
	if c.timeout <= 0 {
		return cli.Errorf(cli.ExitUsage, "--timeout %s: give a positive time", c.timeout)
	}
	if cli.HasPassword(c.monitor) {
		return cli.Errorf(cli.ExitUsage, "--nats-monitor holds a password, which everybody on this machine could read: put it into NATS_MONITOR")
	}
	c.monitor = cmp.Or(c.monitor, os.Getenv("NATS_MONITOR"))
	findings, err := c.examine(cmd.Context(), args)
	if err != nil {
		return err
	}
	if err := printFindings(cmd.OutOrStdout(), c.output, findings); err != nil {
		return err
	}
	return doctor.Summary(findings) //nolint:wrapcheck // it says all there is to say
}

// examine looks at everything. Its error is of a tenant that is named and not
// there, or of a signal.
func (c *doctorCommand) examine(ctx context.Context, names []string) ([]doctor.Finding, error) {
	var findings []doctor.Finding
	s, err := loadSettings(c.config)
	served := s.Tenants // also by those that are not looked at
	if err != nil {
		findings = append(findings, doctor.OnSettings(err, codeOf(err), "correct what is named there: the tenants are not looked at before"))
		s.Tenants, served = nil, nil
	} else if s.Tenants, err = s.named(names); err != nil {
		return nil, err
	} else if len(s.Tenants) == 0 {
		findings = append(findings, doctor.OnSettings(errors.New("no Orchestrator to call"), cli.ExitUsage, "set UIPATH_URL and the login, or list tenants in "+defaultFile))
	}
	s.Replicas = cmp.Or(c.replicas, s.Replicas)
	if err := s.topology().Validate(); err != nil {
		findings = append(findings, doctor.OnSettings(err, cli.ExitUsage, "correct the setting that is named, in "+defaultFile))
	}
	findings = append(findings, doctor.Run(ctx, c.natsOf(s, served), func(js jetstream.JetStream) []doctor.Tenant {
		var tenants []doctor.Tenant
		for _, t := range s.Tenants {
			tenants = append(tenants, c.tenantOf(s, t, js))
		}
		return tenants
	})...)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx) //nolint:wrapcheck // the signal, which has an exit code of its own
	}
	return findings, nil
}

// named leaves the tenants that are named; all of them where none is.
func (s settings) named(names []string) ([]tenant, error) {
	if len(names) == 0 {
		return s.Tenants, nil
	}
	var tenants []tenant
	for _, name := range names {
		t, err := s.chosen([]string{name})
		if err != nil {
			return nil, err
		}
		tenants = append(tenants, t)
	}
	return tenants, nil
}

func (c *doctorCommand) natsOf(s settings, served []tenant) doctor.Server {
	server := c.server
	server.Logger = slog.New(slog.DiscardHandler) // what it would say is in the report
	looked := doctor.Server{
		Topology: s.topology(), TenantsUnknown: len(served) == 0, Provision: c.provision, MonitorURL: c.monitor, Timeout: c.timeout,
		Connect: func(ctx context.Context) (*nats.Conn, error) {
			return server.Connect(ctx, "waybill doctor")
		},
	}
	for _, t := range served {
		looked.Tenants = append(looked.Tenants, t.Name)
		if kind, err := t.kind(); err == nil && kind == loginUser && s.Tokens.Store == storeBucket {
			looked.Tokens = true
		}
	}
	return looked
}

func codeOf(err error) cli.Code {
	if e, ok := errors.AsType[*cli.Error](err); ok {
		return e.Code
	}
	return cli.ExitUsage
}

// tenantOf says what is to be looked at of a tenant, also where its settings
// make no login.
func (c *doctorCommand) tenantOf(s settings, t tenant, js jetstream.JetStream) doctor.Tenant {
	looked := doctor.Tenant{
		Name: t.Name, Folder: t.folderRef(), CA: t.CAFile != "", ListReads: cmp.Or(t.ListReadsPerMinute, pipeline.DefaultListReads),
		Timeout: c.timeout, NoListReads: c.noListReads, NoWrites: c.noWrites,
	}
	kind, err := t.kind()
	if err == nil {
		looked.Secrets = secretSettings(kind)
	}
	around := surroundings{log: slog.New(slog.DiscardHandler), transport: c.transport, js: js}
	looked.Config, looked.LoginFault = s.clientConfig(t, around)
	if looked.LoginFault != nil {
		looked.LoginMend = "set what is named there"
		looked.Config = orchestrator.Config{BaseURL: t.URL, Transport: c.transport}
		if c.transport == nil {
			// What is wrong about the certificates is the fault that is reported.
			looked.Config.RootCAs, looked.Config.ClientCertificates, _ = t.certificates()
		}
	}
	switch {
	case kind == loginUser && s.Tokens.Store == storeBucket && js == nil:
		looked.LoginAfter = "the connection to NATS, where the login is kept,"
	case kind == loginUser:
		looked.Store = storeOf(s, t, js)
	}
	return looked
}

// storeOf is where a user's login is kept; nil where that cannot be told, which
// the fault of the login says.
func storeOf(s settings, t tenant, js jetstream.JetStream) *doctor.Store {
	store, err := s.tokenPlaces(js).of(t)
	if err != nil {
		return nil
	}
	name := "the token store"
	if named, ok := store.(fmt.Stringer); ok {
		name = named.String()
	}
	return &doctor.Store{TokenStore: store, Name: name, Sealed: !s.Tokens.key.IsZero()}
}

// secretSettings are where a login comes from, for people.
func secretSettings(kind loginKind) string {
	const id = "UIPATH_CLIENT_ID (clientId)"
	variable, ok := secretVariables[kind]
	if !ok {
		return id
	}
	text := variable + "_FILE (" + secretFileNames[kind] + ")"
	switch kind {
	case loginApplication:
		return id + " and " + text
	case loginPassword:
		return "UIPATH_USERNAME (username) and " + text
	case loginUser, loginToken, loginUserKey:
	}
	return text
}
