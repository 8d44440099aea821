package main

import (
	"math/rand/v2"
	"sync"
	"time"
)

const (
	// A clock that is unsteady is set every few seconds, to what is wrong by
	// as much as unsteadyBy.
	unsteadyBy    = time.Hour
	unsteadyLeast = time.Second
	unsteadyMost  = 5 * time.Second
)

// unsteadyClock is a wall clock that somebody sets again and again: a part of
// worker prove.
type unsteadyClock struct {
	right func() time.Time

	mu     sync.Mutex
	random *rand.Rand
	wrong  time.Duration
	next   time.Time // when it is set, by the right clock
}

// newUnsteadyClock is wrong by what the seed says, beside a clock that is
// right.
func newUnsteadyClock(seed int64, right func() time.Time) *unsteadyClock {
	c := &unsteadyClock{right: right, random: rand.New(rand.NewPCG(uint64(seed), 0))} //nolint:gosec // G404, G115: repeatable on purpose
	c.next = right()
	return c
}

// now is what the clock shows, without the monotonic reading that a clock does
// not have.
func (c *unsteadyClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.right()
	for !now.Before(c.next) {
		c.wrong = time.Duration(c.random.Int64N(int64(2*unsteadyBy))) - unsteadyBy
		c.next = c.next.Add(unsteadyLeast + time.Duration(c.random.Int64N(int64(unsteadyMost-unsteadyLeast))))
	}
	return now.Round(0).Add(c.wrong)
}
