package pipeline_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"waybill/orchestrator/simulator"
	"waybill/pipeline"
)

// route records the points that a worker comes by.
type route struct {
	mu     sync.Mutex
	points []pipeline.Point
}

func (r *route) reached(p pipeline.Point, _, _ int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.points = append(r.points, p)
}

// take gives what was recorded, and forgets it.
func (r *route) take() []pipeline.Point {
	r.mu.Lock()
	defer r.mu.Unlock()
	points := r.points
	r.points = nil
	return points
}

// settleSteps is the order in which a batch is settled.
var settleSteps = map[pipeline.Point]int{
	pipeline.PointBurying:        1,
	pipeline.PointBuried:         2,
	pipeline.PointOutcomeSending: 3,
	pipeline.PointOutcomeStored:  4,
	pipeline.PointAcking:         5,
	pipeline.PointAcked:          6,
	pipeline.PointNaking:         5,
	pipeline.PointNaked:          6,
}

// inTurn reports whether one step may follow another within a batch, which is
// answered delivery by delivery and otherwise step by step.
func inTurn(before, after int) bool {
	return before <= after || before == 6 && after == 5
}

// checkRoute counts the points. A batch of one lane is settled before the next:
// a step back without another pull is one out of turn.
func checkRoute(t *rapid.T, points []pipeline.Point) map[pipeline.Point]int {
	counts := make(map[pipeline.Point]int)
	step := 0
	for i, p := range points {
		counts[p]++
		if p == pipeline.PointPulled {
			step = 0
		}
		next, settles := settleSteps[p]
		if !settles {
			continue
		}
		if !inTurn(step, next) {
			t.Fatalf("%s comes too late: %v", p, points[:i+1])
		}
		step = next
	}
	return counts
}

// Whatever a batch is made of, its dead letters come first, then its outcomes,
// then the acks.
func TestSettlesInOrder(t *testing.T) {
	t.Parallel()
	inBubble(t, simulator.Config{Seed: 3}, func(t *testing.T, r *rig) {
		var passed route
		cfg := r.config()
		cfg.Reached = passed.reached
		cfg.Linger = 2 * time.Second // on a lane that was not quiet, what is published together is one batch
		r.start(cfg)
		r.publishRaw(r.topology.RequestSubject(uniqueItems), fmt.Sprintf(`{"key":%q,"item":{"SpecificContent":{}}}`, takenReference))
		r.final(uniqueItems, takenReference)
		keys := 0
		rapid.Check(withoutDeadline{t}, func(rt *rapid.T) {
			keys++
			r.publishKind("sound", fmt.Sprintf("k%d", keys))
			r.final(uniqueItems, fmt.Sprintf("k%d", keys))
			time.Sleep(100 * time.Millisecond) // until it is acknowledged as well
			passed.take()
			before := keys
			buried := 0
			for _, kind := range rapid.SliceOfN(rapid.SampledFrom([]string{"sound", "broken", "conflict", "copy", "refused"}), 1, 6).Draw(rt, "requests") {
				keys++
				buried += r.publishKind(kind, fmt.Sprintf("k%d", keys))
			}
			time.Sleep(30 * time.Second) // a server may forget of several puts off to one moment all but one, until AckWait
			got := checkRoute(rt, passed.take())
			if got[pipeline.PointBuried] != buried || got[pipeline.PointBurying] != buried {
				rt.Fatalf("%d dead letters stored of %d begun, want %d", got[pipeline.PointBuried], got[pipeline.PointBurying], buried)
			}
			if ended := keys - before; got[pipeline.PointOutcomeStored] != ended || got[pipeline.PointOutcomeSending] != ended {
				rt.Fatalf("%d outcomes stored of %d begun, want %d", got[pipeline.PointOutcomeStored], got[pipeline.PointOutcomeSending], ended)
			}
			if got[pipeline.PointAcked] < max(buried, keys-before) {
				rt.Fatalf("%d acknowledged, with %d dead letters and %d outcomes", got[pipeline.PointAcked], buried, keys-before)
			}
		})
	})
}

// takenReference is one that the queue has already, and takes no second time.
const takenReference = "taken"

// withoutDeadline is a test in fake time, where its deadline has no meaning.
type withoutDeadline struct{ rapid.TB }

// publishKind publishes one request or two of a kind, of which one outcome is
// to come, and tells how many dead letters are.
func (r *rig) publishKind(kind, key string) (dead int) {
	r.t.Helper()
	subject := r.topology.RequestSubject(uniqueItems)
	body := func(amount int) string {
		return fmt.Sprintf(`{"key":%q,"item":{"SpecificContent":{"Amount":%d}}}`, key, amount)
	}
	switch kind {
	case "broken":
		r.publishRaw(subject, fmt.Sprintf(`{"key":%q,"item":7}`, key))
		return 1
	case "conflict":
		r.publishRaw(subject, body(1))
		r.publishRaw(subject, body(2))
		return 1
	case "copy":
		r.publishRaw(subject, body(1))
		r.publishRaw(subject, body(1))
		return 0
	case "refused":
		r.publishRaw(subject, fmt.Sprintf(`{"key":%q,"item":{"Reference":%q,"SpecificContent":{}}}`, key, takenReference))
		return 1
	}
	r.publishRaw(subject, body(1))
	return 0
}
