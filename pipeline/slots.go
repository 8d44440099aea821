package pipeline

import (
	"context"
	"sync"
)

// slots caps how many calls a tenant has in flight, in the order they were
// asked for, so that no lane starves. The cap adapts: a little up with every
// success, down to half when Orchestrator says it is too much.
type slots struct {
	mu      sync.Mutex
	max     float64
	limit   float64
	inUse   int
	waiting []chan struct{} // closed when the turn has come
}

func newSlots(most int) *slots {
	return &slots{max: float64(most), limit: float64(most)}
}

// acquire waits for a slot. It returns the context's cause if that ends first.
func (s *slots) acquire(ctx context.Context) error {
	s.mu.Lock()
	if len(s.waiting) == 0 && s.inUse < int(s.limit) {
		s.inUse++
		s.mu.Unlock()
		return nil
	}
	turn := make(chan struct{})
	s.waiting = append(s.waiting, turn)
	s.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
		s.giveUp(turn)
		return context.Cause(ctx) //nolint:wrapcheck // callers say what was being done
	}
}

// giveUp leaves the line; a turn that came in the meantime is passed on.
func (s *slots) giveUp(turn chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, t := range s.waiting {
		if t == turn {
			s.waiting = append(s.waiting[:i], s.waiting[i+1:]...)
			return
		}
	}
	s.inUse--
	s.admit()
}

// tryAcquire takes up to n slots that are free right now, if nobody waits.
func (s *slots) tryAcquire(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting) > 0 {
		return 0
	}
	n = max(0, min(n, int(s.limit)-s.inUse))
	s.inUse += n
	return n
}

func (s *slots) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inUse--
	s.admit()
}

// admit gives free slots to those who wait. The caller holds the lock.
func (s *slots) admit() {
	for len(s.waiting) > 0 && s.inUse < int(s.limit) {
		close(s.waiting[0])
		s.waiting = s.waiting[1:]
		s.inUse++
	}
}

// grow follows a success: one more slot for each round of them.
func (s *slots) grow() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limit = min(s.max, s.limit+1/s.limit)
	s.admit()
}

// shrink follows a refusal for load.
func (s *slots) shrink() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limit = max(1, s.limit/2)
}
