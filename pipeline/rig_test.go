package pipeline_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"waybill/orchestrator"
	"waybill/orchestrator/simulator"
	"waybill/pipeline"
	"waybill/pipeline/embedded"
)

// rig is a whole installation in one process: JetStream, an Orchestrator, and
// as many workers as a test starts.
type rig struct {
	t         *testing.T
	server    *embedded.Server
	js        jetstream.JetStream
	simulator *simulator.Server
	publisher *pipeline.Publisher
	topology  pipeline.Topology

	// admin and worker are the NATS users of the rig itself and of its workers,
	// where there are accounts.
	admin, worker string
	tolerant      bool   // of workers that do not start
	deafen        func() // ends the collecting of outcomes

	mu       sync.Mutex
	outcomes map[string][]pipeline.Outcome // by scope and key, as they came
	denied   []string                      // what NATS did not allow somebody
}

var (
	uniqueItems = pipeline.Lane{Tenant: "Default", Folder: "Shared", Kind: pipeline.KindItem, Name: "Unique"}
	plainItems  = pipeline.Lane{Tenant: "Default", Folder: "Shared", Kind: pipeline.KindItem, Name: "Plain"}
	jobs        = pipeline.Lane{Tenant: "Default", Folder: "Shared", Kind: pipeline.KindJob, Name: "Pay invoices"}
)

// inBubble runs a test in fake time.
func inBubble(t *testing.T, cfg simulator.Config, f func(*testing.T, *rig)) {
	t.Helper()
	release := embedded.OutsideBubble()
	defer release()
	synctest.Test(t, func(t *testing.T) { f(t, newRig(t, cfg)) })
}

func newRig(t *testing.T, cfg simulator.Config) *rig {
	t.Helper()
	return newRigWith(t, cfg, "")
}

// newRigWith is newRig with accounts, of which one has a user admin.
func newRigWith(t *testing.T, cfg simulator.Config, accounts string) *rig {
	t.Helper()
	server, err := embedded.Start(embedded.Options{StoreDir: t.TempDir(), Accounts: accounts})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second) // what the server was about to write down sleeps for a moment more, in fake time
	})
	r := &rig{t: t, server: server, simulator: simulator.New(cfg), outcomes: make(map[string][]pipeline.Outcome)}
	if accounts != "" {
		r.admin, r.worker = "admin", "worker"
	}
	t.Cleanup(r.simulator.Close)
	r.simulator.AddFolder("Shared")
	for _, q := range []simulator.Queue{{Name: "Unique", Unique: true}, {Name: "Plain"}} {
		if _, err := r.simulator.AddQueue("Shared", q); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.simulator.AddRelease("Shared", "Pay invoices"); err != nil {
		t.Fatal(err)
	}
	r.js = r.connect()
	if err := pipeline.Provision(t.Context(), r.js, r.topology); err != nil {
		t.Fatal(err)
	}
	r.publisher = pipeline.NewPublisher(r.js, r.topology)
	r.collect()
	return r
}

func (r *rig) connect() jetstream.JetStream { return r.connectAs(r.admin) }

func (r *rig) connectAs(user string) jetstream.JetStream {
	r.t.Helper()
	opts := []nats.Option{nats.Timeout(10 * time.Second)}
	if user != "" {
		opts = append(opts, nats.UserInfo(user, "secret"), nats.CustomInboxPrefix("_INBOX_"+user), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.denied = append(r.denied, user+": "+err.Error())
		}))
	}
	nc, err := r.server.Connect(opts...)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(nc.Close)
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(16_384))
	if err != nil {
		r.t.Fatal(err)
	}
	return js
}

// collect gathers outcomes from now on.
func (r *rig) collect() {
	ctx, cancel := context.WithCancel(r.t.Context())
	ready := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		for o, err := range pipeline.Watch(ctx, r.js, r.topology, pipeline.OutcomeFilter{}, func() { close(ready) }) {
			if err != nil {
				r.t.Errorf("watch: %v", err)
				return
			}
			r.mu.Lock()
			name := o.Lane().String() + "/" + o.Key
			r.outcomes[name] = append(r.outcomes[name], o)
			r.mu.Unlock()
		}
	})
	<-ready
	r.deafen = func() { cancel(); done.Wait() }
	r.t.Cleanup(r.deafen)
}

// config is a worker's configuration for the rig.
func (r *rig) config() pipeline.Config {
	logger := slog.New(slog.DiscardHandler)
	if os.Getenv("WAYBILL_TEST_LOG") != "" {
		logger = slog.New(slog.NewTextHandler(r.t.Output(), nil))
	}
	return pipeline.Config{
		JetStream: r.connectAs(r.worker),
		Topology:  r.topology,
		Tenants:   []pipeline.Tenant{{Name: "Default", Client: r.client(r.simulator.RoundTripper()), DefaultFolder: orchestrator.FolderRef{Path: "Shared"}, ListReadsPerMinute: 90}},
		Logger:    logger,
	}
}

// client reaches the simulator by a transport.
func (r *rig) client(transport http.RoundTripper) *orchestrator.Client {
	r.t.Helper()
	client, err := orchestrator.New(orchestrator.Config{
		BaseURL:   "http://simulator/demo/Default/orchestrator_",
		Login:     orchestrator.ClientCredentials{ClientID: "id", ClientSecret: "secret"},
		Transport: transport,
		RetryFor:  -1,
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return client
}

// start runs a worker until the returned function is called, which waits for
// its end.
func (r *rig) start(cfg pipeline.Config) (stop func()) {
	r.t.Helper()
	w, err := pipeline.New(cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(r.t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil && !r.tolerant && !errors.Is(err, pipeline.ErrDrainTimeout) {
			r.t.Errorf("worker: %v", err)
		}
	})
	r.t.Cleanup(stop)
	return stop
}

func (r *rig) publish(lane pipeline.Lane, requests ...pipeline.Request) {
	r.t.Helper()
	receipts, err := r.publisher.PublishAll(r.t.Context(), lane, requests)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, receipt := range receipts {
		if receipt.Err != nil {
			r.t.Fatal(receipt.Err)
		}
	}
}

// publishRaw publishes a body as any NATS client might.
func (r *rig) publishRaw(subject, body string, headers ...string) uint64 {
	r.t.Helper()
	msg := nats.NewMsg(subject)
	msg.Data = []byte(body)
	for i := 0; i < len(headers); i += 2 {
		msg.Header.Set(headers[i], headers[i+1])
	}
	ack, err := r.js.PublishMsg(r.t.Context(), msg)
	if err != nil {
		r.t.Fatal(err)
	}
	return ack.Sequence
}

func item(key string, amount int) pipeline.Request {
	return pipeline.Request{Key: key, Item: json.RawMessage(fmt.Sprintf(`{"Priority":"Normal","SpecificContent":{"Amount":%d}}`, amount))}
}

func job(key string) pipeline.Request {
	return pipeline.Request{Key: key, Job: json.RawMessage(fmt.Sprintf(`{"InputArguments":{"in_Key":%q}}`, key))}
}

func items(n int) []pipeline.Request {
	requests := make([]pipeline.Request, n)
	for i := range requests {
		requests[i] = item(fmt.Sprintf("INV-%05d", i), i)
	}
	return requests
}

func someJobs(n int) []pipeline.Request {
	requests := make([]pipeline.Request, n)
	for i := range requests {
		requests[i] = job(fmt.Sprintf("run-%05d", i))
	}
	return requests
}

// finals gives the final outcomes of a key, repeats by Nats-Msg-Id dropped.
func (r *rig) finals(lane pipeline.Lane, key string) []pipeline.Outcome {
	r.mu.Lock()
	defer r.mu.Unlock()
	var finals []pipeline.Outcome
	for _, o := range r.outcomes[lane.String()+"/"+key] {
		if o.Stage == pipeline.StageFinal && !slices.ContainsFunc(finals, func(f pipeline.Outcome) bool { return f.Generation == o.Generation && f.Status == o.Status }) {
			finals = append(finals, o)
		}
	}
	return finals
}

// await waits until each key of the lane has a final outcome.
func (r *rig) await(lane pipeline.Lane, within time.Duration, requests ...pipeline.Request) {
	r.t.Helper()
	deadline := time.Now().Add(within)
	for {
		var missing []string
		for _, q := range requests {
			if len(r.finals(lane, q.Key)) == 0 {
				missing = append(missing, q.Key)
			}
		}
		if len(missing) == 0 {
			return
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("%s: %d of %d keys have no final outcome after %s: %s …", lane, len(missing), len(requests), within, strings.Join(missing[:min(5, len(missing))], " "))
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// final waits for the one final outcome of a key.
func (r *rig) final(lane pipeline.Lane, key string) pipeline.Outcome {
	r.t.Helper()
	r.await(lane, time.Hour, pipeline.Request{Key: key})
	finals := r.finals(lane, key)
	if len(finals) != 1 {
		r.t.Fatalf("%s: key %s has %d final outcomes, want 1: %+v", lane, key, len(finals), finals)
	}
	return finals[0]
}

// effects counts what Orchestrator holds for a key: the Reference is the key.
func (r *rig) effects(lane pipeline.Lane, key string) int {
	n := 0
	for _, e := range r.simulator.EffectsOf(key) {
		if e.Name == lane.Name {
			n++
		}
	}
	return n
}

// checkOnce holds the promise against what happened: one effect for each key
// that was accepted, none for the others, and one final outcome each.
func (r *rig) checkOnce(lane pipeline.Lane, requests []pipeline.Request) map[pipeline.Status]int {
	r.t.Helper()
	counts := make(map[pipeline.Status]int)
	for _, q := range requests {
		finals := r.finals(lane, q.Key)
		effects := r.effects(lane, q.Key)
		if len(finals) != 1 {
			r.t.Errorf("%s: key %s has %d final outcomes, want 1: %+v", lane, q.Key, len(finals), finals)
			continue
		}
		status := finals[0].Status
		counts[status]++
		want := 0
		if status == pipeline.StatusAccepted || status == pipeline.StatusSucceeded || status == pipeline.StatusFailed {
			want = 1
		}
		if effects > 1 || status != pipeline.StatusUnknown && effects != want {
			r.t.Errorf("%s: key %s is %s (by %s, %d attempts) and has %d effects, want %d", lane, q.Key, status, finals[0].DecidedBy, finals[0].Attempts, effects, want)
		}
	}
	return counts
}

// deadLetters gives the reasons of a lane's dead letters by request key.
func (r *rig) deadLetters(lane pipeline.Lane) map[string][]*jetstream.RawStreamMsg {
	r.t.Helper()
	stream, err := r.js.Stream(r.t.Context(), r.topology.DeadLettersStream())
	if err != nil {
		r.t.Fatal(err)
	}
	dead := make(map[string][]*jetstream.RawStreamMsg)
	for seq := uint64(1); seq <= stream.CachedInfo().State.LastSeq; seq++ {
		msg, err := stream.GetMsg(r.t.Context(), seq)
		if err != nil {
			r.t.Fatal(err)
		}
		if msg.Subject == r.topology.DeadLetterSubject(lane) {
			key := msg.Header.Get(pipeline.HeaderKey)
			dead[key] = append(dead[key], msg)
		}
	}
	return dead
}
