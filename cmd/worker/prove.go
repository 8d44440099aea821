package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"waybill/cmd/internal/cli"
	"waybill/cmd/internal/proving"
	"waybill/pipeline/history"
)

func newProveCommand() *cobra.Command {
	chaos := proving.Chaos{Bulk: 50}
	output, keep, nodes, sync := "", "", 1, "always"
	cmd := &cobra.Command{
		Use:   "prove",
		Short: "Try the promise on this machine, with processes that are killed",
		Long: `prove runs NATS, a simulated Orchestrator and two workers as processes of their
own, publishes requests, and strikes: workers are killed and frozen, NATS servers
killed and frozen, leaders stepped down, networks cut, stalled and slowed, tokens
revoked, and a share of the calls to Orchestrator goes wrong in every way it can.
Some requests are published twice, some of these with another payload.

Then it lets everything recover, and holds what the simulated Orchestrator has
and the outcomes against what was asked for. The exit code is 0 only if the
promise held: each key with one effect at most and one final outcome.

The seed repeats the plan of requests and strikes; which request is met by which
strike is up to the machine.`,
		Example: `  worker prove --for 60s
  worker prove --for 2m --nodes 3 --seed 7 -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if chaos.For < time.Second || chaos.Rate < 1 || nodes != 1 && nodes != 3 || sync != "always" && sync != "default" || chaos.Faults < 0 || chaos.Faults > 1 {
				return cli.Errorf(cli.ExitUsage, "give --for 1s or more, --rate 1 or more, --nodes 1 or 3, --sync always or default, --faults 0 to 1")
			}
			if !cmd.Flags().Changed("seed") {
				chaos.Seed = time.Now().UnixNano() % 1_000_000
			}
			dir, err := os.MkdirTemp(keep, "waybill-prove-")
			if err != nil {
				return fmt.Errorf("worker prove: %w", err)
			}
			program, err := os.Executable()
			if err != nil {
				return fmt.Errorf("worker prove: %w", err)
			}
			chaos.Installation = proving.New(program, dir, dir)
			chaos.Nodes, chaos.SyncDefault = nodes, sync == "default"
			chaos.Progress = func(line string) { fmt.Fprintln(cmd.ErrOrStderr(), line) }
			fmt.Fprintf(cmd.ErrOrStderr(), "seed %d; files and logs are in %s\n", chaos.Seed, dir)
			result, err := chaos.Run(cmd.Context())
			err = errors.Join(err, chaos.Close())
			if err != nil {
				return fmt.Errorf("worker prove: %w; the logs are in %s", err, filepath.Clean(dir))
			}
			if err := printResult(cmd.OutOrStdout(), output, result); err != nil {
				return fmt.Errorf("print the result: %w", err)
			}
			if !result.Held() {
				return fmt.Errorf("the promise was broken; the logs are in %s", dir)
			}
			if keep != "" {
				return nil
			}
			return os.RemoveAll(dir)
		},
	}
	cmd.Flags().DurationVar(&chaos.For, "for", time.Minute, "how long to publish and to strike")
	cmd.Flags().Int64Var(&chaos.Seed, "seed", 0, "of everything random (another each time)")
	cmd.Flags().IntVar(&chaos.Rate, "rate", 50, "requests a second")
	cmd.Flags().Float64Var(&chaos.Faults, "faults", 0.02, "share of write calls to Orchestrator that go wrong, 0 to 1")
	cmd.Flags().IntVar(&nodes, "nodes", 1, "NATS servers: 1, or a cluster of 3 with three replicas")
	cmd.Flags().StringVar(&sync, "sync", "always", "when NATS writes to disk: always, or default")
	cmd.Flags().StringVar(&keep, "keep", "", "existing folder in which to keep the files and logs")
	cli.OutputFlag(cmd.Flags(), &output, cli.FormatTable)
	return cmd
}

func printResult(w io.Writer, format string, r proving.Result) error {
	if format != cli.FormatTable {
		return json.NewEncoder(w).Encode(r) //nolint:wrapcheck // the caller says what was being done
	}
	var strikes []string
	for _, name := range slices.Sorted(maps.Keys(r.Strikes)) {
		strikes = append(strikes, fmt.Sprintf("%d × %s", r.Strikes[name], name))
	}
	verdict := "the promise held"
	if !r.Held() {
		verdict = "THE PROMISE WAS BROKEN"
	}
	for _, part := range []struct {
		what string
		all  []history.Violation
	}{{"BROKEN", r.Report.Violations}, {"TURNED DOWN", r.TurnedDown}, {"unknown", r.Unknown}} {
		for _, v := range part.all {
			fmt.Fprintf(w, "%s: %s: %s\n", part.what, v.Key, v.What)
		}
	}
	_, err := fmt.Fprintf(w, `seed:          %d
strikes:       %s
requests:      %d
published:     %d (%d of them with another payload under a known key)
effects:       %d
duplicates:    %d
lost:          %d
contradicting: %d
unknown:       %d
outcomes:      %v
seconds:       %.0f
verdict:       %s
`, r.Seed, strings.Join(strikes, ", "), r.Requests, r.Published, r.Conflicts, r.Report.Effects, r.Report.Duplicates,
		r.Report.Lost, r.Report.Contradicting, r.Report.Unknown, r.Report.Statuses, r.Seconds, verdict)
	return err //nolint:wrapcheck // the caller says what was being done
}
