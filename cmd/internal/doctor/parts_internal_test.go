package doctor

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"waybill/cmd/internal/cli"
	"waybill/pipeline"
	"waybill/pipeline/embedded/servertest"
)

func TestOlderThan(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]bool{"2.11.9": true, "2.12.0": false, "2.15.2": false, "1.99.0": true, "3.0.0": false, "2.12.0-RC.1": false, "main": false, "a.b.c": false} {
		if got := olderThan(version, 2, 12); got != want {
			t.Errorf("%s: got %t", version, got)
		}
	}
}

func TestUnencrypted(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		address     string
		credentials bool
		want        Mark
	}{
		{"127.0.0.1:4222", true, OK},
		{"[::1]:4222", true, OK},
		{"localhost:4222", true, OK},
		{"pipe", true, OK},
		{"192.0.2.1:4222", false, OK},
		{"192.0.2.1:4222", true, Warn},
		{"nats.example.net:4222", true, Warn},
	} {
		l := &server{}
		l.unencrypted(test.address, test.credentials)
		if got := l.findings[0].Mark; got != test.want {
			t.Errorf("%v: got %s", test, got)
		}
	}
}

func TestSize(t *testing.T) {
	t.Parallel()
	for n, want := range map[uint64]string{0: "0 B", 1023: "1023 B", 1536: "1.5 KiB", 5 << 30: "5 GiB", 3 << 50: "3072 TiB"} {
		if got := size(n); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestAccountLimits(t *testing.T) {
	t.Parallel()
	l := &server{report: report{where: "NATS"}}
	l.account(&jetstream.AccountInfo{Tiers: map[string]jetstream.Tier{
		"R3": {Store: 900, Streams: 2, Consumers: 3, Limits: jetstream.AccountLimits{MaxStore: 1000, MaxStreams: 10, MaxConsumers: -1}},
		"R1": {Store: 10, Streams: 8, Consumers: 10, Limits: jetstream.AccountLimits{MaxStore: -1, MaxStreams: 10, MaxConsumers: 10}},
	}})
	want := []Finding{
		{Mark: Warn, Where: "NATS", Check: "account limits R1", Found: "storage 10 B of any, streams 8 of 10, consumers 10 of 10", Mend: "raise the account's limit of streams and consumers, or remove what is not needed"},
		{Mark: Warn, Where: "NATS", Check: "account limits R3", Found: "storage 900 B of 1000 B, streams 2 of 10, consumers 3 of any", Mend: "raise the account's limit of storage, or remove what is not needed"},
	}
	if diff := cmp.Diff(want, l.findings); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestReplicas(t *testing.T) {
	t.Parallel()
	info := &jetstream.StreamInfo{Config: jetstream.StreamConfig{Replicas: 3}, Cluster: &jetstream.ClusterInfo{Replicas: []*jetstream.PeerInfo{
		{Name: "n1", Current: true}, {Name: "n2", Offline: true}, {Name: "n3", Lag: 7}, {Name: "n4", Active: 12 * time.Second},
	}}}
	l := &server{report: report{where: "NATS"}, Server: Server{Topology: pipeline.Topology{Replicas: 3}}}
	l.replicas(pipeline.StreamState{Name: "S", Info: info})
	var got []string
	for _, f := range l.findings {
		got = append(got, string(f.Mark)+" "+f.Found)
	}
	if diff := cmp.Diff([]string{"fail it has no leader", "warn n2 is offline, n3 is behind by 7, n4 was heard of 12s ago"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestPausedLane(t *testing.T) {
	t.Parallel()
	l := &server{}
	l.paused(pipeline.Backlog{Lane: pipeline.Lane{Tenant: "T", Folder: "-", Kind: pipeline.KindItem, Name: "Q"}, Consumer: "T_items_Q_1", Waiting: 2, Paused: time.Hour})
	want := []Finding{{Mark: Warn, Check: "paused lanes", Found: "T:-:items:Q is paused for another 1h0m0s, and 2 requests wait", Mend: "nats consumer resume UIPATH_REQUESTS T_items_Q_1"}}
	if diff := cmp.Diff(want, l.findings); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A YAML error keeps its place and loses the lines of the file.
func TestOnSettings(t *testing.T) {
	t.Parallel()
	err := errors.New("waybill.yaml: [3:5] unknown field \"tennants\"\n   1 | # ours\n   2 | prefix: x\n>  3 | tennants: []\n       ^\n   5 | a | b")
	want := Finding{Mark: Fail, Where: "settings", Check: "settings", Found: `waybill.yaml: [3:5] unknown field "tennants"`, Mend: "correct it", Code: cli.ExitUsage}
	if diff := cmp.Diff(want, OnSettings(err, cli.ExitUsage, "correct it")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := OnSettings(errors.Join(errors.New("one"), errors.New("two")), cli.ExitUsage, "").Found; got != "one; two" {
		t.Errorf("got %q, want both faults", got)
	}
}

// A leader is told where there are several servers that could be it.
func TestReplicasOf(t *testing.T) {
	t.Parallel()
	config := jetstream.StreamConfig{Replicas: 1}
	for name, want := range map[string]string{"": "1 replica", "C1": "1 replica, led by n2"} {
		info := &jetstream.StreamInfo{Config: config, Cluster: &jetstream.ClusterInfo{Name: name, Leader: "n2"}}
		if got := replicasOf(info); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// The code is of what waiting does not mend, the most basic first.
func TestSummary(t *testing.T) {
	t.Parallel()
	failed := func(codes ...cli.Code) (found []Finding) {
		for _, code := range codes {
			found = append(found, Finding{Mark: Fail, Code: code})
		}
		return append(found, Finding{Mark: Warn}, Finding{Mark: OK}, Finding{Mark: Skip})
	}
	for _, test := range []struct {
		codes []cli.Code
		want  string
	}{
		{nil, "<nil>"},
		{[]cli.Code{cli.ExitUnreachable}, "4: 1 of 3 checks failed"},
		{[]cli.Code{cli.ExitUnreachable, cli.ExitCredentials}, "5: 2 of 4 checks failed"},
		{[]cli.Code{cli.ExitCredentials, cli.ExitUsage, cli.ExitUnreachable}, "2: 3 of 5 checks failed"},
		{[]cli.Code{cli.ExitUnexpected}, "1: 1 of 3 checks failed"},
	} {
		got := "<nil>"
		if err := Summary(failed(test.codes...)); err != nil {
			got = codeText(err)
		}
		if got != test.want {
			t.Errorf("%v: got %s, want %s", test.codes, got, test.want)
		}
	}
}

func codeText(err error) string {
	e, ok := errors.AsType[*cli.Error](err)
	if !ok {
		return err.Error()
	}
	return fmt.Sprintf("%d: %v", e.Code, err)
}

// What keeps a stream from telling the time is told.
func TestClockNotTold(t *testing.T) {
	t.Parallel()
	js, _ := servertest.JetStream(t)
	l := &server{Server: Server{Timeout: 10 * time.Second}, js: js}
	l.clock(t.Context(), []pipeline.StreamState{{Name: "GONE", Info: &jetstream.StreamInfo{}}})
	if got := l.findings[0]; got.Mark != Skip || !strings.Contains(got.Found, "stream GONE was not to be asked for its state: nats: API error") {
		t.Errorf("got %+v", got)
	}
}
