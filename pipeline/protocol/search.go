package protocol

import (
	"fmt"
	"slices"
	"strings"
)

// Result is what a search has found.
type Result struct {
	States int // all that can be reached
	Steps  int // between them
	// Broken says how the promise is broken, and Way is the shortest way there;
	// empty if it is kept.
	Broken string
	Way    []string
	Taken  map[string]bool // what steps were taken, by the text of their labels
}

// Held reports whether the promise is kept in every state.
func (r Result) Held() bool { return r.Broken == "" }

// String tells the result, and the way to a breach step by step.
func (r Result) String() string {
	text := fmt.Sprintf("%d states, %d steps: ", r.States, r.Steps)
	if r.Held() {
		return text + "the promise is kept"
	}
	return text + r.Broken + "\n  " + strings.Join(r.Way, "\n  ")
}

// search is the states seen so far, each with where it was come by from first.
// States are told apart only as far as it matters which worker is which, and
// which key.
type search struct {
	stepper
	number map[packed]int32
	seen   []packed // by number, as what follows
	from   []int32
	ends   []bool  // a way leads from it to where all is settled
	first  []int32 // where in to its steps begin
	to     []int32
	todo   []state // the last of those seen, whose steps are to be taken
	Result
}

// Search visits every state of a variant, the nearest first.
func Search(v Variant) Result {
	s := &search{stepper: stepper{Variant: v}, number: make(map[packed]int32)}
	s.Taken = make(map[string]bool)
	s.add(begin(), -1)
	for i := int32(0); len(s.todo) > 0 && s.Held(); i++ {
		from := s.todo[0]
		s.todo = s.todo[1:]
		s.expand(i, from)
	}
	if s.Held() {
		s.findTraps()
	}
	s.States = len(s.seen)
	return s.Result
}

func (s *search) add(st state, from int32) int32 {
	st, p := st.canonical(s.Keys)
	if i, there := s.number[p]; there {
		return i
	}
	i := int32(len(s.seen)) //nolint:gosec // there are never that many
	s.number[p] = i
	s.seen, s.from, s.ends = append(s.seen, p), append(s.from, from), append(s.ends, st.settledAll(s.Keys))
	s.todo = append(s.todo, st)
	return i
}

func (s *search) expand(i int32, from state) {
	s.first = append(s.first, int32(len(s.to))) //nolint:gosec // there are never that many
	for _, next := range s.all(from) {
		s.Steps++
		s.Taken[next.text] = true
		s.to = append(s.to, s.add(next.to, i))
		if next.broken != "" {
			s.tell(int(i), func(n step) bool { return n.broken != "" })
			return
		}
	}
}

// findTraps finds a state from which no way leads to where all is settled.
func (s *search) findTraps() {
	for changed := true; changed; {
		changed = false
		to := s.to
		for i := len(s.ends) - 1; i >= 0; i-- { // most steps lead to later states
			steps := to[s.first[i]:]
			to = to[:s.first[i]]
			if !s.ends[i] && slices.ContainsFunc(steps, func(to int32) bool { return s.ends[to] }) {
				s.ends[i], changed = true, true
			}
		}
	}
	if trap := slices.Index(s.ends, false); trap >= 0 {
		last := s.tell(trap, nil)
		s.Broken = "nothing leads to an end any more:\n" + last.String()
	}
}

// tell goes the way to a state once more, and one step further if there is one
// to go. In the states seen, workers and keys have changed names; here they
// keep them.
func (s *search) tell(to int, further func(step) bool) state {
	var way []int
	for i := to; i > 0; i = int(s.from[i]) {
		way = append(way, i)
	}
	at := begin()
	for _, i := range slices.Backward(way) {
		at = s.goOn(at, func(n step) bool {
			_, p := n.to.canonical(s.Keys)
			return p == s.seen[i]
		})
	}
	if further != nil {
		at = s.goOn(at, further)
	}
	return at
}

func (s *search) goOn(at state, wanted func(step) bool) state {
	steps := s.all(at)
	next := steps[slices.IndexFunc(steps, wanted)]
	s.Way = append(s.Way, next.String())
	s.Broken = next.broken
	return next.to
}
