package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"waybill/cmd/internal/cli"
	"waybill/cmd/internal/proving"
	"waybill/pipeline/history"
)

// proof is one run of worker prove.
type proof struct {
	proving.Chaos
	nodes   int
	sync    string
	keep    string // folder for files and logs
	history string // file for the verdicts
	output  string
}

func newProveCommand() *cobra.Command {
	p := proof{Chaos: proving.Chaos{Bulk: 50}}
	cmd := &cobra.Command{
		Use:   "prove",
		Short: "Try the promise on this machine, with processes that are killed",
		Long: `prove runs NATS, a simulated Orchestrator and two workers as processes of their
own, publishes requests, and strikes: workers are killed and frozen, and their
wall clocks set; NATS servers killed and frozen, leaders stepped down, streams
filled to their limits, the disk kept busy and (on Linux) full; networks cut,
stalled and slowed, tokens revoked; and a share of the calls to Orchestrator goes
wrong in every way it can. Some requests are published twice, some of these with
another payload, and some can never work.

Then it lets everything recover, and holds what the simulated Orchestrator has,
the outcomes and the dead letters against what was asked for. The exit code is 0
only if the promise held: each key with one effect at most and one final outcome,
each request that came to nothing with its dead letter, and no request turned
down for what befell the processes; and if no outcome is unknown and no message
unsettled, since everything can be known here. It is 1 if the promise was broken
or not proven, or the run could not be made, and 130 or 143 if it was interrupted.

--history writes a line of JSON for each key: what was published, what there is
of it, and the verdict in a sentence.

The seed repeats the plan of requests and strikes; which request is met by which
strike is up to the machine.`,
		Example: `  worker prove --for 60s
  worker prove --for 2m --nodes 3 --seed 7 -o json --history verdicts.jsonl`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !cmd.Flags().Changed("seed") {
				p.Seed = time.Now().UnixNano() % 1_000_000
			}
			if err := p.validate(); err != nil {
				return err
			}
			return p.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().DurationVar(&p.For, "for", time.Minute, "how long to publish and to strike")
	cmd.Flags().Int64Var(&p.Seed, "seed", 0, "of everything random (another each time)")
	cmd.Flags().IntVar(&p.Rate, "rate", 50, "requests a second")
	cmd.Flags().Float64Var(&p.Faults, "faults", 0.02, "share of write calls to Orchestrator that go wrong, 0 to 1")
	cmd.Flags().IntVar(&p.nodes, "nodes", 1, "NATS servers: 1, or a cluster of 3 with three replicas")
	cmd.Flags().StringVar(&p.sync, "sync", "always", "when NATS writes to disk: always, or default")
	cmd.Flags().StringVar(&p.keep, "keep", "", "existing folder in which to keep the files and logs")
	cmd.Flags().StringVar(&p.history, "history", "", "file for the verdict on each key, in lines of JSON")
	cli.OutputFlag(cmd.Flags(), &p.output, cli.FormatTable)
	return cmd
}

func (p *proof) validate() error {
	if p.For < time.Second || p.Rate < 1 || p.nodes != 1 && p.nodes != 3 || p.sync != "always" && p.sync != "default" || !(p.Faults >= 0 && p.Faults <= 1) {
		return cli.Errorf(cli.ExitUsage, "give --for 1s or more, --rate 1 or more, --nodes 1 or 3, --sync always or default, --faults 0 to 1")
	}
	return nil
}

// run makes the run in a folder of its own, which stays only where somebody
// may want to look into it.
func (p *proof) run(ctx context.Context, stdout, stderr io.Writer) error {
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("worker prove: %w", err)
	}
	verdicts, err := p.openHistory()
	if err != nil {
		return err
	}
	defer verdicts.Close() //nolint:errcheck // what was written to it has been synced
	dir, err := os.MkdirTemp(p.keep, "waybill-prove-")
	if err != nil {
		return cli.Errorf(cli.ExitUsage, "make a folder for files and logs: %w; name one that can be written to by --keep", err)
	}
	p.Installation = proving.New(program, dir, dir)
	p.Nodes, p.SyncDefault = p.nodes, p.sync == "default"
	p.Progress = func(line string) { fmt.Fprintln(stderr, line) }
	fmt.Fprintf(stderr, "seed %d; files and logs are in %s\n", p.Seed, dir)
	result, err := p.Run(ctx)
	err = errors.Join(err, p.Close())
	if ctx.Err() != nil && p.keep == "" {
		return errors.Join(context.Cause(ctx), os.RemoveAll(dir))
	}
	if err == nil {
		err = p.tell(stdout, verdicts, result)
	}
	if err != nil {
		return fmt.Errorf("worker prove: %w; the logs are in %s", err, dir)
	}
	if p.keep != "" {
		return nil
	}
	return os.RemoveAll(dir) //nolint:wrapcheck // it names the folder
}

// openHistory makes the file for the verdicts before a run whose verdicts
// could not be written; nil if none is wanted.
func (p *proof) openHistory() (*os.File, error) {
	if p.history == "" {
		return nil, nil //nolint:nilnil // a file that is nil is closed all the same
	}
	file, err := os.Create(p.history)
	if err != nil {
		return nil, cli.Errorf(cli.ExitUsage, "--history: %w", err)
	}
	return file, nil
}

var (
	errBroken    = errors.New("the promise was broken")
	errNotProven = errors.New("the promise was not proven")
)

// tell prints the result, and is an error unless the promise held.
func (p *proof) tell(stdout io.Writer, verdicts *os.File, result proving.Result) error {
	if err := printResult(stdout, p.output, result); err != nil {
		return fmt.Errorf("print the result: %w", err)
	}
	if verdicts != nil {
		if err := errors.Join(result.Report.WriteVerdicts(verdicts), verdicts.Sync()); err != nil {
			return fmt.Errorf("--history: %w", err)
		}
	}
	switch {
	case result.Broken():
		return errBroken
	case !result.Held():
		return errNotProven
	}
	return nil
}

// judged is a result as it is written, with what it comes to.
type judged struct {
	proving.Result
	Held    bool   `json:"held"`
	Verdict string `json:"verdict"`
}

func printResult(w io.Writer, format string, r proving.Result) error {
	if format != cli.FormatTable {
		return json.NewEncoder(w).Encode(judged{r, r.Held(), r.Verdict()}) //nolint:wrapcheck // the caller says what was being done
	}
	var strikes []string
	for _, name := range slices.Sorted(maps.Keys(r.Strikes)) {
		strikes = append(strikes, fmt.Sprintf("%d × %s", r.Strikes[name], name))
	}
	for _, part := range []struct {
		what string
		all  []history.Violation
	}{{"BROKEN", r.Report.Violations}, {"TURNED DOWN", r.TurnedDown}, {"unknown", r.Unknown}} {
		for _, v := range part.all {
			fmt.Fprintf(w, "%s: %s: %s [%s]\n", part.what, v.Key, v.What, r.During[v.Key.String()])
		}
	}
	if r.Unsettled != "" {
		fmt.Fprintf(w, "UNSETTLED: %s\n", r.Unsettled)
	}
	struck := 0
	for _, n := range r.Strikes {
		struck += n
	}
	_, err := fmt.Fprintf(w, `seed:          %d
NATS servers:  %d, sync %s
strikes:       %d: %s
set clocks:    of worker %s
requests:      %d
published:     %d (%d of them with another payload under a known key, %d invalid; %d sent again, %d dropped by the stream as repeats)
effects:       %d
duplicates:    %d
lost:          %d
contradicting: %d
unknown:       %d
outcomes:      %v
dead letters:  %d
seconds:       %.0f
verdict:       %s
`, r.Seed, r.Nodes, r.Sync, struck, strings.Join(strikes, ", "), strings.Join(r.UnsteadyClocks, " and "), r.Requests, r.Published, r.Conflicts, r.Invalid, r.Resent, r.Dropped,
		r.Report.Effects, r.Report.Duplicates, r.Report.Lost, r.Report.Contradicting, r.Report.Unknown, r.Report.Statuses, r.Report.DeadLetters, r.Seconds, r.Verdict())
	return err //nolint:wrapcheck // the caller says what was being done
}
