package pipeline_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"waybill/pipeline"
	"waybill/pipeline/embedded/servertest"
)

func TestInspect(t *testing.T) {
	t.Parallel()
	js, _ := servertest.JetStream(t)
	topology := pipeline.Topology{Prefix: "acme"}
	missing := func(states []pipeline.StreamState) (names []string) {
		for _, s := range states {
			if s.Missing() {
				names = append(names, s.Name)
			}
		}
		return names
	}
	all := []string{"ACME_REQUESTS", "ACME_LEDGER", "ACME_DEADLETTERS", "KV_ACME_CONTROL"}
	if diff := cmp.Diff(all, missing(pipeline.Inspect(t.Context(), js, topology))); diff != "" {
		t.Errorf("missing (-want +got):\n%s", diff)
	}
	err := pipeline.CheckTopology(t.Context(), js, topology)
	for _, name := range all {
		want := "stream " + name + " is missing: run `worker run` once without --provision=false"
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to say %q", err, want)
		}
	}
	if !errors.Is(err, jetstream.ErrStreamNotFound) || strings.Contains(err.Error(), "API error") {
		t.Errorf("got %v, want what JetStream says, in words", err)
	}
	if err := pipeline.Provision(t.Context(), js, topology); err != nil {
		t.Fatal(err)
	}
	states := pipeline.Inspect(t.Context(), js, topology)
	if got := missing(states); got != nil {
		t.Errorf("missing: %v", got)
	}
	for _, s := range states {
		if s.Info == nil || s.Differences != nil {
			t.Errorf("%s: %v, %v", s.Name, s.Err, s.Differences)
		}
	}
	if err := pipeline.CheckTopology(t.Context(), js, topology); err != nil {
		t.Error(err)
	}
}

func TestInspectDifferences(t *testing.T) {
	t.Parallel()
	js, _ := servertest.JetStream(t)
	if err := pipeline.Provision(t.Context(), js, pipeline.Topology{}); err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), "UIPATH_LEDGER")
	if err != nil {
		t.Fatal(err)
	}
	cfg := stream.CachedInfo().Config
	cfg.MaxAge, cfg.AllowDirect = time.Hour, false
	if _, err := js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	want := []*pipeline.DifferenceError{
		{Stream: "UIPATH_LEDGER", Setting: "max age", Have: "1h0m0s", Want: "0s"},
		{Stream: "UIPATH_LEDGER", Setting: "allow direct get", Have: "false", Want: "true"},
	}
	got := pipeline.Inspect(t.Context(), js, pipeline.Topology{})[1].Differences
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if d, ok := errors.AsType[*pipeline.DifferenceError](pipeline.CheckTopology(t.Context(), js, pipeline.Topology{})); !ok || *d != *want[0] {
		t.Errorf("got %v", d)
	}
}

func TestBacklogs(t *testing.T) {
	t.Parallel()
	js, _ := servertest.JetStream(t)
	ctx := t.Context()
	if err := pipeline.Provision(ctx, js, pipeline.Topology{}); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := js.Publish(ctx, "uipath.requests.Default.-.items.Invoices", nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := js.Publish(ctx, "uipath.requests.Default.-.jobs.Pay%20invoices", nil); err != nil {
		t.Fatal(err)
	}
	// Somebody's own consumer says nothing of what is settled.
	if _, err := js.CreateConsumer(ctx, "UIPATH_REQUESTS", jetstream.ConsumerConfig{Durable: "mine", FilterSubject: "uipath.requests.Default.-.items.Invoices"}); err != nil {
		t.Fatal(err)
	}
	got, err := pipeline.Backlogs(ctx, js, pipeline.Topology{})
	if err != nil {
		t.Fatal(err)
	}
	lane := pipeline.Lane{Tenant: "Default", Folder: "-", Kind: pipeline.KindItem, Name: "Invoices"}
	want := []pipeline.Backlog{
		{Lane: lane, Subject: "uipath.requests.Default.-.items.Invoices", Waiting: 3},
		{Lane: pipeline.Lane{Tenant: "Default", Folder: "-", Kind: pipeline.KindJob, Name: "Pay invoices"}, Subject: "uipath.requests.Default.-.jobs.Pay%20invoices", Waiting: 1},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Of what is tried, nothing comes: each message is sent, and all is as before.
func TestTrialsChangeNothing(t *testing.T) {
	t.Parallel()
	js, _ := servertest.JetStream(t)
	nc := js.Conn()
	ctx := t.Context()
	topology := pipeline.Topology{}
	state := func() (states []string) {
		for _, s := range pipeline.Inspect(ctx, js, topology) {
			if s.Info != nil {
				states = append(states, fmt.Sprint(s.Name, s.Info.State, s.Info.Config))
			}
		}
		return states
	}
	try := func() {
		t.Helper()
		before := state()
		for _, trial := range topology.Trials(pipeline.Inspect(ctx, js, topology), true) {
			msg := trial.Message
			answer, err := nc.RequestMsg(msg, 5*time.Second)
			switch {
			case errors.Is(err, nats.ErrNoResponders): // nobody is there, as nobody should
			case err != nil:
				t.Errorf("%s: %v", msg.Subject, err)
			case !refused(answer) && !strings.HasPrefix(msg.Subject, "$JS.API.CONSUMER.LIST."):
				t.Errorf("%s was not refused: %s %v", msg.Subject, answer.Data, answer.Header)
			}
		}
		if after := state(); !slices.Equal(before, after) {
			t.Errorf("before:\n%v\nafter:\n%v", before, after)
		}
	}
	try() // the making of streams is tried
	if err := pipeline.Provision(ctx, js, topology); err != nil {
		t.Fatal(err)
	}
	try()
	if _, err := js.Publish(ctx, "uipath.requests.Default.-.items.Invoices", nil); err != nil {
		t.Fatal(err)
	}
	try()
}

// refused tells an answer that is an error, of the API or of a direct get.
func refused(m *nats.Msg) bool {
	return strings.Contains(string(m.Data), `"error":{`) || m.Header.Get("Status") == "404"
}
