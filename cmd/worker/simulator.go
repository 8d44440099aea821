package main

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"waybill/cmd/internal/cli"
	"waybill/orchestrator/simulator"
)

// simulatorFlags describe a simulated Orchestrator.
type simulatorFlags struct {
	folder    string
	queues    []string
	processes []string
	faults    float64
	latency   time.Duration
	seed      int64
	jobTime   time.Duration
	listReads int
}

func (f *simulatorFlags) addFlags(fs *pflag.FlagSet) {
	fs.StringVar(&f.folder, "simulated-folder", "Shared", "the folder it has")
	fs.StringSliceVar(&f.queues, "simulated-queue", []string{"Invoices:unique", "Orders"}, "queues it has; with :unique they enforce unique references")
	fs.StringSliceVar(&f.processes, "simulated-process", []string{"Pay invoices", "Report"}, "processes it has")
	fs.Float64Var(&f.faults, "faults", 0, "share of write calls that go wrong, 0 to 1: throttled, refused, cut, answered late, …")
	fs.DurationVar(&f.latency, "latency", 0, "time every call takes")
	fs.Int64Var(&f.seed, "seed", 1, "of everything random")
	fs.IntVar(&f.listReads, "list-reads", 100, "list calls of jobs and of queue items it answers in a minute, each; -1: all")
	fs.DurationVar(&f.jobTime, "job-time", time.Second, "how long a job runs")
}

// simulatedRobots is how many jobs run at a time.
const simulatedRobots = 8

// start makes the simulated Orchestrator; the caller closes it.
func (f *simulatorFlags) start(cfg simulator.Config) (*simulator.Server, error) {
	cfg.Seed = f.seed
	cfg.Faults = simulator.Faults{Rate: f.faults, Latency: f.latency}
	if err := cfg.Faults.Validate(); err != nil {
		return nil, cli.Errorf(cli.ExitUsage, "--faults: %w", err)
	}
	cfg.ListReadsPerMinute = f.listReads
	cfg.Robots = simulator.Robots{Count: simulatedRobots, JobTime: f.jobTime}
	s := simulator.New(cfg)
	s.AddFolder(f.folder)
	var faults []error
	for _, queue := range f.queues {
		name, unique := strings.CutSuffix(queue, ":unique")
		_, err := s.AddQueue(f.folder, simulator.Queue{Name: name, Unique: unique, MaxRetries: 1})
		faults = append(faults, err)
	}
	for _, process := range f.processes {
		_, err := s.AddRelease(f.folder, process)
		faults = append(faults, err)
	}
	_, robotErr := s.AddRobot(f.folder, simulator.Robot{Name: "robot"})
	_, machineErr := s.AddMachine(f.folder, simulator.Machine{Name: "pool", Host: "HOST1", Runtimes: simulatedRobots})
	faults = append(faults, robotErr, machineErr)
	if err := errors.Join(faults...); err != nil {
		s.Close()
		return nil, cli.Errorf(cli.ExitUsage, "simulated Orchestrator: %w", err)
	}
	return s, nil
}

// identityFlags describe the simulated identity server.
type identityFlags struct {
	organization       string
	tokenLife          time.Duration
	refreshTokenLeeway time.Duration
}

func (f *identityFlags) addFlags(fs *pflag.FlagSet) {
	fs.StringVar(&f.organization, "organization", "", "the organization it is; empty: any in the URL")
	fs.DurationVar(&f.tokenLife, "token-life", 0, "how long an access token is good; 0: an hour, or 30m after a login by password")
	fs.DurationVar(&f.refreshTokenLeeway, "refresh-token-leeway", 0, "how long after its use a refresh token is taken again; 0: not at all")
}

// config takes whom to let in from the environment, by the names UiPath's users have for them.
func (f *identityFlags) config() (simulator.Config, error) {
	known, err := secretsFromEnvironment()
	if err != nil {
		return simulator.Config{}, err
	}
	password := string(known[loginPassword])
	cfg := simulator.Config{
		Org: f.organization, ClientID: os.Getenv("UIPATH_CLIENT_ID"), ClientSecret: string(known[loginApplication]),
		PersonalAccessToken: string(known[loginToken]), UserKey: string(known[loginUserKey]), TokenLife: f.tokenLife, PasswordTokenLife: f.tokenLife,
		Switches: simulator.Switches{RefreshTokenLeeway: f.refreshTokenLeeway},
	}
	name := os.Getenv("UIPATH_USERNAME")
	if (name == "") != (password == "") {
		return simulator.Config{}, cli.Errorf(cli.ExitUsage, "UIPATH_USERNAME and UIPATH_PASSWORD go together: set both or none")
	}
	if name != "" {
		cfg.Users = []simulator.User{{Name: name, Password: password}}
	}
	return cfg, nil
}

func newSimulatorCommand() *cobra.Command {
	var flags simulatorFlags
	var identity identityFlags
	var logging cli.Logging
	listen := ""
	cmd := &cobra.Command{
		Use:   "simulator",
		Short: "Run a simulated Orchestrator",
		Long: `simulator answers as UiPath Orchestrator does, as far as waybill and its like
need it: tokens, folders, processes, queues, queue items and jobs, with simulated
robots that run the jobs. Everything is in memory.

The API is at http://ADDRESS/ORGANIZATION/TENANT/orchestrator_, with any names
for the two, and at http://ADDRESS/ as on-premises. What it holds, and which
calls it has had, is told below http://ADDRESS/simulator/, where faults can be
set, calls be held, and tokens and permissions be taken away too.

One logs in to it by client credentials, in a browser (authorization code with
PKCE, sent to localhost), by password as on-premises, by the user key of old, or
with a personal access token.

UIPATH_CLIENT_ID with UIPATH_CLIENT_SECRET (or UIPATH_CLIENT_SECRET_FILE), if
set, are the credentials it asks for, and UIPATH_USERNAME with UIPATH_PASSWORD
(or UIPATH_PASSWORD_FILE) the one user; UIPATH_PAT is the one personal access
token, UIPATH_USER_KEY the one user key. Any will do otherwise. An application
without a secret needs none for a user's login.`,
		Example: `  worker simulator --listen 127.0.0.1:8181 --faults 0.02
  curl http://127.0.0.1:8181/simulator/effects`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := identity.config()
			if err != nil {
				return err
			}
			log := logging.New(cmd.ErrOrStderr())
			cfg.Logger = log
			s, err := flags.start(cfg)
			if err != nil {
				return err
			}
			defer s.Close()
			address, stop, err := serveSimulator(cmd.Context(), listen, s)
			if err != nil {
				return err
			}
			defer stop()
			log.Info("simulated Orchestrator ready", "url", "http://"+address+"/"+cmp.Or(identity.organization, "demo")+"/"+cli.DefaultTenant+"/orchestrator_", "control", "http://"+address+"/simulator/")
			<-cmd.Context().Done()
			return nil
		},
	}
	flags.addFlags(cmd.Flags())
	identity.addFlags(cmd.Flags())
	logging.AddFlags(cmd.Flags())
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:8181", "address to answer on")
	return cmd
}

// serveSimulator answers on an address until stop is called.
func serveSimulator(ctx context.Context, listen string, s *simulator.Server) (address string, stop func(), err error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", listen)
	if err != nil {
		return "", nil, cli.Errorf(cli.ExitUsage, "simulated Orchestrator: %w", err)
	}
	server := &http.Server{Handler: s, ReadHeaderTimeout: 5 * time.Second}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(listener) // it ends when it is closed
	}()
	return listener.Addr().String(), func() {
		_ = server.Close() // calls that are held would never end by themselves
		<-ended
	}, nil
}
