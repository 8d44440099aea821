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

// ahead is how far the server's clock is ahead of ours as it is set now.
func (c *serverClock) ahead() time.Duration {
	return c.now().Sub(time.Now().Round(0))
}
