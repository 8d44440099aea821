package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"

	"github.com/spf13/cobra"
)

// tableFlags say what of the table is wanted.
type tableFlags struct {
	programs programFlags
	rounds   int
	scale    float64
	only     []string
	output   string
	asJSON   bool
}

func newTableCommand(log *slog.Logger) *cobra.Command {
	var flags tableFlags
	cmd := &cobra.Command{
		Use:   "table",
		Short: "Measure all workloads on all sides and print the table",
		Long: `table measures every workload on the sides that it is meant for, in rounds, and
prints the medians as a Markdown table. It fails where waybill misses a "must",
or where a request of waybill's has come to nothing or to more than one effect.`,
		Args:          cobra.NoArgs,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return flags.run(cmd.Context(), cmd.OutOrStdout(), log)
		},
	}
	flags.programs.addFlags(cmd.Flags())
	fs := cmd.Flags()
	fs.IntVar(&flags.rounds, "rounds", 3, "rounds of each workload (those that take long have one or two)")
	fs.Float64Var(&flags.scale, "scale", 1, "scales the numbers of requests; targets are judged at 1 alone")
	fs.StringSliceVar(&flags.only, "only", nil, "workloads, by name")
	fs.StringVarP(&flags.output, "output", "o", "", "file for the table, in place of the standard output")
	fs.BoolVar(&flags.asJSON, "json", false, "print all results as JSON in place of the table")
	return cmd
}

func (f tableFlags) run(ctx context.Context, out io.Writer, log *slog.Logger) error {
	if f.scale <= 0 || f.rounds < 1 {
		return errNothingToDo
	}
	list, err := f.selected()
	if err != nil {
		return err
	}
	b, err := f.programs.prepare(ctx, log)
	if err != nil {
		return err
	}
	defer b.close()
	if f.output != "" {
		file, err := os.Create(f.output)
		if err != nil {
			return fmt.Errorf("write the table: %w", err)
		}
		defer file.Close() //nolint:errcheck // print has told what went wrong
		out = file
	}
	var all results
	for _, group := range together(list) {
		more, err := b.measureRounds(ctx, group, f.scale, f.rounds)
		all = append(all, more...)
		if err != nil {
			return err
		}
	}
	return f.print(out, all)
}

func (f tableFlags) selected() ([]workload, error) {
	if len(f.only) == 0 {
		return workloads(), nil
	}
	for _, name := range f.only {
		if _, err := findWorkload(name); err != nil {
			return nil, err
		}
	}
	return slices.DeleteFunc(workloads(), func(w workload) bool { return !slices.Contains(f.only, w.name) }), nil
}

// together has what is compared within a round in one group: a workload, and
// those that come after it and are held against it.
func together(list []workload) [][]workload {
	var groups [][]workload
	for _, w := range list {
		i := slices.IndexFunc(groups, func(group []workload) bool { return isAgainst(w.name, group[0].name) })
		if i < 0 {
			groups = append(groups, []workload{w})
			continue
		}
		groups[i] = append(groups[i], w)
	}
	return groups
}

func isAgainst(workload, other string) bool {
	return slices.ContainsFunc(lines(), func(l line) bool { return l.workload == workload && l.target.against.workload == other })
}

// turn is one run of a round.
type turn struct {
	workload workload
	side     side
}

// measureRounds measures workloads on their sides. All take turns, and each
// round begins with another.
func (b *bench) measureRounds(ctx context.Context, group []workload, scale float64, rounds int) (results, error) {
	var turns []turn
	for _, w := range group {
		if w.maxRounds > 0 {
			rounds = min(rounds, w.maxRounds)
		}
		for _, s := range w.sides {
			turns = append(turns, turn{w.scaled(scale), s})
		}
	}
	var all results
	for round := range rounds {
		for i := range turns {
			next := turns[(i+round)%len(turns)]
			next.workload.seed = round + 1
			r, err := b.measure(ctx, next.workload, next.side)
			if err != nil {
				return all, err
			}
			r.Round = round + 1
			b.log.Info("measured", "round", r.Round, "result", r.String())
			all = append(all, r)
		}
	}
	return all, nil
}

func (f tableFlags) print(out io.Writer, all results) error {
	t := newTable(all, f.scale == 1)
	if f.asJSON {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(all); err != nil {
			return fmt.Errorf("print results: %w", err)
		}
	} else if _, err := io.WriteString(out, t.markdown()); err != nil {
		return fmt.Errorf("print the table: %w", err)
	}
	return errors.Join(all.broken(), t.missed())
}

// results are those of all runs.
type results []result

// broken is an error that names the runs in which waybill broke its promise.
func (all results) broken() error {
	var faults []error
	for _, r := range all {
		if r.Side == sideWaybill && !r.Verdict.good() {
			faults = append(faults, fmt.Errorf("%s, round %d: the promise is broken: %s", r.Workload, r.Round, r.Verdict))
		}
	}
	return errors.Join(faults...)
}

// of gives the results of a workload on one side, by round.
func (all results) of(workload string, s side) results {
	var some results
	for _, r := range all {
		if r.Workload == workload && r.Side == s {
			some = append(some, r)
		}
	}
	slices.SortFunc(some, func(a, b result) int { return a.Round - b.Round })
	return some
}

// values are what the function reads off each.
func (all results) values(read func(result) float64) []float64 {
	values := make([]float64, len(all))
	for i, r := range all {
		values[i] = read(r)
	}
	return values
}

// ratios are waybill's value over what the line is against, round by round.
func (all results) ratios(l line) []float64 {
	against := l.basis()
	others := make(map[int]float64)
	for _, r := range all.of(against.workload, against.side) {
		others[r.Round] = l.read(r)
	}
	var ratios []float64
	for _, r := range all.of(l.workload, sideWaybill) {
		if other := others[r.Round]; other > 0 {
			ratios = append(ratios, l.read(r)/other)
		}
	}
	return ratios
}
