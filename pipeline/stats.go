package pipeline

import (
	"maps"
	"sync"
	"sync/atomic"
)

// stats counts what a worker has done.
type stats struct {
	ready atomic.Bool

	mu       sync.Mutex
	outcomes map[Status]uint64
}

func (s *stats) count(o *Outcome) {
	if o.Stage != StageFinal {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.outcomes == nil {
		s.outcomes = make(map[Status]uint64)
	}
	s.outcomes[o.Status]++
}

func (s *stats) snapshot() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Stats{Ready: s.ready.Load(), Outcomes: maps.Clone(s.outcomes)}
}
