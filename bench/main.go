// Command bench measures waybill against a bare loop and against a peer, each
// as a process of its own and all from outside.
//
//	go run -C bench .                              the whole table
//	go run -C bench . run items --side waybill     one workload on one side
//	go run -C bench . growth                       how figures grow with what there is
//
// # What runs
//
// Every run has a fresh NATS server (the real one, with file storage in
// a folder of its own), a fresh stub of Orchestrator, and one side: waybill's
// own worker; a bare loop, which pulls, calls, publishes an outcome and acks,
// and keeps no book of anything; or watermill, a framework that carries one
// message at a time. The runner publishes the requests before the side starts,
// waits, and then reads what came of it.
//
// # How it is measured
//
// The time of a run is from the first delivery that any outcome tells
// (firstDeliveredAt) to the largest time stamp that JetStream has given to an
// outcome; so starting up and shutting down are not in it, and all sides are
// measured alike. The CPU time of a side is the process's, from the kernel,
// starting up included. Every run is checked: each key must have its final
// outcome, and the stub must have seen each Reference, and each
// BatchExecutionKey, once.
//
// The sides of a workload take turns in every round, in an order that changes
// from round to round; ratios are taken within a round, and the table has
// their medians: what else the machine does strikes both sides.
//
// # Traps
//
// The peak resident size that wait4 tells of a child includes that of its
// parent at the time of the fork, so the peak is read from /proc (VmHWM) while
// the process still runs. Two idle connections a host, the default of net/http,
// would open a connection for nearly every call. A queue group of push
// consumers with a large MaxAckPending gives all to a few members. Publishing
// to a server that syncs every write takes half a minute per 100,000 requests:
// they are published under the default, and the server is then started anew.
package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	err := newRoot(log).ExecuteContext(ctx)
	stop()
	if err != nil {
		log.Error("bench ended", "error", err)
		os.Exit(1)
	}
}

func newRoot(log *slog.Logger) *cobra.Command {
	root := newTableCommand(log)
	root.Use = "bench"
	root.SilenceErrors, root.SilenceUsage = true, true
	root.AddCommand(newTableCommand(log), newRunCommand(log), newGrowthCommand(log), newRoleCommand())
	return root
}
