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
// One key is searched with everything that may happen to it. Two keys, which a
// worker may carry together, are searched without expiry, without what the
// ledger forgets, without late writes and without unique references: with these
// there are too many states. More workers or keys than two are not searched.
//
// [Search] visits every state that can be reached, holds it against the promise
// and, where it is broken, gives the shortest way there. It also finds the
// states from which no way leads to an end: a request that is lost without
// anything wrong having happened. Every rule of the protocol can be broken in
// the model, by a [Breach]; that the search then finds something wrong shows
// that it would. And every step is taken by some search, so that no part of the
// model is empty.
//
// # What is left out, and what shows that instead
//
// A look-up here is perfect: it sees what is there. How it tells the request's
// own item from another's, what it does without filters, with a list that has
// not caught up and with clocks that are wrong is left to tests against
// Orchestrator's simulator: TestLookUpWithoutFilters, TestReferenceOfAnotherItem
// and TestClocksThatAreWrong.
//
// Copies of a request that are broken, or that have another payload, are not
// here; TestMeetKeepsPromise tries what a worker does when it meets them. Nor
// are dead letters, whose place in the order of writes TestSettlesInOrder holds
// fast, nor that the requests are trimmed, for which there is TestTrim.
//
// Nothing but the argument itself stands for the rest. Under one claim there is
// one call here, where a bulk call that is refused is repeated in parts: only
// what is surely not done is asked for again, each time with a new look at the
// claim. A request expires once for all its copies, where each may have its own
// notAfter. A claim is forgotten only after its outcome; one that never gets an
// outcome within the retention is not here. And a key that is published anew
// after the retention is a new request, which may have an effect again; here it
// is the old one come back, which may not.
//
// Pauses, patience and throttling only choose when a step is taken; here any is
// taken at any time.
//
// Nothing of waybill's runs by this package. It stands beside the code as its
// argument: pipeline/claiming.go, call.go, doubt.go, settle.go and tracking.go
// are its steps.
package protocol
