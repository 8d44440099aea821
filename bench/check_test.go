package main

import (
	"fmt"
	"testing"
	"time"
)

func TestCheckerCounts(t *testing.T) {
	t.Parallel()
	const offset, count = 10, 4
	c := newChecker(offset, count)
	delivered := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	add := func(key, status string, after time.Duration) {
		t.Helper()
		body := fmt.Sprintf(`{"key":%q,"stage":"final","status":%q,"firstDeliveredAt":%q}`, key, status, delivered.Add(after).Format(time.RFC3339Nano))
		if err := c.addOutcome([]byte(body), delivered.Add(after+time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	add(keyOf(11), statusAccepted, 2*time.Second)
	add(keyOf(10), statusAccepted, time.Second)
	add(keyOf(10), statusAccepted, 0) // a second outcome
	add(keyOf(12), "unknown", 0)
	c.addEffect(keyOf(10), 1)
	c.addEffect(keyOf(11), 3)
	c.addEffect(keyOf(13), 1)
	c.addEffect(keyOf(9), 7)     // of before
	c.addEffect(keyOf(14), 1)    // of nobody
	c.addEffect("invoice 42", 1) // of nobody
	want := verdict{Duplicates: 2, Lost: 1, Missing: 2, Foreign: 4}
	if got := c.verdict(); got != want {
		t.Errorf("verdict %+v, want %+v", got, want)
	}
	if took := c.last.Sub(c.first); took != 2*time.Second {
		t.Errorf("from the first delivery to the last outcome: %s, want 2s", took)
	}
}

func TestCheckerFindsTheFirstOutcomeAfterAMark(t *testing.T) {
	t.Parallel()
	c := newChecker(0, 3)
	c.mark = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for i, request := range []struct{ delivered, stored time.Duration }{
		{-2 * time.Second, 500 * time.Millisecond}, // the dead worker's, stored late
		{time.Second, 3 * time.Second},
		{time.Second, 2 * time.Second},
	} {
		body := fmt.Sprintf(`{"key":%q,"stage":"final","status":"accepted","firstDeliveredAt":%q}`, keyOf(i), c.mark.Add(request.delivered).Format(time.RFC3339Nano))
		if err := c.addOutcome([]byte(body), c.mark.Add(request.stored)); err != nil {
			t.Fatal(err)
		}
	}
	if got := c.afterMark.Sub(c.mark); got != 2*time.Second {
		t.Errorf("the first outcome comes %s after the mark, want 2s", got)
	}
}

func TestKeysAreFoundAgain(t *testing.T) {
	t.Parallel()
	for _, i := range []int{0, 7, 99_999_999} {
		if got := indexOf(keyOf(i)); got != i {
			t.Errorf("indexOf(%q) = %d, want %d", keyOf(i), got, i)
		}
	}
	for _, key := range []string{"", "K1", "X00000001", "K0000000x", "K000000001"} {
		if got := indexOf(key); got != -1 {
			t.Errorf("indexOf(%q) = %d, want -1", key, got)
		}
	}
}
