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

// search is the states seen so far, each with the way it was come by first.
// Since states are told apart only as far as it matters which worker is which,
// and which key, names may change places along a way.
type search struct {
	stepper
	states []state
	seen   map[packed]int
	from   []int
	by     []label
	back   [][]int // by state: from where it is reached
	Result
}

// Search visits every state of a variant, the nearest first.
func Search(v Variant) Result {
	s := &search{stepper: stepper{Variant: v}, seen: make(map[packed]int)}
	s.add(begin(), -1, label{})
	for i := 0; i < len(s.states) && s.Held(); i++ {
		s.expand(i)
	}
	if s.Held() {
		s.findTraps()
	}
	s.States = len(s.states)
	return s.Result
}

func (s *search) add(st state, from int, by label) int {
	st, p := st.canonical(s.Keys)
	if i, there := s.seen[p]; there {
		return i
	}
	i := len(s.states)
	s.seen[p] = i
	s.states, s.from, s.by, s.back = append(s.states, st), append(s.from, from), append(s.by, by), append(s.back, nil)
	return i
}

func (s *search) expand(i int) {
	for _, next := range s.all(s.states[i]) {
		s.Steps++
		to := s.add(next.to, i, next.label)
		s.back[to] = append(s.back[to], i)
		if next.broken != "" {
			s.Broken = next.broken
			s.Way = append(s.way(i), next.String())
			return
		}
	}
}

// findTraps finds a state from which no way leads to where all is settled.
func (s *search) findTraps() {
	reached := make([]bool, len(s.states))
	var todo []int
	for i := range s.states {
		if s.states[i].settledAll(s.Keys) {
			reached[i] = true
			todo = append(todo, i)
		}
	}
	for len(todo) > 0 {
		i := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for _, from := range s.back[i] {
			if !reached[from] {
				reached[from] = true
				todo = append(todo, from)
			}
		}
	}
	if trap := slices.Index(reached, false); trap >= 0 {
		s.Broken = "nothing leads to an end any more:\n" + s.states[trap].String()
		s.Way = s.way(trap)
	}
}

func (s *search) way(to int) []string {
	var way []string
	for i := to; i > 0; i = s.from[i] {
		way = append(way, s.by[i].String())
	}
	slices.Reverse(way)
	return way
}
