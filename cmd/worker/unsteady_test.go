package main

import (
	"testing"
	"time"
)

func TestUnsteadyClock(t *testing.T) {
	t.Parallel()
	begun := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	show := func(seed int64) (wrong []time.Duration) {
		now := begun
		c := newUnsteadyClock(seed, func() time.Time { return now })
		for range 600 {
			wrong = append(wrong, c.now().Sub(now))
			now = now.Add(100 * time.Millisecond)
		}
		return wrong
	}
	first, again, other := show(1), show(1), show(2)
	set, alike := 0, 0
	for i, wrong := range first {
		if wrong != again[i] {
			t.Fatalf("after %d looks: %s, then %s with the same seed", i, wrong, again[i])
		}
		if wrong.Abs() > unsteadyBy {
			t.Errorf("it is wrong by %s, want %s at most", wrong, unsteadyBy)
		}
		if i > 0 && wrong != first[i-1] {
			set++
		}
		if wrong == other[i] {
			alike++
		}
	}
	if set < 12 || set > 60 { // in a minute
		t.Errorf("it was set %d times in a minute, want once in 1 s to 5 s", set)
	}
	if alike > 0 {
		t.Errorf("another seed shows the same in %d of %d looks", alike, len(first))
	}
}
