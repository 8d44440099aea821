package pipeline_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"waybill/orchestrator"
	"waybill/orchestrator/simulator"
	"waybill/pipeline"
	"waybill/pipeline/embedded"
)

// loopItems is how many items each side of BenchmarkLoop carries out in one
// round.
const loopItems = 20_000

// BenchmarkLoop measures what the promise costs: the worker against a bare
// loop that pulls, adds in bulk through the same client, publishes an outcome
// for each request and acks, and keeps no book of anything. Both run in every
// round, in turns the one first and then the other, each on a fresh server
// with file storage and a fresh simulator, so that what else the machine does
// strikes both. The ratio is what to go by.
//
//	go test -run '^$' -bench Loop -benchtime 1x ./pipeline
func BenchmarkLoop(b *testing.B) {
	var bare, whole loopResult
	round := 0
	for b.Loop() {
		order := []func(){
			func() { bare.add(runLoop(b, bareLoop)) },
			func() { whole.add(runLoop(b, wholeLoop)) },
		}
		order[round%2]()
		order[(round+1)%2]()
		round++
	}
	b.ReportMetric(0, "ns/op") // an op is a round; it says nothing
	b.ReportMetric(bare.rate(), "bare-items/s")
	b.ReportMetric(whole.rate(), "items/s")
	b.ReportMetric(whole.rate()/bare.rate(), "of-bare")
	b.ReportMetric(bare.callsPerThousand(), "bare-calls/1000items")
	b.ReportMetric(whole.callsPerThousand(), "calls/1000items")
}

// BenchmarkWorker is the worker's side of BenchmarkLoop alone, to take profiles
// of.
func BenchmarkWorker(b *testing.B) {
	var whole loopResult
	for b.Loop() {
		whole.add(runLoop(b, wholeLoop))
	}
	b.ReportMetric(0, "ns/op")
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

// stand is what a loop runs on.
type stand struct {
	js     jetstream.JetStream
	client *orchestrator.Client
	lane   pipeline.Lane
}

// runLoop has a loop carry out requests that are waiting for it, and counts
// the effects: a loop that loses or doubles some is not measured but failed.
// The loop says how long it took from when it was ready to pull.
func runLoop(b *testing.B, loop func(context.Context, stand) (time.Duration, error)) loopResult {
	b.Helper()
	sim := simulator.New(simulator.Config{Seed: 1})
	defer sim.Close()
	if _, err := sim.AddQueue("Shared", simulator.Queue{Name: "Invoices"}); err != nil {
		b.Fatal(err)
	}
	s, leave := newStand(b, sim)
	defer leave()
	publishLoop(b, s)
	runtime.GC() // what was published is not the loop's to clear away
	ctx, cancel := context.WithTimeout(b.Context(), 5*time.Minute)
	defer cancel()
	took, err := loop(ctx, s)
	if err != nil {
		b.Fatal(err)
	}
	if sum := sim.EffectCounts(); sum.Effects != loopItems || sum.Distinct != loopItems {
		b.Fatalf("%d effects, %d of them distinct, want %d", sum.Effects, sum.Distinct, loopItems)
	}
	calls := 0
	for _, n := range sim.Calls() {
		calls += n
	}
	return loopResult{items: loopItems, calls: calls, took: took}
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

// publishLoop fills the requests stream before the clock runs.
func publishLoop(b *testing.B, s stand) {
	b.Helper()
	if err := pipeline.Provision(b.Context(), s.js, pipeline.Topology{}); err != nil {
		b.Fatal(err)
	}
	requests := make([]pipeline.Request, loopItems)
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

// wholeLoop is the worker, from the moment it is ready until its last outcome
// is stored.
func wholeLoop(ctx context.Context, s stand) (time.Duration, error) {
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
	err = awaitStats(ctx, worker, ended, func(st pipeline.Stats) bool { return st.Outcomes[pipeline.StatusAccepted] == loopItems })
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

const (
	bareBulk     = 500
	bareInFlight = 16 // as the worker's default
)

// bareLoop does what must be done in any case, and nothing else: no claim, no
// check of the request but what sending it takes, no dealing with failures.
func bareLoop(ctx context.Context, s stand) (time.Duration, error) {
	_, err := s.js.CreateStream(ctx, jetstream.StreamConfig{Name: "BARE", Subjects: []string{"bare.outcomes"}})
	if err != nil {
		return 0, err
	}
	consumer, err := s.js.CreateConsumer(ctx, pipeline.Topology{}.RequestsStream(), jetstream.ConsumerConfig{
		Durable: "bare", AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: 40_000,
	})
	if err != nil {
		return 0, err
	}
	folder, err := s.client.Folder(ctx, orchestrator.FolderRef{Path: s.lane.Folder})
	if err != nil {
		return 0, err
	}
	ready := time.Now()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(bareInFlight)
	for pulled := 0; pulled < loopItems && ctx.Err() == nil; {
		messages, err := consumer.Fetch(bareBulk, jetstream.FetchMaxWait(time.Second))
		if err != nil {
			return 0, errors.Join(err, group.Wait())
		}
		var batch []jetstream.Msg
		for msg := range messages.Messages() {
			batch = append(batch, msg)
		}
		pulled += len(batch)
		group.Go(func() error { return bareBatch(ctx, s, folder, batch) })
	}
	err = group.Wait()
	return time.Since(ready), err
}

func bareBatch(ctx context.Context, s stand, folder orchestrator.Folder, batch []jetstream.Msg) error {
	bulk := orchestrator.BulkAddQueueItemsRequest{QueueName: s.lane.Name, CommitType: orchestrator.ProcessAllIndependently}
	for _, msg := range batch {
		var request struct {
			Key  string `json:"key"`
			Item struct {
				Priority        string          `json:"Priority"`
				SpecificContent json.RawMessage `json:"SpecificContent"`
			} `json:"item"`
		}
		if err := json.Unmarshal(msg.Data(), &request); err != nil {
			return err
		}
		bulk.QueueItems = append(bulk.QueueItems, orchestrator.QueueItemData{
			Reference: request.Key, Priority: request.Item.Priority, SpecificContent: request.Item.SpecificContent,
		})
	}
	answer, err := s.client.BulkAddQueueItems(ctx, folder, bulk)
	if err != nil {
		return err
	}
	if len(answer.FailedItems) > 0 {
		return fmt.Errorf("%d items refused", len(answer.FailedItems))
	}
	acks := make([]jetstream.PubAckFuture, len(batch))
	for i := range batch {
		outcome := nats.NewMsg("bare.outcomes")
		if outcome.Data, err = json.Marshal(map[string]string{"key": bulk.QueueItems[i].Reference, "status": "accepted"}); err != nil {
			return err
		}
		if acks[i], err = s.js.PublishMsgAsync(outcome); err != nil {
			return err
		}
	}
	for i, ack := range acks {
		select {
		case <-ack.Ok():
		case err := <-ack.Err():
			return err
		}
		if err := batch[i].Ack(); err != nil {
			return err
		}
	}
	return nil
}
