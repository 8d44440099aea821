package simulator

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// outcome says in a word how a call ended, for the caller.
func outcome(x exchange, err error) string {
	switch {
	case errors.Is(err, syscall.ECONNRESET):
		return "reset"
	case err != nil:
		return err.Error()
	case strings.HasPrefix(x.answer.Get("Content-Type"), "text/html"):
		return strconv.Itoa(x.status) + " HTML"
	default:
		return strconv.Itoa(x.status)
	}
}

func TestFaultKinds(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		kind    FaultKind
		want    string
		effects int // at once
		later   int // after LateBy
	}{
		{Throttle, "429", 0, 0},
		{ErrorBefore, "500", 0, 0},
		{ErrorAfter, "500", 1, 1},
		{Unavailable, "503", 0, 0},
		{GatewayTimeoutAfter, "504", 1, 1},
		{CutBefore, "reset", 0, 0},
		{CutAfter, "reset", 1, 1},
		{Late, "reset", 0, 1},
		{HTML, "200 HTML", 1, 1},
		{HTMLBefore, "200 HTML", 0, 0},
	} {
		t.Run(string(tt.kind), func(t *testing.T) {
			t.Parallel()
			for path, body := range map[string]any{
				addPath: item("Invoices", "R"), bulkPath: bulk("Invoices", allOrNothing, "R"), startPath: start(object{"Reference": "R"}),
			} {
				synctest.Test(t, func(t *testing.T) {
					s, c := setup(t, Config{Faults: Faults{Rate: 1, Kinds: []FaultKind{tt.kind}, LateBy: time.Hour}})
					if got := outcome(c.try(t.Context(), http.MethodPost, path, body)); got != tt.want {
						t.Errorf("%s: got %s, want %s", path, got, tt.want)
					}
					if got := len(s.EffectsOf("R")); got != tt.effects {
						t.Errorf("%s: effects: got %d, want %d", path, got, tt.effects)
					}
					time.Sleep(time.Hour)
					synctest.Wait()
					if got := len(s.EffectsOf("R")); got != tt.later {
						t.Errorf("%s: effects an hour later: got %d, want %d", path, got, tt.later)
					}
				})
			}
		})
	}
}

func TestLateEffectsEndWithClose(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, c := setup(t, Config{Faults: Faults{Rate: 1, Kinds: []FaultKind{Late}}})
		_, err := c.try(t.Context(), http.MethodPost, addPath, item("Invoices", "R"))
		s.Close()
		time.Sleep(time.Hour)
		if got := len(s.Effects()); !errors.Is(err, syscall.ECONNRESET) || got != 0 {
			t.Errorf("got %v and %d effects, want a reset and none", err, got)
		}
	})
}

func TestExpiredToken(t *testing.T) {
	t.Parallel()
	s, c := setup(t, Config{Faults: Faults{Rate: 1, Kinds: []FaultKind{ExpiredToken}}})
	login := func() { c.header.Set("Authorization", "Bearer "+c.login(http.StatusOK, nil).token(t)) }
	login()
	got := []string{}
	for i := range 4 {
		x, err := c.try(t.Context(), http.MethodPost, addPath, item("Invoices", strconv.Itoa(i)))
		got = append(got, outcome(x, err))
		if x.status == http.StatusUnauthorized {
			again, err := c.try(t.Context(), http.MethodPost, addPath, item("Invoices", "again"))
			got = append(got, outcome(again, err)) // the token is gone for good
			login()
		}
	}
	if want := []string{"201", "401", "401", "201", "401", "401"}; !slices.Equal(got, want) {
		t.Errorf("outcomes: got %v, want %v", got, want)
	}
	if diff := cmp.Diff([]string{"0", "2"}, references(s)); diff != "" {
		t.Errorf("effects (-want +got):\n%s", diff)
	}
}

// TestExpiredPersonalToken sees the token refused once: nobody can renew it.
func TestExpiredPersonalToken(t *testing.T) {
	t.Parallel()
	_, c := setup(t, Config{Faults: Faults{Rate: 1, Kinds: []FaultKind{ExpiredToken}}})
	got := []string{}
	for range 4 {
		got = append(got, outcome(c.try(t.Context(), http.MethodPost, addPath, item("Invoices", "R"))))
	}
	if want := []string{"201", "401", "201", "401"}; !slices.Equal(got, want) {
		t.Errorf("outcomes: got %v, want %v", got, want)
	}
}

func TestFaultsAreRepeatable(t *testing.T) {
	t.Parallel()
	sequence := func(seed int64) []FaultKind {
		p := newFaultPlan(seed, Faults{Rate: 0.3})
		kinds := make([]FaultKind, 500)
		for i := range kinds {
			kinds[i] = p.draw(true)
			p.draw(false) // reads have a sequence of their own
			p.latency()
		}
		return kinds
	}
	if !slices.Equal(sequence(7), sequence(7)) {
		t.Error("the same seed gave two sequences")
	}
	if slices.Equal(sequence(7), sequence(8)) {
		t.Error("two seeds gave the same sequence")
	}
}

func TestFaultsAreEven(t *testing.T) {
	t.Parallel()
	const calls = 11_000
	p := newFaultPlan(1, Faults{Rate: 0.2})
	counts := make(map[FaultKind]int)
	for range calls {
		counts[p.draw(true)]++
	}
	struck := calls - counts[noFault]
	if share := float64(struck) / calls; share < 0.18 || share > 0.22 {
		t.Errorf("struck: got a share of %.3f, want 0.2", share)
	}
	for _, kind := range FaultKinds() {
		if got, want := counts[kind], struck/len(FaultKinds()); got < want || got > want+1 {
			t.Errorf("%s: got %d, want %d or one more", kind, got, want)
		}
	}
}

func TestReadFaults(t *testing.T) {
	t.Parallel()
	_, c := setup(t, Config{Faults: Faults{ReadRate: 1, Kinds: []FaultKind{ErrorBefore}}})
	c.post(http.StatusCreated, addPath, item("Invoices", "R"))
	c.get(http.StatusInternalServerError, "/odata/QueueItems")
	c.get(http.StatusInternalServerError, "/odata/Folders")
}

func TestFaultsSpareWrongCalls(t *testing.T) {
	t.Parallel()
	_, c := setup(t, Config{Faults: Faults{Rate: 1}})
	for range 20 {
		c.post(http.StatusNotFound, addPath, item("NoSuchQueue", "R"))
	}
}

func TestSetFaults(t *testing.T) {
	t.Parallel()
	s, c := setup(t, Config{})
	if err := s.SetFaults(Faults{Rate: 1, Kinds: []FaultKind{Unavailable}}); err != nil {
		t.Fatal(err)
	}
	if x := c.post(http.StatusServiceUnavailable, addPath, item("Invoices", "R")); string(x.body) != "no healthy upstream" {
		t.Errorf("body: got %s", x.body)
	}
	for _, f := range []Faults{{Rate: 2}, {ReadRate: -1}, {Kinds: []FaultKind{"Flood"}}} {
		if err := s.SetFaults(f); err == nil {
			t.Errorf("%+v: got no error", f)
		}
	}
}

func TestLatency(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, c := setup(t, Config{Faults: Faults{Latency: time.Minute, LatencyJitter: time.Minute}})
		for range 5 {
			began := time.Now()
			c.post(http.StatusCreated, addPath, item("Invoices", "R"))
			if took := time.Since(began); took < time.Minute || took >= 2*time.Minute {
				t.Errorf("took %v, want between one minute and two", took)
			}
		}
		// The caller's patience ends, the call's effect does not.
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.try(ctx, http.MethodPost, addPath, item("Invoices", "impatient")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the deadline", err)
		}
		if got := len(s.EffectsOf("impatient")); got != 0 {
			t.Errorf("effects at the deadline: got %d", got)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if got := len(s.EffectsOf("impatient")); got != 1 {
			t.Errorf("effects after the latency: got %d, want 1", got)
		}
	})
}
