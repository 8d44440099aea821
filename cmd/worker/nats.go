package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"waybill/cmd/internal/cli"
	"waybill/pipeline/embedded"
)

// newNATSCommand is a NATS server as a process of its own, which survives the
// workers and can be killed itself: a part of worker prove, and of the tests.
func newNATSCommand() *cobra.Command {
	var logging cli.Logging
	opts := embedded.Options{Listen: true}
	cmd := &cobra.Command{
		Use:    "nats",
		Short:  "A NATS server with JetStream, for worker prove",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log := logging.New(cmd.ErrOrStderr())
			server, err := embedded.Start(opts)
			if err != nil {
				return fmt.Errorf("worker nats: %w", err)
			}
			log.Info("NATS server ready", "url", server.URL())
			<-cmd.Context().Done()
			return server.Close()
		},
	}
	cmd.Flags().StringVar(&opts.StoreDir, "store", "", "folder for JetStream's files")
	cmd.Flags().IntVar(&opts.Port, "port", -1, "port on the loopback address; -1 takes a free one")
	cmd.Flags().BoolVar(&opts.SyncAlways, "sync-always", true, "have every write reach the disk before it is acknowledged")
	cmd.Flags().StringVar(&opts.Name, "name", "", "of the server, in a cluster")
	cmd.Flags().IntVar(&opts.ClusterPort, "cluster-port", 0, "port for the other servers of the cluster; 0 for a server alone")
	cmd.Flags().StringSliceVar(&opts.Routes, "routes", nil, "URLs of the cluster's servers")
	logging.AddFlags(cmd.Flags())
	return cmd
}
