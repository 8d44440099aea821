package protocol

import (
	"fmt"
	"strings"
)

const (
	workers = 2
	maxKeys = 2
)

// claim is what stands in the ledger under a key.
type claim uint8

const (
	none    claim = iota
	held          // a worker is about to call, or has called, or has died
	free          // given back: the call was surely not made
	tracked       // accepted, and followed to its end
	settled       // what was tracked has ended
)

// phase is how far the time of a held claim has passed.
type phase uint8

const (
	alive phase = iota // a call may be started
	over               // no call may be started; one that was may still take effect
	dead               // whatever was started has taken effect, or never will
)

// outcome is the final outcome of a key.
type outcome uint8

const (
	open outcome = iota
	accepted
	refused // rejected or expired: nothing was done
	unknown
)

// nobody owns a claim whose worker has died or turned to something else.
const nobody = -1

// entry is all there is of one key outside the workers.
type entry struct {
	claim    claim
	phase    phase
	called   bool // the claim says that a call may have been made
	owner    int  // the worker that wrote the claim and still goes by it
	outcome  outcome
	news     bool  // of acceptance, where the end is awaited
	acked    bool  // the request is acknowledged
	effects  uint8 // in Orchestrator
	foreign  bool  // the queue has the Reference on somebody else's item
	flying   uint8 // calls that may still take effect
	late     bool  // notAfter has passed
	forgot   bool  // the outcome's retention has passed
	delayed  write // a write whose sender has given up
	reverted bool  // what called becomes if delayed gives the claim back
}

// write is a change of the ledger that is on its way.
type write uint8

const (
	nothing write = iota
	putClaim
	putAccepted
	putRefused
	putUnknown
	giveBack
	putTracked // the news of acceptance, and the tracked claim
	putEnd     // the final outcome of what is tracked
	putNote    // the claim rewritten by its own worker
)

// place is where a worker stands with a request.
type place uint8

const (
	out        place = iota
	pulled           // delivered
	claimed          // taken over, and not yet looked for an outcome
	doubtful         // an earlier call may have taken effect
	ready            // may be called
	waiting          // called
	decided          // the outcome is known, and not stored
	releasing        // the claim is to be given back
	noting           // it cannot tell what became of its call: the claim is left to die
	telling          // the outcome is stored, or was there: to be acknowledged
	trackingTo       // the news is stored, the tracked claim is not: a breach
)

// fate is what became of a call, as Orchestrator knows.
type fate uint8

const (
	unsent fate = iota
	sent
	done
	failed    // it never had an effect
	duplicate // the queue has refused the Reference
)

// slot is one worker's work on one request.
type slot struct {
	place   place
	call    fate
	outcome outcome // of decided
	before  bool    // a call may have been made before this claim
	looked  bool    // and Orchestrator was asked for it
	confirm bool    // whether there is an outcome is to be asked
	acked   bool    // acknowledged already: a breach
}

// state is everything.
type state struct {
	keys  [maxKeys]entry
	slots [workers][maxKeys]slot
}

func begin() state {
	var s state
	for k := range s.keys {
		s.keys[k].owner = nobody
	}
	return s
}

// holds tells whether a worker's claim still stands.
func (s *state) holds(w, k int) bool { return s.keys[k].owner == w && s.keys[k].claim == held }

// leave ends a worker's work on a request.
func (s *state) leave(w, k int) {
	if s.keys[k].owner == w {
		s.keys[k].owner = nobody
	}
	s.slots[w][k] = slot{}
}

// next is the first place at which a worker has something to do: it takes its
// requests through together.
func (s *state) next(w int) place {
	first := out
	for _, sl := range s.slots[w] {
		if sl.place != out && (first == out || sl.place < first) {
			first = sl.place
		}
	}
	return first
}

// forgetWhatIsOver clears what has no part any more in what may come, so that
// states that differ in it alone are one.
func (s *state) forgetWhatIsOver() {
	for k := range s.keys {
		e := &s.keys[k]
		if e.claim != held {
			e.phase = alive
		}
		if e.delayed != giveBack {
			e.reverted = false
		}
		for w := range s.slots {
			sl := &s.slots[w][k]
			switch sl.place {
			case noting, telling:
				*sl = slot{place: sl.place}
			case decided:
				*sl = slot{place: decided, outcome: sl.outcome, acked: sl.acked}
			case ready, doubtful, releasing:
				sl.confirm = false
			case waiting:
				sl.confirm, sl.looked = false, false
			case out, pulled, claimed, trackingTo:
			}
		}
	}
}

// settledAll tells whether the first n keys have come to their end.
func (s *state) settledAll(n int) bool {
	for _, e := range s.keys[:n] {
		if e.outcome == open && !e.forgot || !e.acked {
			return false
		}
	}
	return true
}

// broken says which part of the promise a state breaks.
func (s *state) broken() string {
	for k, e := range s.keys {
		switch {
		case e.effects > 1:
			return fmt.Sprintf("key %d has %d effects", k, e.effects)
		case e.acked && e.outcome == open && e.claim != tracked && !e.forgot:
			return fmt.Sprintf("key %d is acknowledged and has no outcome", k)
		case e.outcome == refused && e.effects+e.flying > 0:
			return fmt.Sprintf("key %d is refused, and was done or may yet be", k)
		case e.outcome == accepted && e.effects == 0:
			return fmt.Sprintf("key %d is accepted, and was not done", k)
		}
	}
	return ""
}

// String is for those who follow a way through the model.
func (s *state) String() string {
	var b strings.Builder
	for k, e := range s.keys {
		fmt.Fprintf(&b, "key %d %+v", k, e)
		for w := range s.slots {
			if s.slots[w][k].place != out {
				fmt.Fprintf(&b, " worker %d %+v", w, s.slots[w][k])
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}
