package pipeline_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
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
		{Role: pipeline.StreamLedger, Stream: "UIPATH_LEDGER", Setting: "max age", Have: "1h0m0s", Want: "0s", Flags: "--max-age=0s"},
		{Role: pipeline.StreamLedger, Stream: "UIPATH_LEDGER", Setting: "allow direct get", Have: "false", Want: "true", Flags: "--allow-direct"},
	}
	got := pipeline.Inspect(t.Context(), js, pipeline.Topology{})[1].Differences
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if d, ok := errors.AsType[*pipeline.DifferenceError](pipeline.CheckTopology(t.Context(), js, pipeline.Topology{})); !ok || *d != *want[0] {
		t.Errorf("got %v", d)
	}
}

// Whatever contradicts is found by those who start and by those who look, with
// what is to be done about it; and it can be changed where they say so.
func TestDifferences(t *testing.T) {
	t.Parallel()
	const stays = "NATS lets nobody change it: stop the workers, "
	const change = "change it, as an operator with --change-streams: `nats stream edit "
	for _, tt := range []struct {
		stream, setting string
		differ          func(*jetstream.StreamConfig)
		mend            string
	}{
		{"UIPATH_REQUESTS", "max age", func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour }, change + "UIPATH_REQUESTS --max-age=0s`"},
		{"UIPATH_REQUESTS", "retention", func(c *jetstream.StreamConfig) { c.Retention = jetstream.InterestPolicy }, change + "UIPATH_REQUESTS --retention=limits`"},
		{"UIPATH_REQUESTS", "subjects", func(c *jetstream.StreamConfig) { c.Subjects = []string{"uipath.requests.>"} }, change + "UIPATH_REQUESTS '--subjects=uipath.requests.*.*.items.*' '--subjects=uipath.requests.*.*.jobs.*'`"},
		{"UIPATH_REQUESTS", "discard policy", func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardOld }, change + "UIPATH_REQUESTS --discard=new`"},
		{"UIPATH_REQUESTS", "discard new per subject", func(c *jetstream.StreamConfig) { c.DiscardNewPerSubject, c.MaxMsgsPerSubject = true, 5 }, change + "UIPATH_REQUESTS --no-discard-per-subject`"},
		{"UIPATH_REQUESTS", "max messages per subject", func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 5 }, change + "UIPATH_REQUESTS --max-msgs-per-subject=-1`"},
		{"UIPATH_LEDGER", "max messages per subject", func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 5 }, change + "UIPATH_LEDGER --max-msgs-per-subject=1`"},
		{"UIPATH_LEDGER", "duplicate window", func(c *jetstream.StreamConfig) { c.Duplicates = time.Minute }, change + "UIPATH_LEDGER --dupe-window=100ms`"},
		{"UIPATH_DEADLETTERS", "allow direct get", func(c *jetstream.StreamConfig) { c.AllowDirect = false }, change + "UIPATH_DEADLETTERS --allow-direct`"},
		{"UIPATH_REQUESTS", "retention", func(c *jetstream.StreamConfig) { c.Retention = jetstream.WorkQueuePolicy }, stays + "and `nats stream rm UIPATH_REQUESTS`, which deletes all requests in it"},
		{"UIPATH_REQUESTS", "persist mode", asynchronous, stays + "and `nats stream rm UIPATH_REQUESTS`, which deletes all requests in it"},
		{"UIPATH_REQUESTS", "deny purge", func(c *jetstream.StreamConfig) { c.DenyPurge = true }, stays},
		{"UIPATH_REQUESTS", "allow message TTL", func(c *jetstream.StreamConfig) { c.AllowMsgTTL = true }, stays},
		{"UIPATH_REQUESTS", "allow atomic publish", func(c *jetstream.StreamConfig) { c.AllowAtomicPublish = true }, change + "UIPATH_REQUESTS --no-allow-batch`"},
		{"UIPATH_LEDGER", "persist mode", asynchronous, stays + "`nats stream backup UIPATH_LEDGER FOLDER`"},
		{"UIPATH_LEDGER", "allow atomic publish", asynchronous, stays},
		{"UIPATH_LEDGER", "allow message TTL", func(c *jetstream.StreamConfig) { c.AllowMsgTTL = false }, change + "UIPATH_LEDGER --allow-msg-ttl`"},
		{"UIPATH_LEDGER", "deny delete", func(c *jetstream.StreamConfig) { c.DenyDelete = true }, "never just remove it: what it holds keeps requests from being carried out twice"},
		{"UIPATH_LEDGER", "storage", func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage }, stays + "`nats stream backup UIPATH_LEDGER FOLDER`"},
		{"UIPATH_LEDGER", "sealed", func(c *jetstream.StreamConfig) { c.Sealed = true }, "in FILE (deny_delete and deny_purge too, which sealing has set); never just remove it"},
		{"UIPATH_LEDGER", "sources", func(c *jetstream.StreamConfig) { c.Sources = []*jetstream.StreamSource{{Name: "UIPATH_DEADLETTERS"}} }, change + "UIPATH_LEDGER --interactive`"},
		{"UIPATH_DEADLETTERS", "persist mode", asynchronous, stays + "and `nats stream rm UIPATH_DEADLETTERS`, which deletes all dead letters"},
		{"UIPATH_DEADLETTERS", "no ack", func(c *jetstream.StreamConfig) { c.NoAck = true }, change + "UIPATH_DEADLETTERS --ack`"},
		{"KV_UIPATH_CONTROL", "persist mode", asynchronous, stays + "and `nats kv del UIPATH_CONTROL`"},
		{"KV_UIPATH_CONTROL", "storage", func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage }, stays + "and `nats kv del UIPATH_CONTROL`"},
		{"KV_UIPATH_TOKENS", "persist mode", asynchronous, stays + "`nats kv del UIPATH_TOKENS`"},
		{"KV_UIPATH_TOKENS", "storage", func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage }, stays + "`nats kv del UIPATH_TOKENS`"},
	} {
		t.Run(tt.stream+" "+tt.setting+" "+tt.mend[:5], func(t *testing.T) {
			t.Parallel()
			js, _ := servertest.JetStream(t)
			right := remake(t, js, tt.stream, tt.differ)
			found := checks(t, js)[tt.setting]
			if found == nil || found.Stream != tt.stream || !strings.Contains(found.Error(), "stream "+tt.stream+": "+tt.setting+" is "+found.Have+", it must be "+found.Want+"; ") {
				t.Fatalf("got %v, want %s of %s found", found, tt.setting, tt.stream)
			}
			if mend := found.Mend(); !strings.Contains(mend, tt.mend) || strings.Contains(mend, "or remove") {
				t.Errorf("mend %q, want it to say %q", mend, tt.mend)
			}
			if _, err := js.UpdateStream(t.Context(), right); found.Permanent != (err != nil) {
				t.Errorf("changing it: %v, want an error: %v", err, found.Permanent)
			}
		})
	}
}

// A prefix may have characters that mean something to a shell.
func TestMendIsPasted(t *testing.T) {
	t.Parallel()
	d := pipeline.DifferenceError{Role: pipeline.StreamRequests, Stream: "A&ID_REQUESTS"}
	if want := "nats stream edit 'A&ID_REQUESTS'"; !strings.Contains(d.Mend(), want) {
		t.Errorf("got %s, want %s", d.Mend(), want)
	}
}

func asynchronous(c *jetstream.StreamConfig) {
	c.PersistMode, c.AllowAtomicPublish = jetstream.AsyncPersistMode, false // the server has it so
}

// remake makes all streams, and one of them anew with other settings. It gives
// those it had.
func remake(t *testing.T, js jetstream.JetStream, name string, differ func(*jetstream.StreamConfig)) jetstream.StreamConfig {
	t.Helper()
	ctx := t.Context()
	if err := errors.Join(pipeline.Provision(ctx, js, pipeline.Topology{}), pipeline.NewTokenBucket(js, pipeline.Topology{}).Provision(ctx)); err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	right := stream.CachedInfo().Config
	other := right
	differ(&other)
	if err := js.DeleteStream(ctx, name); err != nil {
		t.Fatal(err)
	}
	sealed := other.Sealed
	other.Sealed = false // one that is new cannot be
	if _, err := js.CreateStream(ctx, other); err != nil {
		t.Fatal(err)
	}
	if sealed {
		other.Sealed = true
		if _, err := js.UpdateStream(ctx, other); err != nil {
			t.Fatal(err)
		}
	}
	return right
}

// checks gives what is found by whoever looks, by setting. Those who start must
// find the same.
func checks(t *testing.T, js jetstream.JetStream) map[string]*pipeline.DifferenceError {
	t.Helper()
	tokens := pipeline.NewTokenBucket(js, pipeline.Topology{})
	_, _, getting := tokens.Get(t.Context(), "Default")
	looked := fmt.Sprint(pipeline.CheckTopology(t.Context(), js, pipeline.Topology{}))
	started := fmt.Sprint(pipeline.Provision(t.Context(), js, pipeline.Topology{}))
	if looked != started {
		t.Errorf("found by one who looks:\n%s\nby one who starts:\n%s", looked, started)
	}
	found := map[string]*pipeline.DifferenceError{}
	for _, s := range pipeline.Inspect(t.Context(), js, pipeline.Topology{}) {
		for _, d := range s.Differences {
			found[d.Setting] = d
		}
	}
	for _, err := range []error{tokens.Provision(t.Context()), getting} {
		if d, ok := errors.AsType[*pipeline.DifferenceError](err); ok {
			found[d.Setting] = d
		} else if err != nil && !errors.Is(err, pipeline.ErrNoToken) {
			t.Error(err)
		}
	}
	return found
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
		for _, s := range append(pipeline.Inspect(ctx, js, topology), pipeline.InspectTokens(ctx, js, topology)) {
			if s.Info != nil {
				states = append(states, fmt.Sprint(s.Name, s.Info.State, s.Info.Config))
			}
		}
		return states
	}
	try := func() {
		t.Helper()
		before := state()
		for _, trial := range topology.Trials(append(pipeline.Inspect(ctx, js, topology), pipeline.InspectTokens(ctx, js, topology)), true) {
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
	if err := pipeline.NewTokenBucket(js, topology).Provision(ctx); err != nil {
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

// All that a worker is granted is tried, or named as untried, and nothing else
// is: what is missing of the rest is found when it is needed.
func TestTrialsCoverTheRole(t *testing.T) {
	t.Parallel()
	topology := pipeline.Topology{Prefix: "acme"}
	js, _ := servertest.JetStream(t)
	look := func() []pipeline.StreamState {
		return append(pipeline.Inspect(t.Context(), js, topology), pipeline.InspectTokens(t.Context(), js, topology))
	}
	missing := look()
	if err := pipeline.Provision(t.Context(), js, topology); err != nil {
		t.Fatal(err)
	}
	if err := pipeline.NewTokenBucket(js, topology).Provision(t.Context()); err != nil {
		t.Fatal(err)
	}
	var tried []string
	for _, states := range [][]pipeline.StreamState{missing, look()} {
		for _, trial := range topology.Trials(states, true) {
			tried = append(tried, trial.Message.Subject)
		}
		for _, s := range states {
			tried = append(tried, "$JS.API.STREAM.INFO."+s.Name) // which the look asks for
		}
	}
	tried = append(tried, "$JS.API.INFO") // which doctor asks for
	granted, err := topology.Permissions(pipeline.RoleWorker, pipeline.Scope{Provision: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range granted.Publish {
		if !slices.Contains(topology.Untried(), p.Subject) && !slices.ContainsFunc(tried, func(subject string) bool { return server.SubjectsCollide(subject, p.Subject) }) {
			t.Errorf("%s (%s) is neither tried nor named as untried", p.Subject, p.Why)
		}
	}
	for _, subject := range append(tried, topology.Untried()...) {
		if !slices.ContainsFunc(granted.Publish, func(p pipeline.Permission) bool { return server.SubjectsCollide(subject, p.Subject) }) {
			t.Errorf("%s is tried or named, and not granted to a worker", subject)
		}
	}
}
