package pipeline

import (
	"maps"
	"sync"
	"sync/atomic"
)

// stats counts what a worker has done.
type stats struct {
	ready   atomic.Bool // it has started, and is not stopping
	gone    atomic.Bool // a stream is not there any more
	unasked atomic.Bool // the requests stream gave no answer the last time

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
	return Stats{Ready: s.ready.Load() && !s.gone.Load() && !s.unasked.Load(), Outcomes: maps.Clone(s.outcomes)}
}
