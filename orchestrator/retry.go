package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cenkalti/backoff/v4"
)

const (
	firstPause   = 500 * time.Millisecond
	longestPause = 8 * time.Second
)

// retry repeats a call as long as it is surely not done and there is time for
// it: RetryFor, and the context's own deadline. A write whose outcome is unknown
// is never repeated here; that is for a caller who can look it up.
func (c *Client) retry(ctx context.Context, cl call, folderID int64) *Error {
	var last *Error
	pauses := newPauses(ctx, c.retryFor)
	try := func() error {
		last = c.attempt(ctx, cl, folderID)
		switch {
		case last == nil:
			return nil
		case !last.worthRepeating():
			return backoff.Permanent(last)
		}
		pauses.asked = last.RetryAfter
		return last
	}
	tell := func(err error, pause time.Duration) {
		c.log.LogAttrs(ctx, slog.LevelInfo, "repeating a call that was not done",
			slog.Duration("after", pause), slog.Any("error", err))
	}
	_ = backoff.RetryNotify(try, backoff.WithContext(pauses, ctx), tell) // last says more
	if last != nil && last.Kind == Transient && ctx.Err() != nil && !errors.Is(last, ctx.Err()) {
		last.Err = waitingEnded(ctx, last.Err)
	}
	return last
}

// waitingEnded says that the caller's end came between two tries.
func waitingEnded(ctx context.Context, err error) error {
	if err == nil {
		return fmt.Errorf("%w while waiting to repeat it", contextError(ctx))
	}
	return fmt.Errorf("%w (%w while waiting to repeat it)", err, contextError(ctx))
}

// worthRepeating leaves out the transient ones that a moment's wait will not
// mend: an answer from something that is not Orchestrator, and the caller's own
// refusal.
func (e *Error) worthRepeating() bool {
	return e.Kind == Transient && !errors.Is(e, ErrNotSent) && (e.StatusCode == 0 || e.StatusCode >= 400)
}

// pauses are the waits between tries: growing, jittered, never shorter than the
// server asks. It stops at once when the next try would come too late.
type pauses struct {
	*backoff.ExponentialBackOff

	asked    time.Duration // the last answer's Retry-After
	deadline time.Time
}

func newPauses(ctx context.Context, retryFor time.Duration) *pauses {
	p := &pauses{
		ExponentialBackOff: backoff.NewExponentialBackOff(
			backoff.WithInitialInterval(firstPause),
			backoff.WithMaxInterval(longestPause),
			backoff.WithMaxElapsedTime(0), // the deadline below decides
		),
		deadline: time.Now().Add(retryFor),
	}
	if deadline, ok := ctx.Deadline(); ok && deadline.Before(p.deadline) {
		p.deadline = deadline
	}
	return p
}

// NextBackOff is the wait before the next try, or backoff.Stop.
func (p *pauses) NextBackOff() time.Duration {
	pause := max(p.ExponentialBackOff.NextBackOff(), p.asked)
	if time.Now().Add(pause).After(p.deadline) {
		return backoff.Stop
	}
	return pause
}
