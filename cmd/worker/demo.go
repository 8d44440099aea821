package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"waybill/cmd/internal/cli"
	"waybill/cmd/internal/sheet"
	"waybill/examples"
	"waybill/orchestrator/simulator"
	"waybill/pipeline"
	"waybill/pipeline/embedded"
	"waybill/pipeline/history"
)

const (
	demoQueue   = "Invoices"
	demoProcess = "Pay invoices"
	demoJobs    = 25
	// demoPatience bounds the whole demonstration, should something be wrong.
	demoPatience = 5 * time.Minute
)

// demoLimits are short, so that what is in doubt is soon settled. They fit an
// Orchestrator that answers at once and applies a call a second late at most.
// Bulk calls are small, so that there are enough of them for things to go
// wrong.
var demoLimits = limits{AckWait: 2 * time.Second, CallTimeout: time.Second, Hold: 4500 * time.Millisecond, Settle: 1500 * time.Millisecond, BulkItems: 4}

func newDemoCommand() *cobra.Command {
	var logging cli.Logging
	simulated := simulatorFlags{folder: "Shared", queues: []string{demoQueue + ":unique"}, processes: []string{demoProcess}, jobTime: 500 * time.Millisecond}
	output := ""
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "See it all work, in one process, with faults",
		Long: `demo needs nothing: it starts NATS with JetStream and a simulated Orchestrator in
this process, imports examples/invoices.csv (good rows, repeated ones and bad
ones) and some jobs, publishes half of it twice, and carries it out while calls
to Orchestrator are throttled, refused, cut off and answered late. Then it
prints what became of each request, and counts what Orchestrator has.`,
		Example: `  worker demo
  worker demo --faults 0.5 --seed 7 -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d := demo{log: logging.New(cmd.ErrOrStderr()), stdout: cmd.OutOrStdout(), stderr: cmd.ErrOrStderr(), output: output}
			ctx, cancel := context.WithTimeoutCause(cmd.Context(), demoPatience, errors.New("the demonstration has not ended in "+demoPatience.String()))
			defer cancel()
			return d.run(ctx, &simulated)
		},
	}
	cmd.Flags().Float64Var(&simulated.faults, "faults", 0.2, "share of calls that go wrong, 0 to 1")
	cmd.Flags().Int64Var(&simulated.seed, "seed", 1, "of the faults")
	cli.OutputFlag(cmd.Flags(), &output, cli.FormatTable)
	logging.AddFlags(cmd.Flags())
	if level := cmd.Flags().Lookup("log-level"); level != nil {
		level.DefValue = "error"
		_ = level.Value.Set("error") // calls that go wrong are the point here, not news
	}
	return cmd
}

// demo is one demonstration.
type demo struct {
	log            *slog.Logger
	stdout, stderr io.Writer
	output         string

	js        jetstream.JetStream
	publisher *pipeline.Publisher
	simulator *simulator.Server
	asked     []history.Request
}

func (d *demo) run(ctx context.Context, simulated *simulatorFlags) error {
	server, err := embedded.Start(embedded.Options{})
	if err != nil {
		return fmt.Errorf("worker demo: %w", err)
	}
	defer server.Close() //nolint:errcheck // its files were temporary
	if d.simulator, err = simulated.start(simulator.Config{}); err != nil {
		return err
	}
	defer d.simulator.Close()
	nc, err := server.Connect()
	if err != nil {
		return fmt.Errorf("worker demo: %w", err)
	}
	defer nc.Close()
	if d.js, err = jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(maxPendingPublishes)); err != nil {
		return fmt.Errorf("open JetStream: %w", err)
	}
	if err := pipeline.Provision(ctx, d.js, pipeline.Topology{}); err != nil {
		return fmt.Errorf("worker demo: %w", err)
	}
	d.publisher = pipeline.NewPublisher(d.js, pipeline.Topology{})

	s := simulatedSettings("http://simulator", simulated.folder)
	s.Limits = demoLimits
	tenants, err := s.connectTenants(surroundings{log: d.log, transport: d.simulator.RoundTripper()})
	if err != nil {
		return err
	}
	working, stop := context.WithCancel(ctx)
	worked := make(chan error, 1)
	go func() { worked <- serve(working, nc, s.workerConfig(tenants, true, d.log), "") }()
	outcomes, err := d.publishAndWatch(ctx)
	stop()
	if err := errors.Join(err, <-worked); err != nil {
		return err
	}
	return d.report(outcomes)
}

// publishAndWatch asks for everything and gathers outcomes until each key has
// its final one.
func (d *demo) publishAndWatch(ctx context.Context) ([]pipeline.Outcome, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	published := make(chan error, 1)
	publish := func() { go func() { published <- d.publish(ctx) }() }
	var outcomes []pipeline.Outcome
	var progress func(done int)
	open := make(map[history.Key]bool)
	for o, err := range pipeline.Watch(ctx, d.js, pipeline.Topology{}, pipeline.OutcomeFilter{Stage: pipeline.StageFinal, All: true}, publish) {
		if err != nil {
			return nil, fmt.Errorf("worker demo: %w", err)
		}
		if progress == nil {
			if err := <-published; err != nil {
				return nil, err
			}
			for _, r := range d.asked {
				open[r.Key] = true
			}
			progress = d.progress(len(open))
		}
		outcomes = append(outcomes, o)
		if key := history.KeyOf(o); open[key] {
			delete(open, key)
			progress(len(d.asked) - len(open))
		}
		if len(open) == 0 {
			return outcomes, nil
		}
	}
	return nil, fmt.Errorf("worker demo: %d requests have no outcome yet: %w", len(open), context.Cause(ctx))
}

// progress is a bar for those who look on, and lines for others.
func (d *demo) progress(total int) func(done int) {
	if !cli.IsTerminal(d.stderr) {
		return func(done int) {
			if done%10 == 0 || done == total {
				fmt.Fprintf(d.stderr, "%d of %d requests have their outcome\n", done, total)
			}
		}
	}
	bar := progressbar.NewOptions(total, progressbar.OptionSetWriter(d.stderr), progressbar.OptionSetDescription("outcomes"),
		progressbar.OptionShowCount(), progressbar.OptionSetWidth(40), progressbar.OptionClearOnFinish())
	return func(done int) { _ = bar.Set(done) } // it is only for looking at
}

// publish asks for the rows of the example file, some jobs, and some things
// that cannot work; and for every other of them a second time.
func (d *demo) publish(ctx context.Context) error {
	queue := pipeline.Lane{Tenant: cli.DefaultTenant, Folder: "Shared", Kind: pipeline.KindItem, Name: demoQueue}
	process := pipeline.Lane{Tenant: cli.DefaultTenant, Folder: "Shared", Kind: pipeline.KindJob, Name: demoProcess}
	nowhere := pipeline.Lane{Tenant: cli.DefaultTenant, Folder: "Shared", Kind: pipeline.KindItem, Name: "No such queue"}
	rows, err := d.readExample(ctx, queue)
	if err != nil {
		return err
	}
	var jobs []pipeline.Request
	for i := range demoJobs {
		r := pipeline.Request{Key: fmt.Sprintf("run-%02d", i+1), Job: json.RawMessage(fmt.Sprintf(`{"InputArguments":{"in_Batch":%d}}`, i+1))}
		if i%5 == 0 {
			r.Until = pipeline.UntilCompleted
		}
		jobs = append(jobs, r)
	}
	fmt.Fprintf(d.stderr, "publishing %d queue items, %d jobs and a request for a queue that does not exist, every other one twice\n", len(rows), len(jobs))
	for _, part := range []struct {
		lane     pipeline.Lane
		requests []pipeline.Request
	}{{queue, rows}, {process, jobs}, {nowhere, rows[:1]}} {
		if err := d.publishTwice(ctx, part.lane, part.requests); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) publishTwice(ctx context.Context, lane pipeline.Lane, requests []pipeline.Request) error {
	again := slices.Clone(requests)
	for i, r := range requests {
		d.asked = append(d.asked, history.Request{Key: history.Key{Lane: lane, Key: r.Key}})
		if i%2 == 0 {
			again = append(again, r)
		}
	}
	receipts, err := d.publisher.PublishAll(ctx, lane, again)
	if err != nil {
		return fmt.Errorf("worker demo: %w", err)
	}
	for _, receipt := range receipts {
		if receipt.Err != nil {
			return fmt.Errorf("worker demo: publish %s: %w", receipt.Key, receipt.Err)
		}
	}
	return nil
}

// readExample gives the rows of the example file that can be asked for, and
// says what is wrong with the others.
func (d *demo) readExample(ctx context.Context, lane pipeline.Lane) ([]pipeline.Request, error) {
	table, err := sheet.Open(ctx, bytes.NewReader(examples.Invoices), sheet.Options{Lane: lane})
	if err != nil {
		return nil, fmt.Errorf("read examples/invoices.csv: %w", err)
	}
	defer table.Close() //nolint:errcheck // it was only read
	if err := table.Index(ctx, nil); err != nil {
		return nil, fmt.Errorf("read examples/invoices.csv: %w", err)
	}
	var rows []pipeline.Request
	for row, err := range table.Rows() {
		if err != nil {
			return nil, fmt.Errorf("read examples/invoices.csv: %w", err)
		}
		if row.Err != nil {
			fmt.Fprintf(d.stderr, "examples/invoices.csv, row %d: %s\n", row.Number, strings.ReplaceAll(row.Err.Error(), "\n", "; "))
			continue
		}
		rows = append(rows, row.Request)
	}
	return rows, nil
}

// report prints the outcomes and holds them against what Orchestrator has.
func (d *demo) report(outcomes []pipeline.Outcome) error {
	var effects []history.Effect
	for _, e := range d.simulator.Effects() {
		lane := pipeline.Lane{Tenant: cli.DefaultTenant, Folder: e.Folder, Kind: pipeline.Kind(e.Kind), Name: e.Name}
		effects = append(effects, history.Effect{Key: history.Key{Lane: lane, Key: e.Reference}, ID: e.ID})
	}
	report := history.Check(history.Run{Requests: d.asked, Effects: effects, Outcomes: outcomes})
	slices.SortFunc(outcomes, func(a, b pipeline.Outcome) int {
		return strings.Compare(a.Lane().String()+a.Key, b.Lane().String()+b.Key)
	})
	if err := cli.PrintAll(d.stdout, d.output, outcomeColumns, each(outcomes)); err != nil {
		return fmt.Errorf("print outcomes: %w", err)
	}
	for _, v := range report.Violations {
		fmt.Fprintf(d.stderr, "%s: %s\n", v.Key, v.What)
	}
	summary := d.stdout
	if d.output != cli.FormatTable {
		summary = d.stderr
	}
	fmt.Fprintln(summary, report)
	if !report.Held() {
		return errors.New("the promise was broken")
	}
	return nil
}

func each(outcomes []pipeline.Outcome) func(func(pipeline.Outcome, error) bool) {
	return func(yield func(pipeline.Outcome, error) bool) {
		for _, o := range outcomes {
			if !yield(o, nil) {
				return
			}
		}
	}
}

var outcomeColumns = []cli.Column[pipeline.Outcome]{
	{Name: "kind", Width: 4, Value: func(o pipeline.Outcome) string { return string(o.Kind) }},
	{Name: "queue or process", Width: 16, Value: func(o pipeline.Outcome) string { return o.Queue + o.Process }},
	{Name: "key", Width: 20, Value: func(o pipeline.Outcome) string { return o.Key }},
	{Name: "status", Width: 9, Value: func(o pipeline.Outcome) string { return string(o.Status) }},
	{Name: "attempts", Width: 8, Value: func(o pipeline.Outcome) string { return strconv.Itoa(o.Attempts) }},
	{Name: "decided by", Width: 10, Value: func(o pipeline.Outcome) string { return string(o.DecidedBy) }},
	{Name: "error", Value: func(o pipeline.Outcome) string {
		if o.Error == nil {
			return ""
		}
		return o.Error.Message
	}},
}
