package protocol_test

import (
	"maps"
	"os"
	"regexp"
	"strings"
	"testing"

	"waybill/pipeline/protocol"
)

// everything that may happen to one key, in each kind of lane.
func variants() []protocol.Variant {
	all := protocol.Variant{Keys: 1, Expires: true, Forgets: true, Delays: true, Exhausts: true}
	unique, completed := all, all
	unique.Unique, completed.Completed = true, true
	return []protocol.Variant{all, unique, completed}
}

// Where the absent may be refused, what is called too soon is refused before it
// is called twice: without it the longer way is seen as well.
func withAndWithoutExhausts() []protocol.Variant {
	all := variants()
	for _, v := range variants() {
		v.Exhausts = false
		all = append(all, v)
	}
	return all
}

func TestProtocolKeepsThePromise(t *testing.T) {
	t.Parallel()
	two := []protocol.Variant{{Keys: 2, Exhausts: true}, {Keys: 2, Completed: true, Exhausts: true}}
	if testing.Short() || raceEnabled {
		two = nil // millions of states
	}
	for _, v := range append(variants(), two...) {
		r := protocol.Search(v)
		t.Logf("%+v: %v", v, r)
		if !r.Held() {
			t.Errorf("%+v breaks the promise", v)
		}
	}
}

// No rule is there for nothing: without it the promise is broken in the way
// named, and the search finds how.
func TestEveryBreachIsFound(t *testing.T) {
	t.Parallel()
	const twice, contradicted, repeated, lost, stuck = "2 effects", "is refused, and was done", "second final outcome", "has no outcome", "nothing leads to an end"
	want := map[protocol.Breach]string{
		protocol.AckFirst:        lost,
		protocol.NoClaim:         twice,
		protocol.CountDeliveries: twice,
		protocol.LateCall:        "is called, and has its outcome",
		protocol.NoSettleTime:    twice,
		protocol.DoubtIsFailure:  twice,
		protocol.HastyAbsence:    twice,
		protocol.NoLookUp:        twice,
		protocol.BlindTakeover:   twice,
		protocol.StaleConfirm:    repeated,
		protocol.LooseOutcome:    repeated,
		protocol.LooseRelease:    "is called, and has its outcome",
		protocol.RefuseUnseen:    contradicted,
		protocol.ClaimsFirst:     repeated,
		protocol.OldIsNew:        twice,
		protocol.TrackingApart:   repeated,
		protocol.LooseEnd:        repeated,
		protocol.AckPaused:       lost,
		protocol.TrustDuplicate:  "is accepted, and was not done",
		protocol.NoTakeover:      stuck,
	}
	for _, breach := range protocol.Breaches() {
		t.Run(string(breach), func(t *testing.T) {
			t.Parallel()
			found := false
			for _, v := range withAndWithoutExhausts() {
				v.Breach = breach
				r := protocol.Search(v)
				t.Logf("unique %v, completed %v: %v", v.Unique, v.Completed, r)
				found = found || strings.Contains(r.Broken, want[breach])
			}
			if !found || want[breach] == "" {
				t.Errorf("no variant is broken by %q as expected: %q", breach, want[breach])
			}
		})
	}
}

// No part of the model is empty: every step in its source is taken somewhere.
func TestEveryStepIsTaken(t *testing.T) {
	t.Parallel()
	taken := make(map[string]bool)
	// Where a rule of two keys is broken, the search ends early.
	both := protocol.Variant{Keys: 2, Breach: protocol.NoClaim}
	for _, v := range append(variants(), both) {
		maps.Copy(taken, protocol.Search(v).Taken)
	}
	for _, breach := range protocol.Breaches() {
		for _, v := range variants() {
			v.Breach = breach
			maps.Copy(taken, protocol.Search(v).Taken)
		}
	}
	// A label is a text of several words without a verb of fmt.
	label := regexp.MustCompile(`"(\w+ [^"%]*)"`)
	for _, file := range []string{"steps.go", "world.go"} {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		labels := label.FindAllSubmatch(source, -1)
		if len(labels) < 10 {
			t.Errorf("%s has only %d labels", file, len(labels))
		}
		for _, l := range labels {
			if !taken[string(l[1])] {
				t.Errorf("%s: no search takes the step %q", file, l[1])
			}
		}
	}
}
