package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"waybill/orchestrator"
)

// lateLinger is how many lingers a batch is filled up for with what is known to
// wait.
const lateLinger = 20

// idlePull is how long one pull on a quiet lane waits for a request.
const idlePull = 30 * time.Second

// runner serves one lane: it pulls what can be called soon, gathers it, and
// sees each request to its verdict.
type runner struct {
	*Worker
	log       *slog.Logger
	tenant    *tenant
	published Lane // as the subject says it
	subject   string
	fault     error // why nothing on this subject can ever work
	consumer  jetstream.Consumer
	batches   sync.WaitGroup
	hopeless  atomic.Bool // there is no such folder, queue or process
	// What only the goroutine that pulls knows: when the last request came, and
	// how many of the lane stood behind it.
	lastRequest time.Time
	behind      uint64

	mu          sync.Mutex
	pausedUntil time.Time
	backoff     time.Duration
	bound       *binding
	canary      string // something of this lane that Orchestrator is known to hold
}

// run serves the lane until ctx ends, and returns when every batch is settled.
// work is the context of what has begun; it ends later.
func (r *runner) run(ctx, work context.Context) {
	defer r.batches.Wait()
	full := false
	r.lastRequest = time.Now()
	for ctx.Err() == nil {
		if wait := r.blockedFor(); wait > 0 {
			if sleep(ctx, wait) != nil {
				return
			}
			continue
		}
		first, err := r.await(ctx, full)
		n := 0
		if len(first) > 0 || full && err == nil {
			n, err = r.begin(ctx, work, first)
		}
		if n > 0 {
			r.lastRequest = time.Now()
		}
		full = n == r.batchSize()
		switch {
		case err != nil:
			r.reopen(ctx, err)
		case time.Since(r.lastRequest) > r.idleTime() && r.retire(ctx):
			return
		}
	}
}

// idleTime is how long a lane is served without requests. One that leads
// nowhere is given up soon: made-up names must not fill the server with
// consumers.
func (r *runner) idleTime() time.Duration {
	if r.hopeless.Load() {
		return hopelessIdle
	}
	return laneIdle
}

// retire removes the consumer of a lane that has been empty for long. If a
// request comes just then it stays in the stream, and the lane is found anew.
// One that is paused stays: the pause is the consumer's, and is for what comes.
func (r *runner) retire(ctx context.Context) bool {
	info, err := r.consumer.Info(ctx)
	if err == nil && (info.Paused || info.NumPending+uint64(info.NumAckPending) > 0) { //nolint:gosec // G115: a count
		return false
	}
	if err == nil {
		err = r.js.DeleteConsumer(ctx, r.cfg.Topology.RequestsStream(), info.Name)
	}
	if err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		r.log.Info("consumer of an empty lane not removed", "error", err)
		return false
	}
	return true
}

// begin carries a batch out beside the next: what is in hand, and what can be
// gathered to it when its turn has come. A tenant has a few turns for all its
// lanes; a batch passes its own on when its calls are under way. It returns how
// many requests were taken on.
func (r *runner) begin(ctx, work context.Context, batch []*delivery) (int, error) {
	r.held.add(batch)
	// Not with the turn in hand: Orchestrator may be long about it. Nor beyond the
	// worker's end, since nothing has been begun.
	t, err := r.target(ctx)
	if err == nil {
		err = r.takeTurn(ctx, len(batch))
	}
	if err != nil {
		r.putOff(ctx, work, t, batch, err)
		return len(batch), nil
	}
	pass := sync.OnceFunc(func() { r.tenant.ahead.Release(1) })
	more, err := r.gather(len(batch))
	r.held.add(more)
	if batch = append(batch, more...); len(batch) == 0 {
		pass()
		return 0, err
	}
	r.batches.Go(func() {
		defer r.leave(batch)
		defer pass()
		r.process(work, t, batch, pass)
	})
	return len(batch), err
}

// takeTurn waits for a turn, and then for room for what is in hand. Who has room
// in hand waits for no turn.
func (r *runner) takeTurn(ctx context.Context, inHand int) error {
	if err := r.tenant.ahead.Acquire(ctx, 1); err != nil {
		return err //nolint:wrapcheck // the context's own
	}
	if err := r.tenant.room.Acquire(ctx, int64(inHand)); err != nil {
		r.tenant.ahead.Release(1)
		return err //nolint:wrapcheck // the context's own
	}
	return nil
}

// target is what the lane is in Orchestrator. The first time the tenant has to
// be asked, in a slot of its own: many lanes may begin at once.
func (r *runner) target(ctx context.Context) (target, error) {
	if r.fault != nil || r.isBound() {
		return r.resolve(ctx)
	}
	if err := r.tenant.slots.acquire(ctx); err != nil {
		return target{lane: r.published}, err
	}
	defer r.tenant.slots.release()
	return r.resolve(ctx)
}

// putOff has a batch delivered again that could not be begun.
func (r *runner) putOff(ctx, work context.Context, t target, batch []*delivery, cause error) {
	wait := time.Second
	if ctx.Err() == nil { // else the worker is stopping
		wait = max(wait, r.pauseLane(cause))
		r.tenant.observe(work, orchestrator.Reads, cause)
	}
	for _, d := range batch {
		d.later(wait)
	}
	r.settle(work, t.lane, batch)
	r.held.drop(batch)
}

func (r *runner) leave(batch []*delivery) {
	r.held.drop(batch)
	r.tenant.room.Release(int64(len(batch)))
}

// blockedFor is how long nothing is to be pulled: the lane or the tenant is
// paused.
func (r *runner) blockedFor() time.Duration {
	r.mu.Lock()
	wait := time.Until(r.pausedUntil)
	r.mu.Unlock()
	return max(wait, r.tenant.pausedFor(orchestrator.Writes))
}

// pauseLane stops pulling for longer each time, until resume. It returns for
// how long.
func (r *runner) pauseLane(err error) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if wait := time.Until(r.pausedUntil); wait > 0 {
		return wait
	}
	r.backoff = min(maxBackoff, max(minBackoff, 2*r.backoff))
	r.pausedUntil = time.Now().Add(r.backoff)
	r.log.Warn("lane paused", "wait", r.backoff, "error", err)
	return r.backoff
}

func (r *runner) resume() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.backoff = 0
}

// batchSize is what one pull asks for: a bulk call's worth of items, or as
// many requests as may be called side by side.
func (r *runner) batchSize() int {
	if r.callsSingly() {
		return min(r.cfg.BulkItems, r.tenant.MaxInFlight)
	}
	return r.cfg.BulkItems
}

// await waits for a request. On a busy lane, where the last batch was full,
// there is no need to.
func (r *runner) await(ctx context.Context, busy bool) ([]*delivery, error) {
	if busy {
		return nil, nil
	}
	wait, cancel := context.WithTimeout(ctx, idlePull)
	defer cancel()
	return r.fetch(1, jetstream.FetchContext(wait))
}

// gather pulls what fills a batch up to a bulk call's items or bytes. What is
// known to stand behind the last request is worth a longer wait than what may
// yet come: on a busy server it is late, and half a batch costs as many calls as
// a whole one. Where requests come singly, further apart than the linger, it
// would gather nothing and is left out.
func (r *runner) gather(inHand int) ([]*delivery, error) {
	n := r.batchSize() - inHand
	if inHand > 0 && r.behind == 0 && time.Since(r.lastRequest) > 2*r.cfg.Linger {
		return nil, nil
	}
	for n > 0 && !r.tenant.room.TryAcquire(int64(n)) {
		n /= 2 // a part of a batch is better than none
	}
	var batch []*delivery
	var err error
	end := time.Now().Add(lateLinger * r.cfg.Linger)
	for lingered := false; len(batch) < n && err == nil && !lingered; {
		most, wait := n-len(batch), r.cfg.Linger
		if r.behind > 0 {
			most, wait = int(min(uint64(most), r.behind)), max(wait, time.Until(end)) //nolint:gosec // G115: both are counts
		}
		lingered = r.behind == 0 || time.Now().After(end)
		var more []*delivery
		more, err = r.fetch(most, jetstream.FetchMaxWait(wait), jetstream.FetchMaxBytes(r.cfg.BulkBytes))
		batch = append(batch, more...)
		lingered = lingered || len(more) < most
	}
	r.tenant.room.Release(int64(n - len(batch)))
	return batch, err
}

// fetch is one pull request.
func (r *runner) fetch(n int, opts ...jetstream.FetchOpt) ([]*delivery, error) {
	messages, err := r.consumer.Fetch(n, opts...)
	if err != nil {
		return nil, fmt.Errorf("pull %d requests: %w", n, err)
	}
	var batch []*delivery
	for msg := range messages.Messages() {
		d, err := newDelivery(msg, r.clock.now())
		if err != nil {
			r.log.Error("message not from a consumer", "error", err)
			continue
		}
		batch = append(batch, d)
		r.behind = d.behind
	}
	if err := messages.Error(); err != nil && !isQuiet(err) {
		return batch, fmt.Errorf("pull %d requests: %w", n, err)
	}
	return batch, nil
}

// isQuiet tells the ends of a pull that say only that there is nothing more.
func isQuiet(err error) bool {
	return errors.Is(err, jetstream.ErrNoMessages) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || errors.Is(err, jetstream.ErrMaxBytesExceeded)
}

// reopen follows a pull that was refused: the consumer is made anew should
// somebody have removed it, and a server that is away is given a moment.
func (r *runner) reopen(ctx context.Context, cause error) {
	if ctx.Err() != nil {
		return
	}
	r.log.Log(ctx, r.troubleLevel(), "pull refused", "error", cause)
	consumer, err := r.openConsumer(ctx, r.subject, r.published)
	if err != nil {
		r.log.Log(ctx, r.troubleLevel(), "lane not reopened", "error", err)
		_ = sleep(ctx, time.Second) // the caller looks at the context
		return
	}
	r.consumer = consumer
}

// process carries a batch out, and passes its turn on when all calls that are
// made for it are under way. What is in doubt goes its own way: the look-up may
// wait long, and must hold up nothing that is new.
func (r *runner) process(ctx context.Context, t target, batch []*delivery, pass func()) {
	r.reach.all(PointPulled, len(batch))
	for _, d := range batch {
		d.read(r.published, r.fault)
	}
	r.hopeless.Store(t.fault != nil)
	mine, copies := r.held.takeKeys(t.lane, batch)
	defer r.held.dropKeys(t.lane, mine)
	for _, d := range copies {
		d.later(time.Second) // until the first one's outcome is there
	}
	if t.fault != nil && r.fault == nil { // what is wrong with the subject they know
		for _, d := range mine {
			d.fault = errors.Join(d.fault, t.fault)
		}
	}
	r.claimAll(ctx, t.lane, mine)
	if len(without(mine)) > 0 {
		r.resume()
	}
	now := r.clock.now()
	doubtful, rest := split(batch, func(d *delivery) bool { return d.verdict == nil && d.inDoubt(now) })
	var beside sync.WaitGroup
	if len(doubtful) > 0 {
		beside.Go(func() {
			r.decide(ctx, t, r.resolveDoubt(ctx, t, doubtful), func() {})
			r.settle(ctx, t.lane, doubtful)
		})
	}
	r.decide(ctx, t, without(rest), pass)
	pass()
	r.settle(ctx, t.lane, rest)
	beside.Wait()
}

// decide finds the verdict of deliveries whose claims are ours, and of which
// nothing has been done.
func (r *runner) decide(ctx context.Context, t target, batch []*delivery, pass func()) {
	now := r.clock.now()
	callable, not := split(batch, func(d *delivery) bool { return d.callable(now) })
	for _, d := range not {
		r.refuse(t, d, now)
	}
	if len(callable) > 0 {
		r.call(ctx, t, callable, pass)
	}
}

// refuse settles what will not be called, and of which nothing was done.
func (r *runner) refuse(t target, d *delivery, now time.Time) {
	if d.fault != nil {
		o, reason := d.invalidOutcome(t.lane, now), ReasonInvalid
		if t.fault != nil && r.fault == nil { // it is Orchestrator that has no such thing
			o.Error.Kind, reason = orchestrator.Rejected.String(), ReasonRejected
		}
		d.refused(o, reason)
		return
	}
	o := d.outcome(t.lane, StatusExpired, ByValidation, now)
	o.Error = &OutcomeError{Kind: "expired", Message: fmt.Sprintf("notAfter %s had passed before anything was done; publish it under a new key, or without notAfter", d.request.NotAfter.Format(time.RFC3339))}
	d.refused(o, ReasonExpired)
}

func split(batch []*delivery, in func(*delivery) bool) (yes, no []*delivery) {
	for _, d := range batch {
		if in(d) {
			yes = append(yes, d)
		} else {
			no = append(no, d)
		}
	}
	return yes, no
}

// remember keeps something that Orchestrator surely holds, by which a filter
// can be shown to work.
func (r *runner) remember(handle string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.canary = handle
}
