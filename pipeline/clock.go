package pipeline

import (
	"sync/atomic"
	"time"
)

// serverClock tells the time as the NATS server does, whose stamps on claims
// are what every worker goes by. Workers' own clocks may be wrong, and may be
// set while they run: only their speed counts, since the time that has passed
// since the server's last stamp is measured by the monotonic clock.
type serverClock struct {
	last atomic.Pointer[stamp]
}

// stamp is a time of the server's and when, by our clock, it was so at the
// earliest.
type stamp struct {
	server, ours time.Time
}

// observe takes a time stamp of the server's that came with an answer that has
// just been read. It may have been stamped at any moment since the request was
// sent; counting from its arrival makes the server's clock seem slow by at most
// the round trip, so a claim is never thought dead too early.
func (c *serverClock) observe(server time.Time) {
	c.last.Store(&stamp{server: server, ours: time.Now()})
}

func (c *serverClock) now() time.Time {
	s := c.last.Load()
	if s == nil {
		return time.Now().UTC()
	}
	return s.server.Add(time.Since(s.ours)).UTC()
}

// moment is a time by both clocks of this machine.
type moment struct {
	mono, wall time.Time
}

// now reads both clocks.
func (w *Worker) now() moment {
	return moment{mono: time.Now(), wall: w.cfg.Wall().Round(0)}
}

// since is how much time may have passed. A machine that was suspended has not
// counted it on its monotonic clock, and a wall clock may have been set: the
// one that says more is believed.
func (m moment) since(earlier moment) time.Duration {
	return max(m.mono.Sub(earlier.mono), m.wall.Sub(earlier.wall))
}
