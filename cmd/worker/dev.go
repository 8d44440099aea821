package main

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

	"waybill/cmd/internal/cli"
	"waybill/orchestrator/simulator"
	"waybill/pipeline/embedded"
)

func newDevCommand() *cobra.Command {
	var flags serviceFlags
	var simulated simulatorFlags
	data, simulatorListen, port := "", "", 0
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run the service with NATS and a simulated Orchestrator built in",
		Long: `dev needs no set-up: it runs NATS with JetStream on the usual port, a simulated
Orchestrator with a folder, two queues and two processes, and the service between
them, until Ctrl-C. enqueue and the nats CLI find it without flags.

What JetStream holds is kept in the data folder from one start to the next. The
simulated Orchestrator starts empty each time, so remove the data folder too for
a fresh start.`,
		Example: `  worker dev
  worker dev --faults 0.05 --simulated-queue Claims:unique --simulated-process "Check claim"`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log := flags.logging.New(cmd.ErrOrStderr())
			s, err := simulated.start(simulator.Config{Logger: log})
			if err != nil {
				return err
			}
			defer s.Close()
			address, stop, err := serveSimulator(cmd.Context(), simulatorListen, s)
			if err != nil {
				return anotherDev(err)
			}
			defer stop()
			if err := checkPort(cmd.Context(), port); err != nil {
				return anotherDev(err)
			}
			server, err := embedded.Start(embedded.Options{StoreDir: filepath.Join(data, "jetstream"), Listen: true, Port: port, SyncAlways: true})
			if err != nil {
				return anotherDev(err)
			}
			defer server.Close() //nolint:errcheck // its files are kept

			settings := simulatedSettings("http://"+address, simulated.folder)
			settings.Limits = flags.over(settings.Limits)
			tenants, err := settings.connectTenants(surroundings{log: log})
			if err != nil {
				return err
			}
			nc, err := server.Connect()
			if err != nil {
				return fmt.Errorf("worker dev: %w", err)
			}
			defer nc.Close()
			log.Info("NATS with JetStream ready", "url", server.URL(), "data", data)
			log.Info("simulated Orchestrator ready", "control", "http://"+address+"/simulator/", "folder", simulated.folder, "queues", simulated.queues, "processes", simulated.processes)
			return serve(cmd.Context(), nc, settings.workerConfig(tenants, true, log), flags.listen)
		},
	}
	flags.addFlags(cmd.Flags())
	simulated.addFlags(cmd.Flags())
	cmd.Flags().StringVar(&data, "data", ".waybill", "folder for what JetStream keeps")
	cmd.Flags().IntVar(&port, "nats-port", 4222, "port for NATS on the loopback address; -1 takes a free one")
	cmd.Flags().StringVar(&simulatorListen, "simulator-listen", "127.0.0.1:8181", "address of the simulated Orchestrator")
	return cmd
}

// checkPort finds a port that is taken at once; the server would try for long.
func checkPort(ctx context.Context, port int) error {
	if port < 0 {
		return nil
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return fmt.Errorf("embedded NATS server: %w", err)
	}
	return listener.Close() //nolint:wrapcheck // closing what was just opened
}

// anotherDev says what to do where something is in the way.
func anotherDev(err error) error {
	return cli.Errorf(cli.ExitUsage, "%w; is another worker dev running? beside it, use --nats-port -1 --simulator-listen 127.0.0.1:0 and a --data folder of its own", err)
}

// simulatedSettings point at a simulated Orchestrator, which takes any
// credentials.
func simulatedSettings(base, folderPath string) settings {
	return settings{Tenants: []tenant{{
		Name:     cli.DefaultTenant,
		URL:      base + "/demo/" + cli.DefaultTenant + "/orchestrator_",
		ClientID: "simulated", secrets: secrets{loginApplication: "simulated"},
		Folder: folder{Path: folderPath},
	}}}
}
