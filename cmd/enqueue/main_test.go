package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"waybill/cmd/internal/cli"
	"waybill/pipeline"
	"waybill/pipeline/embedded"
)

func TestMain(m *testing.M) {
	testscript.Main(leakChecked{m}, map[string]func(){"enqueue": main})
}

// leakChecked runs the tests and fails if they leave goroutines behind.
type leakChecked struct{ m *testing.M }

func (l leakChecked) Run() int {
	code := l.m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// The scripts run the real main as a process.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{Dir: "testdata/script"})
}

// installation is a NATS server with waybill's streams, and no worker.
type installation struct {
	url      string
	js       jetstream.JetStream
	topology pipeline.Topology
}

func newInstallation(t *testing.T) *installation {
	t.Helper()
	server, err := embedded.Start(embedded.Options{Listen: true, Port: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	nc, err := server.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if err := pipeline.Provision(t.Context(), js, pipeline.Topology{}); err != nil {
		t.Fatal(err)
	}
	return &installation{url: server.URL(), js: js}
}

// result is what a command printed and how it ended.
type result struct {
	stdout, stderr string
	code           int
}

// run runs enqueue inside this process against the installation.
func (i *installation) run(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	return run(stdin, append(args, "--nats-url", i.url)...)
}

// run runs enqueue inside this process.
func run(stdin string, args ...string) result {
	root := newRoot()
	var stdout bytes.Buffer
	stderr := lineCounter{done: func() {}} // what NATS reports is logged beside what the command says
	root.SetIn(strings.NewReader(stdin))
	root.SetOut(&stdout)
	root.SetErr(&stderr)
	code := cli.Run(root, args)
	return result{stdout.String(), stderr.String(), code}
}

// want checks the exit code and what standard error says.
func (r result) want(t *testing.T, code cli.Code, says ...string) {
	t.Helper()
	if r.code != int(code) {
		t.Errorf("exit code %d, want %d", r.code, code)
	}
	for _, s := range says {
		if !strings.Contains(r.stderr, s) {
			t.Errorf("standard error does not say %q", s)
		}
	}
	if t.Failed() {
		t.Logf("standard output:\n%s\nstandard error:\n%s", r.stdout, r.stderr)
	}
}

// requests gives the bodies of all requests in the stream.
func (i *installation) requests(t *testing.T) []*nats.Msg {
	t.Helper()
	stream, err := i.js.Stream(t.Context(), i.topology.RequestsStream())
	if err != nil {
		t.Fatal(err)
	}
	var messages []*nats.Msg
	for sequence := uint64(1); sequence <= stream.CachedInfo().State.LastSeq; sequence++ {
		raw, err := stream.GetMsg(t.Context(), sequence)
		if err != nil {
			t.Fatal(err)
		}
		messages = append(messages, &nats.Msg{Subject: raw.Subject, Header: raw.Header, Data: raw.Data})
	}
	return messages
}

// keysOf gives the keys of requests.
func keysOf(t *testing.T, messages []*nats.Msg) []string {
	t.Helper()
	var keys []string
	for _, msg := range messages {
		r, err := pipeline.DecodeRequest(msg.Data)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, r.Key)
	}
	return keys
}

// The lane as a producer types it, and as Orchestrator spells it.
var (
	typed     = pipeline.Lane{Tenant: "Default", Folder: "-", Kind: pipeline.KindItem, Name: "invoices"}
	canonical = pipeline.Lane{Tenant: "Default", Folder: "Shared", Kind: pipeline.KindItem, Name: "Invoices"}
)

// bind does what a worker does when it first serves a lane: it writes down
// what the lane is in Orchestrator's spelling.
func (i *installation) bind(ctx context.Context) error {
	kv, err := i.js.KeyValue(ctx, i.topology.ControlBucket())
	if err != nil {
		return err
	}
	value, err := json.Marshal(map[string]any{"lane": canonical, "boundAt": time.Now()})
	if err != nil {
		return err
	}
	for _, typed := range []string{"-", "shared"} {
		_, put := kv.Put(ctx, "lanes.Default."+typed+".items.invoices", value)
		err = errors.Join(err, put)
	}
	return err
}

// settle publishes a final outcome for a request, as a worker would.
func (i *installation) settle(ctx context.Context, lane pipeline.Lane, r pipeline.Request, status pipeline.Status) error {
	hash, err := r.PayloadHash(lane)
	if err != nil {
		return err
	}
	o := pipeline.Outcome{
		Key: r.Key, Generation: 1, Kind: lane.Kind, Tenant: lane.Tenant, Folder: lane.Folder, Queue: lane.Name,
		Stage: pipeline.StageFinal, Status: status, PayloadHash: hash, Item: &pipeline.ItemResult{ID: 4711}, Attempts: 1, DecidedBy: pipeline.ByAnswer,
		FinishedAt: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC),
	}
	if lane.Kind == pipeline.KindJob {
		o.Queue, o.Process, o.Item = "", lane.Name, nil
	}
	if status == pipeline.StatusRejected {
		o.Error = &pipeline.OutcomeError{Kind: "rejected", Message: "queue does not exist"}
	}
	body, err := json.Marshal(o)
	if err != nil {
		return err
	}
	_, err = i.js.Publish(ctx, i.topology.OutcomeSubject(lane, r.Key, pipeline.StageFinal), body)
	return err
}

// work stands in for a worker: it settles every request that comes until the
// test ends.
func (i *installation) work(t *testing.T, status pipeline.Status) {
	t.Helper()
	if err := i.bind(t.Context()); err != nil {
		t.Fatal(err)
	}
	consumer, err := i.js.OrderedConsumer(t.Context(), i.topology.RequestsStream(), jetstream.OrderedConsumerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	work, err := consumer.Consume(func(msg jetstream.Msg) {
		r, err := pipeline.DecodeRequest(msg.Data())
		if err == nil {
			err = i.settle(t.Context(), canonical, r, status)
		}
		if err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		work.Stop()
		<-work.Closed()
	})
}
