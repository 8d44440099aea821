package proving

import (
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
