package pipeline

import (
	"sync/atomic"
	"time"
)

// serverClock tells the time as the NATS server does, whose stamps on claims
// are what every worker goes by. Workers' own clocks may be wrong, as long as
// they run at the right speed.
type serverClock struct {
	offset atomic.Int64 // the server's clock less ours, in nanoseconds
}

// observe takes a time stamp of the server's that came with an answer to a
// request sent at asked. The answer may have been stamped at any moment
// between; counting from the later one makes the server's clock seem slow by
// at most the round trip, so a claim is never thought dead too early.
func (c *serverClock) observe(stamp, asked time.Time) {
	answered := asked.Add(time.Since(asked))
	c.offset.Store(int64(stamp.Sub(answered)))
}

func (c *serverClock) now() time.Time {
	return time.Now().Add(c.ahead()).UTC()
}

// ahead is how far the server's clock is ahead of ours.
func (c *serverClock) ahead() time.Duration { return time.Duration(c.offset.Load()) }
