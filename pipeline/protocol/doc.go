// Package protocol is the protocol by which workers carry requests out, written
// down as a model small enough to be searched to its end.
//
// The model has two workers and two keys. A state is what the ledger holds of
// each key, what Orchestrator has, whether the request is acknowledged, and
// where each worker stands with it. A step is one durable change, or one thing
// that the world does: a worker dies and starts anew, a claim's time passes, a
// call takes effect now, later or never, an answer is lost, a write arrives
// after its sender has given up, an acknowledged request comes back. Steps
// happen in every order, as often as they may, so a worker that pauses for any
// time between two of them is among what is tried; so is a repeated publish,
// which is a request that comes back.
//
// What a worker knows of time is abstracted to three phases of a claim. While
// it is alive its worker may start a call; when it is over it may not; when it
// is dead, no call made under it can still take effect, and others may take it
// over. That the last is so is an assumption, which docs/guarantees.md names.
//
// What is not here: requests that can never work and further payloads under a
// known key, which are never called; how a look-up comes to be sure of what it
// does not find; and pauses, patience and throttling, which only choose when a
// step is taken, and here any is taken at any time.
//
// [Search] visits every state that can be reached, holds it against the promise
// and, where it is broken, gives the shortest way there. It also finds the
// states from which no way leads to an end: a request that is lost without
// anything wrong having happened. Every rule of the protocol can be broken in
// the model, by a [Breach]; that the search then finds something wrong shows
// that it would.
//
// Nothing of waybill's runs by this package. It stands beside the code as its
// argument: pipeline/claiming.go, call.go, doubt.go and settle.go are its steps.
package protocol
