// Package history holds what happened against the promise: what was asked for,
// what Orchestrator has, what the outcomes say of it, and which requests ended
// as dead letters.
//
// It knows nothing of how a run came about, so it judges a test, a run with
// faults or a real import alike: gather a [Run], give it to [Check], and read
// the [Report], which has a verdict on the whole and one on each key.
package history

import (
	"waybill/pipeline"
)

// Run is all that is known of what happened.
type Run struct {
	// Requests are the messages that were published. Those of one key are
	// copies of each other, or contradict each other.
	Requests []Request
	Effects  []Effect
	// Outcomes may repeat, as they may be delivered more than once; those of
	// the stage accepted are passed over.
	Outcomes []pipeline.Outcome
	// DeadLetters are all there are, repeats included. Nil is for a run whose
	// dead letters nobody has read: then nothing is said of them.
	DeadLetters []DeadLetter
}

// Key names a request: its key and the canonical lane it stands in.
type Key struct {
	Lane pipeline.Lane
	Key  string
}

// KeyOf is the key that an outcome belongs to.
func KeyOf(o pipeline.Outcome) Key { return Key{Lane: o.Lane(), Key: o.Key} }

// String gives lane and key as people write them.
func (k Key) String() string { return k.Lane.String() + "/" + k.Key }

// Request is one message that was published. Of a run that knows no more than
// its keys, the key is enough.
type Request struct {
	Key Key
	// Sequence is where it stands in the stream of requests; 0 if the answer
	// to its publishing was lost.
	Sequence uint64
	// Payload is the hash of what it asks for, as in its outcome; empty if
	// that is not known, or the request is invalid.
	Payload string
	// Invalid is whether it can never work.
	Invalid bool
}

// Effect is one queue item or one job that Orchestrator has, found by the
// Reference that a request's key became.
type Effect struct {
	Key Key
	ID  int64
}

// DeadLetter is the copy kept of a request that came to nothing.
type DeadLetter struct {
	Key      Key
	Reason   string // as in its header
	Sequence uint64 // of the request
}

// Violation is one breach of the promise.
type Violation struct {
	Key  Key
	What string
}
