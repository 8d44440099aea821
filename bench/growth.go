package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"waybill/pipeline"
)

// growthTable shows how waybill's figures go with one quantity.
type growthTable struct {
	name     string
	quantity string
	values   []int
	workload func(n int) workload
	// value is the quantity of a workload, which may have been scaled.
	value func(w workload) int
}

// ledgerCount is how many requests are measured on top of a ledger.
const ledgerCount = 50_000

func growthTables() []growthTable {
	items := func(count int) workload { return workload{name: "items", count: count, body: memoryBody} }
	return []growthTable{
		{
			name: "waiting", quantity: "requests waiting", values: []int{1_000, 10_000, 100_000, 1_000_000},
			workload: items,
			value:    func(w workload) int { return w.count },
		},
		{
			name: "lanes", quantity: "queues", values: []int{1, 10, 100, 1_000},
			workload: func(n int) workload {
				w := items(100_000)
				w.lanes = n
				return w
			},
			value: func(w workload) int { return w.lanes },
		},
		{
			name: "ledger", quantity: "keys in the ledger before", values: []int{0, 10_000, 100_000, 1_000_000},
			workload: func(n int) workload {
				w := items(ledgerCount)
				w.ledger, w.restart = n, true
				return w
			},
			value: func(w workload) int { return w.ledger },
		},
		{
			name: "processes", quantity: "worker processes", values: []int{1, 2, 4},
			workload: func(n int) workload {
				w := items(100_000)
				w.processes = n
				return w
			},
			value: func(w workload) int { return w.processes },
		},
	}
}

func newGrowthCommand(log *slog.Logger) *cobra.Command {
	var programs programFlags
	var only []string
	scale := 1.0
	cmd := &cobra.Command{
		Use:   "growth",
		Short: "Measure how waybill's figures grow with what there is",
		Long: `growth measures waybill alone, with more and more requests waiting, queues, keys
in the ledger, and worker processes, and prints a table for each.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b, err := programs.prepare(cmd.Context(), log)
			if err != nil {
				return err
			}
			defer b.close()
			for _, t := range growthTables() {
				if len(only) > 0 && !slices.Contains(only, t.name) {
					continue
				}
				if err := b.printGrowth(cmd.Context(), cmd.OutOrStdout(), t, scale); err != nil {
					return err
				}
			}
			return nil
		},
	}
	programs.addFlags(cmd.Flags())
	cmd.Flags().StringSliceVar(&only, "only", nil, "tables: waiting, lanes, ledger, processes")
	cmd.Flags().Float64Var(&scale, "scale", 1, "scales the numbers of requests, and of keys in the ledger")
	return cmd
}

// printGrowth prints a table's rows as they are measured.
func (b *bench) printGrowth(ctx context.Context, out io.Writer, t growthTable, scale float64) error {
	fmt.Fprintln(out, markdownRow([]string{
		t.quantity, "requests/s", "worker CPU s per 100,000", "worker peak MiB", "worker ready after s",
		"ledger on disk MiB", "server MiB", "server restart s", "server MiB after",
	}))
	fmt.Fprintln(out, markdownRule(9))
	for _, n := range t.values {
		w := t.workload(n).withDefaults().scaled(scale)
		w.ledger = int(float64(w.ledger) * scale)
		r, err := b.measure(ctx, w, sideWaybill)
		if err != nil {
			return err
		}
		b.log.Info("measured", "table", t.name, "value", t.value(w), "result", r.String())
		if !r.Verdict.good() {
			return fmt.Errorf("%s, %d: the promise is broken: %s", t.name, t.value(w), r.Verdict)
		}
		restart, restarted := none, none
		if w.restart {
			restart, restarted = fmt.Sprintf("%.2f", r.Restart), fmt.Sprintf("%.0f", r.RestartedMiB)
		}
		fmt.Fprintln(out, markdownRow([]string{
			thousands(float64(t.value(w))), thousands(r.Rate), fmt.Sprintf("%.2f", r.cpuPer(100_000)), fmt.Sprintf("%.0f", r.PeakMiB),
			fmt.Sprintf("%.2f", r.Ready), fmt.Sprintf("%.0f", r.StoreMiB), fmt.Sprintf("%.0f", r.ServerMiB), restart, restarted,
		}))
	}
	fmt.Fprintln(out)
	return nil
}

// fillLedger has a worker carry out requests of other keys, and leaves the
// installation without a worker.
func (r *run) fillLedger(ctx context.Context, js jetstream.JetStream) error {
	if r.w.ledger == 0 {
		return nil
	}
	fill := r.w
	fill.count = r.w.ledger
	if err := publishRequests(ctx, r.server, fill, tenantName, 0); err != nil {
		return err
	}
	if err := r.startWorker(ctx); err != nil {
		return err
	}
	if err := r.awaitEffects(ctx, fill.count); err != nil {
		return err
	}
	for _, p := range r.ran {
		if err := p.stop(ctx); err != nil { // it finishes what it has begun
			return err
		}
	}
	r.ran = nil
	stream, err := js.Stream(ctx, pipeline.Topology{}.LedgerStream())
	if err != nil {
		return fmt.Errorf("open the ledger: %w", err)
	}
	r.fromSequence = stream.CachedInfo().State.LastSeq + 1
	r.before, err = r.api.counts(ctx)
	return err
}

// timeRestart takes the time that the server needs to serve what it has.
func (r *run) timeRestart(ctx context.Context, res *result) error {
	if err := r.server.stop(ctx); err != nil {
		return err
	}
	began := time.Now()
	if err := r.server.start(ctx, r.w.always); err != nil {
		return err
	}
	res.Restart = time.Since(began).Seconds()
	res.RestartedMiB = mebibytes(r.server.resident())
	return nil
}

// none stands in a table where there is nothing to tell.
const none = "–"

// thousands writes a number with commas between its thousands.
func thousands(value float64) string {
	digits := strconv.FormatFloat(value, 'f', 0, 64)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
