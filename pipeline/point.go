package pipeline

// Point names a place between two durable steps of a worker: where it may be
// killed, what it has stored before and what it would have stored next are
// different things. Config.Reached is told of each, so that a test can end the
// process exactly there; docs/guarantees.md says what follows.
type Point string

// The points, in the order in which a request comes by them. Those of the kind
// "…ing" lie before the message to the server is sent, the others after its
// answer was read.
const (
	PointProbing        Point = "probing"         // the worker starts: the ledger's probe is under way
	PointPulled         Point = "pulled"          // delivered, and nothing done
	PointClaiming       Point = "claiming"        // the claims of some of a batch may be sent, this one's is not
	PointClaimed        Point = "claimed"         // the claim is stored, nothing is called
	PointLedgerRead     Point = "ledger-read"     // the key is in the ledger; what stands there was read
	PointTakenOver      Point = "taken-over"      // a claim stands in place of a dead or free one
	PointConfirmed      Point = "confirmed"       // and the key has no outcome from before
	PointLookedUp       Point = "looked-up"       // Orchestrator has told what it holds of a request in doubt
	PointCalling        Point = "calling"         // all is ready for the call
	PointAnswered       Point = "answered"        // the call has ended, whatever its answer
	PointDoubtNoting    Point = "doubt-noting"    // the call is in doubt, and the ledger does not say so
	PointDoubtNoted     Point = "doubt-noted"     // and now it does
	PointThrottled      Point = "throttled"       // the tenant is paused by Orchestrator's word
	PointBurying        Point = "burying"         // the dead letter is not stored
	PointBuried         Point = "buried"          // it is, the outcome is not
	PointOutcomeSending Point = "outcome-sending" // the outcomes of some of a batch may be sent, this one's is not
	PointOutcomeStored  Point = "outcome-stored"  // the outcome is stored, the delivery not answered
	PointReleasing      Point = "releasing"       // the claim of a call that was not made still stands
	PointReleased       Point = "released"        // and is given back
	PointAcking         Point = "acking"          // some of a batch may be acknowledged, this one is not
	PointAcked          Point = "acked"           // the ack is sent, which nobody confirms
	PointNaking         Point = "naking"          // the delivery is to come again, and JetStream not told yet
	PointNaked          Point = "naked"           // the nak is sent
	PointTracking       Point = "tracking"        // accepted, and the news of it not stored
	PointTracked        Point = "tracked"         // news and tracked claim are stored
	PointEndSeen        Point = "end-seen"        // what was tracked has ended, and no outcome says so
	PointEndStored      Point = "end-stored"      // the final outcome is stored, the news of acceptance still there
	PointEndForgotten   Point = "end-forgotten"   // the news of acceptance is gone
	PointDraining       Point = "draining"        // told to stop, with a batch in hand
)

// Points gives all of them.
func Points() []Point {
	return []Point{
		PointProbing, PointPulled, PointClaiming, PointClaimed, PointLedgerRead, PointTakenOver, PointConfirmed, PointLookedUp,
		PointCalling, PointAnswered, PointDoubtNoting, PointDoubtNoted, PointThrottled, PointBurying, PointBuried,
		PointOutcomeSending, PointOutcomeStored, PointReleasing, PointReleased, PointAcking, PointAcked, PointNaking,
		PointNaked, PointTracking, PointTracked, PointEndSeen, PointEndStored, PointEndForgotten, PointDraining,
	}
}

// reach is Config.Reached, which may be nil.
type reach func(p Point, index, of int)

// at tells of a place to which one of a batch comes.
func (f reach) at(p Point, index, of int) {
	if f != nil {
		f(p, index, of)
	}
}

// all tells of a place to which so many deliveries come together.
func (f reach) all(p Point, of int) {
	if f == nil {
		return
	}
	for i := range of {
		f.at(p, i, of)
	}
}
