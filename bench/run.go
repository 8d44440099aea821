package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func (f *programFlags) addFlags(fs *pflag.FlagSet) {
	fs.StringVar(&f.dir, "dir", "", "folder for what the runs write (the system's for temporary files)")
	fs.StringVar(&f.worker, "worker", "", "waybill's worker, if it is built already")
	fs.StringVar(&f.natsServer, "nats-server", "", "nats-server, if it is built already")
}

var errNothingToDo = errors.New("nothing to do: use a --scale above 0, and --rounds of 1 or more")

// newRunCommand measures one workload on one side, for whoever looks into it.
func newRunCommand(log *slog.Logger) *cobra.Command {
	var programs programFlags
	sideName, scale, body, rounds, asJSON, profile, under, least := "", 0.0, 0, 0, false, "", "", false
	cmd := &cobra.Command{
		Use:       "run WORKLOAD",
		Short:     "Measure one workload on one side",
		Long:      "run measures one of the workloads on one side:\n  " + strings.Join(workloadNames(), "\n  "),
		Args:      cobra.ExactArgs(1),
		ValidArgs: workloadNames(),
		RunE: func(cmd *cobra.Command, args []string) error {
			w, err := findWorkload(args[0])
			if err != nil {
				return err
			}
			s, err := parseSide(sideName)
			if err != nil {
				return err
			}
			if s == sideWaybill && (least || profile != "") || s == sideWatermill && least {
				return fmt.Errorf("side %s: --least is the bare loop's, --cpuprofile its and watermill's; use --under for waybill", s)
			}
			if scale <= 0 || rounds < 1 {
				return errNothingToDo
			}
			w = w.scaled(scale)
			if body > 0 {
				w.body = body
			}
			b, err := programs.prepare(cmd.Context(), log)
			if err != nil {
				return err
			}
			defer b.close()
			b.under, b.least = strings.Fields(under), least
			if profile != "" {
				if b.profile, err = filepath.Abs(profile); err != nil {
					return fmt.Errorf("profile: %w", err)
				}
			}
			return b.runRounds(cmd.Context(), cmd.OutOrStdout(), w, s, rounds, asJSON)
		},
	}
	programs.addFlags(cmd.Flags())
	fs := cmd.Flags()
	fs.StringVar(&sideName, "side", string(sideWaybill), "waybill, bare or watermill")
	fs.Float64Var(&scale, "scale", 1, "scales the number of requests")
	fs.IntVar(&body, "body", 0, "bytes of a request, in place of the workload's")
	fs.IntVar(&rounds, "rounds", 1, "how often")
	fs.BoolVar(&asJSON, "json", false, "print results as JSON lines")
	fs.BoolVar(&least, "least", false, "have the bare loop read no JSON, and publish outcomes that say no more than the key")
	fs.StringVar(&profile, "cpuprofile", "", "file for a CPU profile of the bare loop or of watermill")
	fs.StringVar(&under, "under", "", "command to run the side's processes under, such as 'perf record -g -o FILE --'")
	return cmd
}

func (b *bench) runRounds(ctx context.Context, out io.Writer, w workload, s side, rounds int, asJSON bool) error {
	for round := range rounds {
		w.seed = round + 1
		r, err := b.measure(ctx, w, s)
		if err != nil {
			return err
		}
		r.Round = round + 1
		if asJSON {
			if err := json.NewEncoder(out).Encode(r); err != nil {
				return fmt.Errorf("print result: %w", err)
			}
		} else {
			fmt.Fprintln(out, r)
		}
		if s == sideWaybill && !r.Verdict.good() {
			return fmt.Errorf("%s: the promise is broken: %s", w.name, r.Verdict)
		}
	}
	return nil
}
