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

func TestStreamsContradict(t *testing.T) {
	t.Parallel()
	s, js := installation(t)
	_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: "UIPATH_REQUESTS", Subjects: []string{"uipath.requests.>"}, MaxAge: time.Hour, Discard: jetstream.DiscardNew, Duplicates: 100 * time.Millisecond, AllowDirect: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	findings := look(t, s)
	expect(t, findings, doctor.Fail, "stream UIPATH_REQUESTS", "max age is 1h0m0s, it must be 0s -> change it with `nats stream edit UIPATH_REQUESTS`")
	expect(t, findings, doctor.Fail, "stream UIPATH_REQUESTS", "subjects is uipath.requests.>, it must be")
	if got := len(failures(findings, "NATS")); got != 2 {
		t.Errorf("got %d failures, want a line for each of two differences", got)
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
	expect(t, look(t, s), doctor.OK, "rights", "all 15 that were tried are granted")
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

// Whoever may publish chooses a tenant's name, and must not choose what the
// operator's shell does.
func TestPurgeIsQuoted(t *testing.T) {
	t.Parallel()
	s, js := installation(t)
	provision(t, js)
	for _, tenant := range []string{"a';touch${IFS}pwned;'", "b\x1b[201~"} {
		if _, err := js.Publish(t.Context(), "uipath.requests."+tenant+".-.items.q", []byte(`{}`)); err != nil {
			t.Fatal(err)
		}
	}
	findings := look(t, s)
	expect(t, findings, doctor.Warn, "requests waiting", "remove what is on the subjects \"uipath.requests.b\\x1b[201~.>\"")
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
	const subject = "uipath.requests.Default.-.items.Invoices"
	sum := sha256.Sum256([]byte(subject))
	name := "Default_items_Invoices_" + hex.EncodeToString(sum[:4])
	if _, err := js.CreateConsumer(ctx, "UIPATH_REQUESTS", jetstream.ConsumerConfig{Durable: name, FilterSubject: subject, AckPolicy: jetstream.AckExplicitPolicy}); err != nil {
		t.Fatal(err)
	}
	if _, err := js.PauseConsumer(ctx, "UIPATH_REQUESTS", name, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	expect(t, look(t, s), doctor.Warn, "paused lanes", "and 0 requests wait -> nats consumer resume UIPATH_REQUESTS "+name)
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
	expect(t, findings, doctor.Warn, "stream UIPATH_REQUESTS", "nearly full: messages 8 of 10")
	expect(t, findings, doctor.Warn, "stream UIPATH_REQUESTS", "nats stream edit UIPATH_REQUESTS --replicas 3")
}
