package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"runtime/pprof"
	"time"

	"github.com/spf13/cobra"
)

// newRoleCommand is what this program starts itself with.
func newRoleCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "role", Short: "Play one process of a run", Hidden: true}
	cmd.AddCommand(newStubCommand(), newSideCommand("bare", runBare), newSideCommand("watermill", runWatermill))
	return cmd
}

func newStubCommand() *cobra.Command {
	listen, latency, beside := "", time.Duration(0), map[string]string(nil)
	cmd := &cobra.Command{
		Use:  "stub",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s := newStub(latency)
			for tenant, temper := range beside {
				if err := s.addBeside(tenant, temper); err != nil {
					return err
				}
			}
			return serveStub(cmd.Context(), listen, s)
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:0", "address to answer on")
	cmd.Flags().DurationVar(&latency, "latency", 0, "time a call that writes takes")
	cmd.Flags().StringToStringVar(&beside, "beside", nil, "another tenant, in an organization of its own and the same name, with what its calls that write take, or "+denies)
	return cmd
}

func newSideCommand(name string, run func(context.Context, sideFlags) error) *cobra.Command {
	var flags sideFlags
	profile := ""
	cmd := &cobra.Command{
		Use:  name,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if os.Getenv("GOGC") == "" {
				debug.SetGCPercent(300) // as waybill's worker has it
			}
			return profiled(profile, func() error { return run(cmd.Context(), flags) })
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&flags.nats, "nats", "", "NATS server")
	fs.StringVar(&flags.api, "api", "", "where the API begins")
	fs.StringVar(&flags.kind, "kind", kindItems, "items or jobs")
	fs.IntVar(&flags.lanes, "lanes", 1, "queues or processes")
	fs.IntVar(&flags.inFlight, "in-flight", 16, "calls at a time")
	fs.IntVar(&flags.bulk, "bulk", 500, "items of a call")
	fs.StringVar((*string)(&flags.publish), "publish", string(publishFast), "how the outcomes of a call are published: async, fast or atomic")
	fs.BoolVar(&flags.least, "least", false, "read no JSON, and publish outcomes that say no more than the key")
	fs.StringVar(&profile, "cpuprofile", "", "file for a CPU profile")
	return cmd
}

// profiled writes a CPU profile of f, if a file is named.
func profiled(path string, f func() error) error {
	if path == "" {
		return f()
	}
	file, err := os.Create(path) //nolint:gosec // G304: the user names the file
	if err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	if err := pprof.StartCPUProfile(file); err != nil {
		return errors.Join(fmt.Errorf("profile: %w", err), file.Close())
	}
	err = f()
	pprof.StopCPUProfile()
	return errors.Join(err, file.Close())
}
