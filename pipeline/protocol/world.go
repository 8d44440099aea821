package protocol

// world gives what may happen to a key without a worker's doing.
func (st *stepper) world(k int) {
	e := st.from.keys[k]
	if e.claim == held && e.phase == alive {
		st.do("the claim of K is over", 0, k, func(s *state) string {
			s.keys[k].phase = over
			return ""
		})
	}
	if e.claim == held && e.phase == over && (e.flying == 0 || st.Breach == NoSettleTime) {
		st.do("the claim of K is dead", 0, k, func(s *state) string {
			s.keys[k].phase = dead
			return ""
		})
	}
	if e.acked {
		// Its ack was lost when a server died, or it is published again.
		st.do("request K comes again", 0, k, func(s *state) string {
			s.keys[k].acked = false
			return ""
		})
	}
	if st.Expires && !e.late {
		st.do("request K expires", 0, k, func(s *state) string {
			s.keys[k].late = true
			return ""
		})
	}
	if st.Unique && !e.foreign && e.effects == 0 {
		st.do("somebody else adds an item with the Reference of K", 0, k, func(s *state) string {
			s.keys[k].foreign = true
			return ""
		})
	}
	st.follow(k)
	st.flight(k)
	st.arrive(k)
	st.forget(k)
}

// follow is the end of what is tracked: any worker sees it, stores it in place
// of the tracked claim, and may be late with that.
func (st *stepper) follow(k int) {
	e := st.from.keys[k]
	if e.claim == tracked {
		st.do("the end of K is seen", 0, k, func(s *state) string { return st.settle(s, k) })
		if st.Delays && e.delayed == nothing {
			st.do("the end of K is seen, and its write is delayed", 0, k, func(s *state) string {
				s.keys[k].delayed = putEnd
				return ""
			})
		}
	}
	if st.Breach == TrackingApart && e.news && e.claim != settled && e.outcome == open {
		st.do("the end of K is seen by the news alone", 0, k, func(s *state) string {
			return s.keys[k].end(k, accepted)
		})
	}
}

func (st *stepper) settle(s *state, k int) (broken string) {
	e := &s.keys[k]
	e.claim = settled
	if st.Breach != LooseEnd {
		e.delayed = nothing
	}
	return e.end(k, accepted)
}

// flight is what becomes of a call: an effect or none, whether anybody still
// waits for its answer or not.
func (st *stepper) flight(k int) {
	e := st.from.keys[k]
	if e.flying == 0 {
		return
	}
	awaited := uint8(0)
	for w := range workers {
		if st.from.slots[w][k].call != sent {
			continue
		}
		awaited++
		st.land(k, func(s *state, f fate) { s.slots[w][k].call = f })
	}
	if e.flying > awaited {
		st.land(k, func(*state, fate) {})
	}
}

func (st *stepper) land(k int, tell func(*state, fate)) {
	st.do("the call of K takes effect", 0, k, func(s *state) string {
		e := &s.keys[k]
		e.flying--
		if st.Unique && (e.foreign || e.effects > 0) {
			tell(s, duplicate)
			return ""
		}
		e.effects++
		tell(s, done)
		return ""
	})
	st.do("the call of K never takes effect", 0, k, func(s *state) string {
		s.keys[k].flying--
		tell(s, failed)
		return ""
	})
}

// arrive stores a write whose sender has given up: its condition still holds,
// or it would be gone.
func (st *stepper) arrive(k int) {
	e := st.from.keys[k]
	if e.delayed == nothing {
		return
	}
	st.do("a delayed write to K arrives", 0, k, func(s *state) string {
		to := &s.keys[k]
		to.delayed = nothing
		switch e.delayed {
		case putClaim:
			s.hold(nobody, k)
		case putAccepted:
			return to.end(k, accepted)
		case putRefused:
			return to.end(k, refused)
		case putUnknown:
			return to.end(k, unknown)
		case giveBack:
			to.giveBack(e.reverted)
		case putTracked:
			to.track()
		case putNote:
			to.rewrite()
		case putEnd:
			return st.settle(s, k)
		case nothing:
		}
		return ""
	})
}

// forget is the end of the ledger's retention: outcomes go first, claims a day
// later. Nothing is under way so long after.
func (st *stepper) forget(k int) {
	e := st.from.keys[k]
	if !st.Forgets || e.outcome == open && !e.forgot || e.owner != nobody || e.flying > 0 || e.delayed != nothing {
		return
	}
	for w := range workers {
		if st.from.slots[w][k].place != out {
			return
		}
	}
	claimGoes := e.forgot && e.outcome == open
	if st.Breach == ClaimsFirst {
		claimGoes = !claimGoes
	}
	if claimGoes && e.claim == none {
		return
	}
	st.do("the ledger forgets K", 0, k, func(s *state) string {
		to := &s.keys[k]
		to.forgot = true
		if claimGoes {
			to.claim, to.phase, to.called = none, alive, false
			return ""
		}
		to.outcome = open
		return ""
	})
}
