package doctor_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"waybill/cmd/internal/cli"
	"waybill/cmd/internal/doctor"
	"waybill/pipeline"
)

func TestStreamsMissing(t *testing.T) {
	t.Parallel()
	s, _ := installation(t)
	findings := look(t, s)
	expect(t, findings, doctor.OK, "stream UIPATH_LEDGER", "missing: worker run makes it")
	expect(t, findings, doctor.OK, "rights", "all 5 that were tried are granted")
	s.Topology.Replicas = 3
	expect(t, look(t, s), doctor.Fail, "stream UIPATH_LEDGER", "cannot make it with 3 replicas")
	s.Topology.Replicas, s.Provision = 0, false
	findings = look(t, s)
	expect(t, findings, doctor.Fail, "stream KV_UIPATH_CONTROL", "nobody makes it")
	if got := code(findings); got != cli.ExitUsage {
		t.Errorf("got exit code %d", got)
	}
}

// Where some streams are there it is no first start.
func TestStreamsPartlyMissing(t *testing.T) {
	t.Parallel()
	s, js := installation(t)
	provision(t, js)
	for _, test := range []struct{ stream, mend string }{
		{"UIPATH_REQUESTS", "publish again what waited in it"},
		{"KV_UIPATH_CONTROL", "lanes are bound anew"},
		{"UIPATH_LEDGER", "before a worker is started: without what it holds, requests that were carried out before may be carried out again"},
	} {
		if err := js.DeleteStream(t.Context(), test.stream); err != nil {
			t.Fatal(err)
		}
		const found = "missing, and other streams of the installation are there: worker run makes it anew, and empty -> if it was removed: restore it from a backup"
		findings := look(t, s)
		expect(t, findings, doctor.Warn, "stream "+test.stream, found)
		expect(t, findings, doctor.Warn, "stream "+test.stream, test.mend)
	}
	s.Provision = false
	expect(t, look(t, s), doctor.Fail, "stream UIPATH_LEDGER", "nobody makes it -> if it was removed: restore it from a backup")
	s.Provision, s.Tokens = true, true
	if err := js.DeleteStream(t.Context(), "UIPATH_DEADLETTERS"); err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "UIPATH_TOKENS"}); err != nil {
		t.Fatal(err)
	}
	expect(t, look(t, s), doctor.OK, "stream UIPATH_LEDGER", "missing: worker run makes it")
}

func TestStreamsContradict(t *testing.T) {
	t.Parallel()
	s, js := installation(t)
	_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: "UIPATH_REQUESTS", Subjects: []string{"uipath.requests.>"}, MaxAge: time.Hour, Discard: jetstream.DiscardNew, Duplicates: 100 * time.Millisecond, AllowDirect: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "UIPATH_CONTROL", Storage: jetstream.MemoryStorage}); err != nil {
		t.Fatal(err)
	}
	findings := look(t, s)
	expect(t, findings, doctor.Fail, "stream UIPATH_REQUESTS", "max age is 1h0m0s, it must be 0s -> change it, as an operator with --change-streams: `nats stream edit UIPATH_REQUESTS --max-age=0s`")
	expect(t, findings, doctor.Fail, "stream UIPATH_REQUESTS", "subjects is uipath.requests.>, it must be")
	expect(t, findings, doctor.Fail, "stream KV_UIPATH_CONTROL", "storage is Memory, it must be File -> NATS lets nobody change it: stop the workers, and `nats kv del UIPATH_CONTROL`")
	if got := len(failures(findings, "NATS")); got != 3 {
		t.Errorf("got %d failures, want a line for each of three differences", got)
	}
	if got := code(findings); got != cli.ExitUsage {
		t.Errorf("got exit code %d", got)
	}
}

// What is looked at stays what it is: no message comes, no consumer stays.
func TestNATSIsNotChanged(t *testing.T) {
	t.Parallel()
	s, js := installation(t)
	provision(t, js)
	state := func() (states []string) {
		for _, seen := range pipeline.Inspect(t.Context(), js, pipeline.Topology{}) {
			states = append(states, fmt.Sprint(seen.Name, seen.Info.State.LastSeq, seen.Info.State.Msgs, seen.Info.State.Consumers, seen.Info.Config))
		}
		info, err := js.AccountInfo(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return append(states, fmt.Sprint(info.Streams, info.Consumers, info.Store))
	}
	before := state()
	expect(t, look(t, s), doctor.OK, "rights", "all 18 that were tried are granted")
	if after := state(); !slices.Equal(before, after) {
		t.Errorf("before:\n%v\nafter:\n%v", before, after)
	}
}

func TestWaiting(t *testing.T) {
	t.Parallel()
	s, js := installation(t)
	provision(t, js)
	ctx := t.Context()
	publish := func(subject string) {
		t.Helper()
		if _, err := js.Publish(ctx, subject, []byte(`{}`)); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		publish("uipath.requests.Elsewhere.-.items.Invoices")
	}
	publish("uipath.requests.Default.-.items.Invoices")
	publish("uipath.deadletters.Default.-.items.Invoices")
	findings := look(t, s)
	expect(t, findings, doctor.Warn, "requests waiting", "3 requests wait for tenant Elsewhere, which these settings do not have")
	expect(t, findings, doctor.Warn, "requests waiting", "only if nobody wants them: nats stream purge UIPATH_REQUESTS --subject 'uipath.requests.Elsewhere.>' (this deletes them)")
	expect(t, findings, doctor.Warn, "requests waiting", "4 in all, and no worker takes any just now -> start `worker run`")
	expect(t, findings, doctor.Warn, "dead letters", "1 request has come to nothing")
	if got := code(findings); got != cli.ExitOK {
		t.Errorf("got exit code %d", got)
	}
	s.TenantsUnknown, s.Tenants = true, nil
	findings = look(t, s)
	expect(t, findings, doctor.Skip, "requests waiting", "4 in all; for whom cannot be judged without the tenants -> correct the settings first")
	for _, f := range findings {
		if strings.Contains(f.Mend, "purge") {
			t.Errorf("it says to remove what nobody can judge: %s", f)
		}
	}
}

// A tenant whose name is spelled in another way than names are can be served by
// nobody.
func TestWaitingUnderAMisspeltSubject(t *testing.T) {
	t.Parallel()
	s, js := installation(t)
	provision(t, js)
	s.Tenants = []string{"We ird's"}
	for _, token := range []string{"We%20ird%27s", "We%20ird's", "a%2fb", "%GG", "c%2fd", "e%2ff"} {
		if _, err := js.Publish(t.Context(), "uipath.requests."+token+".-.items.Invoices", []byte(`{}`)); err != nil {
			t.Fatal(err)
		}
	}
	findings := look(t, s)
	expect(t, findings, doctor.Warn, "requests waiting", "1 request waits that nobody can take: subject \"uipath.requests.%GG.-.items.Invoices\" is misspelt: tenant \"%GG\": % must be followed by two upper-case hex digits, a percent sign itself is %25 -> publish them anew under a subject that is right; and then: nats stream purge")
	expect(t, findings, doctor.Warn, "requests waiting", "tenant \"We%20ird%27s\": spell it We%20ird's; write \"uipath.requests.We%20ird's.-.items.Invoices\" -> publish them anew under that subject; and then: nats stream purge UIPATH_REQUESTS --subject uipath.requests.We%20ird%27s.-.items.Invoices (this deletes them)")
	expect(t, findings, doctor.Warn, "requests waiting", "under 2 other subjects that are misspelt")
	expect(t, findings, doctor.Warn, "requests waiting", "6 in all, and no worker takes any just now")
	for _, f := range findings {
		if strings.Contains(f.Mend, "serve the tenant") {
			t.Errorf("nobody can serve it: %s", f)
		}
	}
}

// laneOf is a lane's consumer, by which it is known, as workers make it.
func laneOf(t *testing.T, js jetstream.JetStream, lane pipeline.Lane, ackWait time.Duration) jetstream.Consumer {
	t.Helper()
	subject := pipeline.Topology{}.RequestSubject(lane)
	sum := sha256.Sum256([]byte(subject))
	consumer, err := js.CreateConsumer(t.Context(), "UIPATH_REQUESTS", jetstream.ConsumerConfig{
		Durable:       fmt.Sprintf("%s_%ss_%s_%s", lane.Tenant, lane.Kind, lane.Name, hex.EncodeToString(sum[:4])),
		FilterSubject: subject, AckPolicy: jetstream.AckExplicitPolicy, AckWait: ackWait,
	})
	if err != nil {
		t.Fatal(err)
	}
	return consumer
}

// pull waits for a request in a lane for the rest of the test, as a worker does.
func pull(t *testing.T, consumer jetstream.Consumer) {
	t.Helper()
	batch, err := consumer.Fetch(1, jetstream.FetchContext(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for range batch.Messages() { // the pull ends with the test
		}
	})
	for range 100 {
		info, err := consumer.Info(t.Context())
		if err == nil && info.NumWaiting > 0 {
			return
		}
		<-time.After(10 * time.Millisecond)
	}
	t.Fatal("the pull has not come")
}

// Each lane is judged by itself: another's worker serves none of ours.
func TestWaitingByLane(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	lane := func(tenant, queue string) pipeline.Lane {
		return pipeline.Lane{Tenant: tenant, Folder: "-", Kind: pipeline.KindItem, Name: queue}
	}
	publish := func(t *testing.T, js jetstream.JetStream, n int, tenant, queue string) {
		t.Helper()
		for range n {
			if _, err := js.Publish(t.Context(), pipeline.Topology{}.RequestSubject(lane(tenant, queue)), []byte(`{}`)); err != nil {
				t.Fatal(err)
			}
		}
	}
	fetch := func(t *testing.T, consumer jetstream.Consumer, n int) (messages []jetstream.Msg) {
		t.Helper()
		batch, err := consumer.FetchNoWait(n)
		if err != nil {
			t.Fatal(err)
		}
		for msg := range batch.Messages() {
			messages = append(messages, msg)
		}
		if len(messages) != n {
			t.Fatalf("got %d requests, want %d", len(messages), n)
		}
		return messages
	}
	for name, test := range map[string]struct {
		happens func(*testing.T, jetstream.JetStream)
		mark    doctor.Mark
		text    string
	}{
		"another tenant's pull": {func(t *testing.T, js jetstream.JetStream) {
			publish(t, js, 1, "Default", "A")
			laneOf(t, js, lane("Default", "A"), day)
			publish(t, js, 1, "Other", "B")
			other := laneOf(t, js, lane("Other", "B"), day)
			fetch(t, other, 1)
			pull(t, other)
		}, doctor.Warn, "2 in all, and no worker takes any just now -> start"},
		"another tenant's two lanes": {func(t *testing.T, js jetstream.JetStream) {
			publish(t, js, 1, "Other", "A")
			publish(t, js, 1, "Other", "B")
			fetch(t, laneOf(t, js, lane("Other", "B"), day), 1)
		}, doctor.OK, "2 in all"},
		"a batch in hand": {func(t *testing.T, js jetstream.JetStream) {
			publish(t, js, 3, "Default", "A")
			fetch(t, laneOf(t, js, lane("Default", "A"), day), 2)
		}, doctor.OK, "3 in all"},
		"between two batches": {func(t *testing.T, js jetstream.JetStream) {
			publish(t, js, 2, "Default", "A")
			if err := fetch(t, laneOf(t, js, lane("Default", "A"), day), 1)[0].DoubleAck(t.Context()); err != nil {
				t.Fatal(err)
			}
		}, doctor.OK, "1 in all"},
		"a killed worker's batch": {func(t *testing.T, js jetstream.JetStream) {
			publish(t, js, 3, "Default", "A")
			fetch(t, laneOf(t, js, lane("Default", "A"), 10*time.Millisecond), 2)
			<-time.After(300 * time.Millisecond)
		}, doctor.Warn, "3 in all, and no worker takes any just now; 2 were delivered some time ago and not settled"},
		"one of two lanes": {func(t *testing.T, js jetstream.JetStream) {
			publish(t, js, 2, "Default", "A")
			publish(t, js, 1, "Default", "B")
			fetch(t, laneOf(t, js, lane("Default", "B"), day), 1)
		}, doctor.Warn, "3 in all, and no worker takes the 2 of Default:-:items:A just now ->"},
		"paused": {func(t *testing.T, js jetstream.JetStream) {
			publish(t, js, 2, "Default", "A")
			consumer := laneOf(t, js, lane("Default", "A"), day)
			if _, err := js.PauseConsumer(t.Context(), "UIPATH_REQUESTS", consumer.CachedInfo().Name, time.Now().Add(time.Hour)); err != nil {
				t.Fatal(err)
			}
		}, doctor.OK, "2 in all, 2 of them in paused lanes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, js := installation(t)
			provision(t, js)
			test.happens(t, js)
			expect(t, look(t, s), test.mark, "requests waiting", test.text)
		})
	}
}

// Whoever may publish chooses a tenant's name, and must not choose what the
// operator's shell does.
func TestPurgeIsQuoted(t *testing.T) {
	t.Parallel()
	s, js := installation(t)
	provision(t, js)
	for _, tenant := range []string{"a';touch${IFS}pwned;'", "b\x1b[201~", "c\u202e"} {
		if _, err := js.Publish(t.Context(), "uipath.requests."+tenant+".-.items.q", []byte(`{}`)); err != nil {
			t.Fatal(err)
		}
	}
	findings := look(t, s)
	expect(t, findings, doctor.Warn, "requests waiting", "remove what is on the subjects \"uipath.requests.b\\x1b[201~.-.items.q\"")
	expect(t, findings, doctor.Warn, "requests waiting", "remove what is on the subjects \"uipath.requests.c\\u202e.>\"")
	args := filepath.Join(t.TempDir(), "args")
	for _, f := range findings {
		_, command, found := strings.Cut(f.Mend, "if nobody wants them: nats ")
		if !found {
			continue
		}
		script := `nats() { printf '%s\n' "$@" > ` + args + `; }; nats ` + strings.TrimSuffix(command, " (this deletes them)")
		cmd := exec.CommandContext(t.Context(), "sh", "-c", script)
		cmd.Dir = t.TempDir()
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", script, err, out)
		}
		if left, err := os.ReadDir(cmd.Dir); err != nil || len(left) > 0 {
			t.Errorf("%s left %v (%v)", script, left, err)
		}
	}
	got, err := os.ReadFile(args)
	if want := "stream\npurge\nUIPATH_REQUESTS\n--subject\nuipath.requests.a';touch${IFS}pwned;'.>\n"; err != nil || string(got) != want {
		t.Errorf("the shell reads %q (%v), want %q", got, err, want)
	}
}

// A lane is known by the consumer that workers make for it.
func TestPaused(t *testing.T) {
	t.Parallel()
	s, js := installation(t)
	provision(t, js)
	ctx := t.Context()
	lane := pipeline.Lane{Tenant: "Default", Folder: "-", Kind: pipeline.KindItem, Name: "Invoices"}
	name := laneOf(t, js, lane, time.Minute).CachedInfo().Name
	if _, err := js.PauseConsumer(ctx, "UIPATH_REQUESTS", name, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	expect(t, look(t, s), doctor.Warn, "paused lanes", "and 0 requests wait -> nats consumer resume UIPATH_REQUESTS "+name)
}

// The bucket of logins is looked at where logins are kept there.
func TestTokensBucket(t *testing.T) {
	t.Parallel()
	s, js := installation(t)
	provision(t, js)
	s.Tokens = true
	findings := look(t, s)
	expect(t, findings, doctor.OK, "stream KV_UIPATH_TOKENS", "missing: worker login makes it")
	if _, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "UIPATH_TOKENS", Storage: jetstream.MemoryStorage}); err != nil {
		t.Fatal(err)
	}
	s.Topology.Replicas = 3
	findings = look(t, s)
	expect(t, findings, doctor.Fail, "stream KV_UIPATH_TOKENS", "storage is Memory, it must be File -> NATS lets nobody change it")
	expect(t, findings, doctor.Warn, "stream KV_UIPATH_TOKENS", "1 replica, and the setting replicas says 3")
	expect(t, findings, doctor.OK, "rights", "all 20 that were tried are granted")
}

func TestLedgerLost(t *testing.T) {
	t.Parallel()
	s, js := installation(t)
	provision(t, js)
	kv, err := js.KeyValue(t.Context(), "UIPATH_CONTROL")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.PutString(t.Context(), "lanes.Default.Shared.items.Invoices", "{}"); err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteStream(t.Context(), "UIPATH_LEDGER"); err != nil {
		t.Fatal(err)
	}
	findings := look(t, s)
	expect(t, findings, doctor.Fail, "stream UIPATH_LEDGER", "restore it from a backup")
}

func TestRoomAndReplicas(t *testing.T) {
	t.Parallel()
	s, js := installation(t)
	provision(t, js)
	stream, err := js.Stream(t.Context(), "UIPATH_REQUESTS")
	if err != nil {
		t.Fatal(err)
	}
	cfg := stream.CachedInfo().Config
	cfg.MaxMsgs = 10
	if _, err := js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	for range 8 {
		if _, err := js.Publish(t.Context(), "uipath.requests.Default.-.items.Invoices", nil); err != nil {
			t.Fatal(err)
		}
	}
	s.Topology.Replicas = 3
	findings := look(t, s)
	expect(t, findings, doctor.Warn, "stream UIPATH_REQUESTS", "nearly full: messages 8 of 10; when it is, it takes nothing new -> make room, or raise the limit, as an operator with --change-streams: `nats stream edit UIPATH_REQUESTS --max-msgs=NUMBER`")
	expect(t, findings, doctor.Warn, "stream UIPATH_REQUESTS", "as an operator with --change-streams: `nats stream edit UIPATH_REQUESTS --replicas=3`")
	cfg.Discard = jetstream.DiscardOld
	if _, err := js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	expect(t, look(t, s), doctor.Warn, "stream UIPATH_REQUESTS", "nearly full: messages 8 of 10; when it is, it deletes the oldest in it, also requests that wait")
}
