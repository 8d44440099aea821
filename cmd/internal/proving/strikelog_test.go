package proving

import (
	"strings"
	"testing"
	"time"
)

func TestStrikeLogBetween(t *testing.T) {
	t.Parallel()
	zero := time.Now()
	at := func(seconds float64) time.Time { return zero.Add(time.Duration(seconds * float64(time.Second))) }
	log := strikeLog{all: []*struck{
		{name: "worker killed", begun: at(1), end: at(1.2)},
		{name: "disk full", begun: at(2), end: at(5)},
		{name: "network cut", begun: at(8)},
	}}
	for _, test := range []struct {
		from, to float64
		want     string
	}{
		{0, 0.5, "no strike"},
		{0, 1.1, "worker killed (1.0–1.2 s)"},
		{3, 4, "disk full (2.0–5.0 s)"},
		{1.1, 2.5, "worker killed (1.0–1.2 s), disk full (2.0–5.0 s)"},
		{6, 7, "no strike"},
		{9, 10, "network cut (from 8.0 s on)"},
	} {
		if got := log.between(zero, at(test.from), at(test.to)); got != test.want {
			t.Errorf("from %.1f s to %.1f s: got %q, want %q", test.from, test.to, got, test.want)
		}
	}
	if got := log.counts(); len(got) != 3 || got["disk full"] != 1 {
		t.Errorf("counts: got %v", got)
	}
}

// What has struck nothing is not counted.
func TestStrikeLogMissed(t *testing.T) {
	t.Parallel()
	var log strikeLog
	begun := time.Now()
	log.begin("stream full")(true)
	log.begin("stream full")(false)
	log.begin("worker frozen")(false)
	if got := log.counts(); len(got) != 1 || got["stream full"] != 1 {
		t.Errorf("counts: got %v, want one stream full", got)
	}
	if got := log.between(begun, begun.Add(-time.Second), time.Now()); !strings.Contains(got, "worker frozen, perhaps (") {
		t.Errorf("between: got %q", got)
	}
}

func TestSteppedDown(t *testing.T) {
	t.Parallel()
	for reply, want := range map[string]bool{
		`{"type":"io.nats.jetstream.api.v1.stream_leader_stepdown_response","success":true}`:                               true,
		`{"error":{"code":503,"err_code":10008,"description":"JetStream system temporarily unavailable"},"success":false}`: false,
		`{}`: false,
	} {
		if got, err := steppedDown([]byte(reply)); got != want || err != nil {
			t.Errorf("%s: got %v, %v, want %v", reply, got, err, want)
		}
	}
	if _, err := steppedDown([]byte("no")); err == nil {
		t.Error("what is no answer is read as one")
	}
}

// A worker that has ended by itself is not frozen.
func TestFreezeEnded(t *testing.T) {
	t.Parallel()
	in := New("true", t.TempDir(), t.TempDir())
	c := &Chaos{Installation: in}
	p, err := in.Run("one", nil)
	if err != nil {
		t.Fatal(err)
	}
	<-p.Ended
	if struck, err := c.freeze(t.Context(), "one", time.Minute); struck || err != nil {
		t.Errorf("freeze: got %v, %v", struck, err)
	}
}
