package pipeline_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"waybill/orchestrator"
	"waybill/orchestrator/simulator"
	"waybill/pipeline"
	"waybill/pipeline/embedded"
)

// workerItems is how many items BenchmarkWorker carries out in one round.
const workerItems = 20_000

// BenchmarkWorker measures a worker, a server with file storage and a simulated
// Orchestrator, all in this process, to take profiles of: what it costs beside
// others, as processes, is measured in bench.
//
//	go test -run '^$' -bench Worker -benchtime 5x -cpuprofile cpu.out ./pipeline
func BenchmarkWorker(b *testing.B) {
	var whole loopResult
	for b.Loop() {
		whole.add(runWorker(b))
	}
	b.ReportMetric(0, "ns/op") // an op is a round; it says nothing
	b.ReportMetric(whole.rate(), "items/s")
	b.ReportMetric(whole.callsPerThousand(), "calls/1000items")
}

// loopResult sums up rounds.
type loopResult struct {
	items, calls int
	took         time.Duration
}

func (r *loopResult) add(o loopResult) {
	r.items += o.items
	r.calls += o.calls
	r.took += o.took
}

func (r *loopResult) rate() float64 { return float64(r.items) / r.took.Seconds() }

func (r *loopResult) callsPerThousand() float64 { return 1000 * float64(r.calls) / float64(r.items) }

// stand is what a worker runs on.
type stand struct {
	js     jetstream.JetStream
	client *orchestrator.Client
	lane   pipeline.Lane
}

// runWorker has a worker carry out requests that are waiting for it, and counts
// the effects: one that loses or doubles some is not measured but failed.
func runWorker(b *testing.B) loopResult {
	b.Helper()
	sim := simulator.New(simulator.Config{Seed: 1})
	defer sim.Close()
	if _, err := sim.AddQueue("Shared", simulator.Queue{Name: "Invoices"}); err != nil {
		b.Fatal(err)
	}
	s, leave := newStand(b, sim)
	defer leave()
	publishRequests(b, s)
	runtime.GC() // what was published is not the worker's to clear away
	ctx, cancel := context.WithTimeout(b.Context(), 5*time.Minute)
	defer cancel()
	took, err := carryOut(ctx, s)
	if err != nil {
		b.Fatal(err)
	}
	if sum := sim.EffectCounts(); sum.Effects != workerItems || sum.Distinct != workerItems {
		b.Fatalf("%d effects, %d of them distinct, want %d", sum.Effects, sum.Distinct, workerItems)
	}
	calls := 0
	for _, n := range sim.Calls() {
		calls += n
	}
	return loopResult{items: workerItems, calls: calls, took: took}
}

func newStand(b *testing.B, sim *simulator.Server) (s stand, leave func()) {
	b.Helper()
	server, err := embedded.Start(embedded.Options{StoreDir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	nc, err := server.Connect()
	if err != nil {
		b.Fatal(err)
	}
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(16_384))
	if err != nil {
		b.Fatal(err)
	}
	client, err := orchestrator.New(orchestrator.Config{
		BaseURL:   "http://simulator/acme/Default/orchestrator_",
		Login:     orchestrator.ClientCredentials{ClientID: "id", ClientSecret: "secret"},
		Transport: sim.RoundTripper(),
		RetryFor:  -1,
	})
	if err != nil {
		b.Fatal(err)
	}
	lane := pipeline.Lane{Tenant: "Default", Folder: "Shared", Kind: pipeline.KindItem, Name: "Invoices"}
	return stand{js: js, client: client, lane: lane}, func() {
		nc.Close()
		if err := server.Close(); err != nil {
			b.Error(err)
		}
	}
}

// publishRequests fills the requests stream before the clock runs.
func publishRequests(b *testing.B, s stand) {
	b.Helper()
	if err := pipeline.Provision(b.Context(), s.js, pipeline.Topology{}); err != nil {
		b.Fatal(err)
	}
	requests := make([]pipeline.Request, workerItems)
	for i := range requests {
		requests[i] = pipeline.Request{
			Key:  fmt.Sprintf("INV-%06d", i),
			Item: json.RawMessage(fmt.Sprintf(`{"Priority":"Normal","SpecificContent":{"Invoice":"INV-%06d","Vendor":"ACME Corporation","Amount":%d.25,"Currency":"EUR"}}`, i, i)),
		}
	}
	receipts, err := pipeline.NewPublisher(s.js, pipeline.Topology{}).PublishAll(b.Context(), s.lane, requests)
	if err != nil {
		b.Fatal(err)
	}
	for _, receipt := range receipts {
		if receipt.Err != nil {
			b.Fatal(receipt.Err)
		}
	}
}

// carryOut runs a worker, and gives how long it took from when it was ready until
// its last outcome was stored.
func carryOut(ctx context.Context, s stand) (time.Duration, error) {
	worker, err := pipeline.New(pipeline.Config{
		JetStream: s.js,
		Tenants:   []pipeline.Tenant{{Name: s.lane.Tenant, Client: s.client}},
	})
	if err != nil {
		return 0, err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- worker.Run(ctx) }()
	if err := awaitStats(ctx, worker, ended, func(st pipeline.Stats) bool { return st.Ready }); err != nil {
		return 0, err
	}
	ready := time.Now()
	err = awaitStats(ctx, worker, ended, func(st pipeline.Stats) bool { return st.Outcomes[pipeline.StatusAccepted] == workerItems })
	took := time.Since(ready)
	if err != nil {
		return 0, err
	}
	stop()
	return took, <-ended
}

func awaitStats(ctx context.Context, worker *pipeline.Worker, ended <-chan error, reached func(pipeline.Stats) bool) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !reached(worker.Stats()) {
		select {
		case <-tick.C:
		case err := <-ended:
			return errors.Join(errors.New("the worker has ended early"), err)
		case <-ctx.Done():
			return fmt.Errorf("%+v: %w", worker.Stats(), context.Cause(ctx))
		}
	}
	return nil
}
