package protocol

import (
	"fmt"
	"strconv"
	"strings"
)

// label says in words what a step does: by the worker W, to the key K.
type label struct {
	text string
	w, k int
}

func (l label) String() string {
	return strings.NewReplacer("W", strconv.Itoa(l.w), "K", strconv.Itoa(l.k)).Replace(l.text)
}

// step is one way on from a state.
type step struct {
	label
	to     state
	broken string // how the promise is broken by it
}

// stepper gathers the ways on from one state.
type stepper struct {
	Variant
	from  state
	steps []step
}

// do adds a way on. A change gives what it breaks beyond what the state it
// leads to shows.
func (st *stepper) do(text string, w, k int, change func(s *state) (broken string)) {
	next := st.from
	broken := change(&next)
	if broken == "" {
		broken = next.broken()
	}
	next.forgetWhatIsOver()
	st.steps = append(st.steps, step{label{text, w, k}, next, broken})
}

// all gives every way on from a state, until the next call.
func (st *stepper) all(from state) []step {
	st.from, st.steps = from, st.steps[:0]
	for w := range workers {
		st.worker(w)
	}
	for k := range st.Keys {
		st.world(k)
	}
	return st.steps
}

// alone is what a worker does next with one request, by the place it is at. The
// requests it has called, or is about to, it deals with together.
var alone = [...]func(st *stepper, w, k int){
	pulled:     (*stepper).claim,
	claimed:    (*stepper).confirm,
	doubtful:   (*stepper).lookUp,
	decided:    (*stepper).store,
	releasing:  (*stepper).release,
	noting:     (*stepper).note,
	telling:    (*stepper).acknowledge,
	trackingTo: (*stepper).trackLate,
}

// worker gives what a worker may do next, and that it may die.
func (st *stepper) worker(w int) {
	at := st.from.next(w)
	if at == out {
		st.pull(w)
		return
	}
	st.do("worker W dies", w, 0, func(s *state) string {
		for k := range s.slots[w] {
			s.leave(w, k)
		}
		return ""
	})
	switch at {
	case ready:
		st.call(w)
	case waiting:
		st.answer(w)
	default:
		for k := range st.Keys {
			if st.from.slots[w][k].place == at {
				alone[at](st, w, k)
			}
		}
	}
}

// pulls are the labels of pull, by the set of keys.
var pulls = []string{1: "worker W pulls 0", 2: "worker W pulls 1", 3: "worker W pulls both"}

// pull takes one request or both that are not acknowledged.
func (st *stepper) pull(w int) {
	for set := 1; set < 1<<st.Keys; set++ {
		possible := true
		for k := range st.Keys {
			possible = possible && (set&(1<<k) == 0 || !st.from.keys[k].acked)
		}
		if !possible {
			continue
		}
		st.do(pulls[set], w, 0, func(s *state) string {
			for k := range st.Keys {
				if set&(1<<k) != 0 {
					s.slots[w][k] = slot{place: pulled}
				}
			}
			return ""
		})
	}
}

// claim inserts a claim where there is none. Where there is one, the ledger is
// read, from a replica that may not know an outcome yet, and the claim changed
// from the revision read, if at all.
func (st *stepper) claim(w, k int) {
	e := st.from.keys[k]
	if st.Breach == NoClaim {
		st.claimNothing(w, k)
		return
	}
	old := e.forgot && st.Breach != OldIsNew
	if e.claim == none {
		st.takeOn(w, k, slot{before: old})
		return
	}
	if e.outcome != open {
		st.do("worker W reads the outcome of K", w, k, func(s *state) string {
			s.slots[w][k].place = telling
			return ""
		})
	}
	switch {
	case e.claim == tracked:
		st.do("worker W reads that K is tracked", w, k, func(s *state) string {
			s.slots[w][k].place = telling
			return ""
		})
	case e.claim == held && (e.phase != dead && st.Breach != BlindTakeover || st.Breach == NoTakeover):
		st.do("worker W reads that K is claimed", w, k, func(s *state) string {
			s.leave(w, k)
			return ""
		})
	default:
		unclear := e.claim != free && e.called && st.Breach != NoLookUp
		st.takeOn(w, k, slot{before: unclear || old, confirm: e.claim != free})
		if st.Breach == CountDeliveries {
			st.takeOn(w, k, slot{confirm: e.claim != free}) // JetStream has forgotten its count
		}
	}
}

func (st *stepper) claimNothing(w, k int) {
	st.do("worker W looks for the outcome of K", w, k, func(s *state) string {
		s.slots[w][k].place = ready
		if s.keys[k].outcome != open {
			s.slots[w][k].place = telling
		}
		return ""
	})
}

// takeOn writes a claim that may be written.
func (st *stepper) takeOn(w, k int, as slot) {
	st.do("worker W claims K", w, k, func(s *state) string {
		s.hold(w, k)
		as.place = claimed
		s.slots[w][k] = as
		return ""
	})
	st.claimUnheard(w, k)
}

// claimUnheard has the answer to a claim lost, or the claim stored only later:
// then the worker puts the request off.
func (st *stepper) claimUnheard(w, k int) {
	st.do("worker W claims K and does not hear of it", w, k, func(s *state) string {
		s.hold(w, k)
		s.leave(w, k)
		return ""
	})
	if st.Delays && st.from.keys[k].delayed == nothing {
		st.do("worker W claims K, which is delayed", w, k, func(s *state) string {
			s.keys[k].delayed = putClaim
			s.leave(w, k)
			return ""
		})
	}
}

// hold puts a claim in place of whatever stands there. A write that was made on
// condition of that can no longer be stored.
func (s *state) hold(w, k int) {
	e := &s.keys[k]
	e.claim, e.phase, e.owner = held, alive, w
	e.called = e.called || !e.late
	e.delayed = nothing
}

// confirm asks whether a key taken over has its outcome already, of a server
// that has the new claim and so has everything from before it.
func (st *stepper) confirm(w, k int) {
	goOn := func(s *state) string {
		sl := &s.slots[w][k]
		sl.place = ready
		if sl.before && (!s.keys[k].late || st.Breach != RefuseUnseen) {
			sl.place = doubtful
		}
		return ""
	}
	asks := st.from.slots[w][k].confirm
	switch e := st.from.keys[k]; {
	case asks && !st.from.holds(w, k):
		st.do("worker W sees that K was taken over", w, k, func(s *state) string {
			s.leave(w, k)
			return ""
		})
	case asks && e.outcome != open:
		st.do("worker W confirms the outcome of K", w, k, func(s *state) string {
			s.slots[w][k].place = telling
			return ""
		})
		if st.Breach == StaleConfirm {
			st.do("worker W is told of no outcome of K", w, k, goOn)
		}
	default:
		st.do("worker W goes on with K", w, k, goOn)
	}
}

// lookUp asks Orchestrator what it has of a request in doubt.
func (st *stepper) lookUp(w, k int) {
	switch e := st.from.keys[k]; {
	case e.effects > 0:
		st.do("worker W finds K done", w, k, func(s *state) string {
			s.slots[w][k].decide(accepted)
			return ""
		})
	case e.foreign:
		st.do("worker W finds somebody else's item in place of K", w, k, func(s *state) string {
			s.slots[w][k].decide(refused)
			return ""
		})
	default:
		st.do("worker W finds K absent", w, k, func(s *state) string {
			s.slots[w][k].place, s.slots[w][k].looked = ready, true
			return ""
		})
		if st.Exhausts {
			st.do("worker W finds K absent, which has failed too often", w, k, func(s *state) string {
				s.slots[w][k].decide(refused)
				return ""
			})
		}
	}
	st.do("worker W cannot tell what became of K", w, k, func(s *state) string {
		s.slots[w][k].place = noting
		return ""
	})
	st.do("worker W gives K up", w, k, func(s *state) string {
		s.slots[w][k].decide(unknown)
		return ""
	})
}

func (sl *slot) decide(o outcome) { sl.place, sl.outcome = decided, o }

// call refuses what is expired, renews the claims that are over, and sends what
// is ready, together: or gives it back, where the tenant has been paused.
func (st *stepper) call(w int) {
	for k := range st.Keys {
		if st.from.slots[w][k].place == ready && st.from.keys[k].late {
			st.refuseExpired(w, k)
			return
		}
	}
	st.do("worker W is told to wait", w, 0, func(s *state) string {
		for k := range st.Keys {
			if s.slots[w][k].place == ready {
				s.slots[w][k].place = releasing
			}
		}
		return ""
	})
	if st.Breach != NoClaim && st.Breach != LateCall && st.renewAll(w) {
		return
	}
	st.do("worker W calls", w, 0, func(s *state) (broken string) {
		for k := range st.Keys {
			if sl := &s.slots[w][k]; sl.place == ready {
				sl.place, sl.call = waiting, sent
				s.keys[k].flying++
				if s.keys[k].outcome != open {
					broken = fmt.Sprintf("key %d is called, and has its outcome", k)
				}
			}
		}
		return broken
	})
}

// refuseExpired does not call what nobody wants any more, unless a call may
// have been made that nobody has looked for.
func (st *stepper) refuseExpired(w, k int) {
	looked := st.from.slots[w][k].looked
	st.do("worker W does not call K, which has expired", w, k, func(s *state) string {
		s.slots[w][k].decide(refused)
		if s.keys[k].called && !looked && st.Breach != RefuseUnseen {
			s.slots[w][k].place = doubtful
		}
		return ""
	})
}

// renewAll renews the claims that leave no time for a call, and tells whether
// there are any. A claim that is lost is among them: it could only be taken
// over after its time, which its worker knows by its own clock.
func (st *stepper) renewAll(w int) (some bool) {
	for k := range st.Keys {
		if st.from.slots[w][k].place != ready || st.from.holds(w, k) && st.from.keys[k].phase == alive {
			continue
		}
		some = true
		if !st.from.holds(w, k) {
			st.do("worker W cannot renew its claim on K", w, k, func(s *state) string {
				s.leave(w, k)
				return ""
			})
			continue
		}
		st.do("worker W renews its claim on K", w, k, func(s *state) string {
			s.slots[w][k].before = s.keys[k].called // of the claim that is replaced
			s.hold(w, k)
			return ""
		})
		st.claimUnheard(w, k)
	}
	return some
}

// answer is how a call ends for the worker: with an answer, which may say that
// nothing was done, or without.
func (st *stepper) answer(w int) {
	complete, allFailed := true, true
	for _, sl := range st.from.slots[w] {
		if sl.place == waiting {
			complete = complete && sl.call != sent
			allFailed = allFailed && sl.call == failed
		}
	}
	if complete {
		st.do("worker W is answered", w, 0, func(s *state) string {
			return st.eachWaiting(s, w, func(k int, sl *slot) { sl.decide(st.told(s, k, sl.call)) })
		})
	}
	if complete && allFailed {
		st.do("worker W is told that nothing was done", w, 0, func(s *state) string {
			return st.eachWaiting(s, w, func(_ int, sl *slot) { sl.place = releasing })
		})
	}
	st.do("worker W hears nothing", w, 0, func(s *state) string {
		return st.eachWaiting(s, w, func(_ int, sl *slot) { st.putInDoubt(sl) })
	})
	st.do("worker W hears nothing, and looks", w, 0, func(s *state) string {
		return st.eachWaiting(s, w, func(k int, sl *slot) {
			switch {
			case s.keys[k].effects > 0:
				sl.decide(accepted)
			case st.Breach == HastyAbsence:
				sl.place = ready
			default:
				st.putInDoubt(sl)
			}
		})
	})
}

// told is what an answer says became of a call. At a duplicate a look-up tells
// whose item it is.
func (st *stepper) told(s *state, k int, call fate) outcome {
	ours := s.keys[k].effects > 0 || st.Breach == TrustDuplicate
	if call == done || call == duplicate && ours {
		return accepted
	}
	return refused
}

func (st *stepper) eachWaiting(s *state, w int, f func(k int, sl *slot)) string {
	for k := range st.Keys {
		if sl := &s.slots[w][k]; sl.place == waiting {
			f(k, sl)
			sl.call = unsent
		}
	}
	return ""
}

func (st *stepper) putInDoubt(sl *slot) {
	sl.place = noting
	if st.Breach == DoubtIsFailure {
		sl.place = releasing
	}
}

// note leaves a claim to die: as it is, or rewritten for those who take it over.
func (st *stepper) note(w, k int) {
	st.do("worker W leaves K in doubt", w, k, func(s *state) string {
		s.leave(w, k)
		return ""
	})
	if !st.from.holds(w, k) {
		return
	}
	st.do("worker W notes its doubt of K", w, k, func(s *state) string {
		s.keys[k].rewrite()
		s.leave(w, k)
		return ""
	})
	if st.Delays && st.from.keys[k].delayed == nothing {
		st.do("worker W notes its doubt of K, which is delayed", w, k, func(s *state) string {
			s.keys[k].delayed = putNote
			s.leave(w, k)
			return ""
		})
	}
}

// rewrite puts a claim in place of itself under which no call is made any more:
// its time to die begins anew.
func (e *entry) rewrite() { e.phase, e.owner, e.delayed = over, nobody, nothing }

// store writes an outcome on condition that the claim it was learnt under
// stands.
func (st *stepper) store(w, k int) {
	sl, e := st.from.slots[w][k], st.from.keys[k]
	if st.Breach == AckFirst && !sl.acked {
		st.do("worker W acknowledges K first", w, k, func(s *state) string {
			s.slots[w][k].acked, s.keys[k].acked = true, true
			return ""
		})
		return
	}
	if !st.from.holds(w, k) && st.Breach != LooseOutcome && st.Breach != NoClaim {
		st.do("worker W may not store the outcome of K", w, k, func(s *state) string {
			s.leave(w, k)
			return ""
		})
		return
	}
	if st.Completed && sl.outcome == accepted {
		st.storeAccepted(w, k)
		return
	}
	st.do("worker W stores the outcome of K", w, k, func(s *state) string {
		s.slots[w][k].place = telling
		return s.keys[k].end(k, sl.outcome)
	})
	if st.Delays && e.delayed == nothing {
		st.do("worker W stores the outcome of K, which is delayed", w, k, func(s *state) string {
			s.keys[k].delayed = map[outcome]write{accepted: putAccepted, refused: putRefused, unknown: putUnknown}[sl.outcome]
			s.leave(w, k)
			return ""
		})
	}
}

// end stores a final outcome. There must not be one.
func (e *entry) end(k int, o outcome) (broken string) {
	if e.outcome != open {
		broken = fmt.Sprintf("key %d gets a second final outcome", k)
	}
	e.outcome = o
	return broken
}

// storeAccepted writes the news of acceptance together with the claim that has
// the request tracked.
func (st *stepper) storeAccepted(w, k int) {
	if st.Breach == TrackingApart {
		st.do("worker W stores the news of K alone", w, k, func(s *state) string {
			s.keys[k].news = true
			s.slots[w][k].place = trackingTo
			return ""
		})
		return
	}
	st.do("worker W has K tracked", w, k, func(s *state) string {
		s.slots[w][k].place = telling
		s.keys[k].track()
		return ""
	})
	if !st.Delays {
		return
	}
	st.do("worker W has K tracked and does not hear of it", w, k, func(s *state) string {
		s.keys[k].track()
		s.leave(w, k)
		return ""
	})
	if st.from.keys[k].delayed == nothing {
		st.do("worker W has K tracked, which is delayed", w, k, func(s *state) string {
			s.keys[k].delayed = putTracked
			s.leave(w, k)
			return ""
		})
	}
}

func (e *entry) track() { e.claim, e.news, e.owner, e.delayed = tracked, true, nobody, nothing }

// trackLate writes the tracked claim after the news, which is a breach.
func (st *stepper) trackLate(w, k int) {
	st.do("worker W has K tracked after the news", w, k, func(s *state) string {
		if !s.holds(w, k) {
			s.leave(w, k)
			return ""
		}
		s.keys[k].track()
		s.slots[w][k].place = telling
		return ""
	})
}

// release gives a claim back: the call was surely not made.
func (st *stepper) release(w, k int) {
	before := st.from.slots[w][k].before
	if !st.from.holds(w, k) && st.Breach != LooseRelease {
		st.do("worker W has nothing to give back of K", w, k, func(s *state) string {
			s.leave(w, k)
			return ""
		})
		return
	}
	st.do("worker W gives K back", w, k, func(s *state) string {
		s.keys[k].giveBack(before)
		s.leave(w, k)
		if st.Breach == AckPaused {
			s.keys[k].acked = true
		}
		return ""
	})
	if st.Delays && st.from.keys[k].delayed == nothing && st.Breach != LooseRelease {
		st.do("worker W gives K back, which is delayed", w, k, func(s *state) string {
			s.keys[k].delayed, s.keys[k].reverted = giveBack, before
			s.leave(w, k)
			return ""
		})
	}
}

func (e *entry) giveBack(before bool) {
	e.claim, e.called, e.owner, e.delayed = free, before, nobody, nothing
}

func (st *stepper) acknowledge(w, k int) {
	st.do("worker W acknowledges K", w, k, func(s *state) string {
		s.keys[k].acked = true
		s.leave(w, k)
		return ""
	})
}
