package pipeline

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// settleWait is how long a worker that was told to stop still tries to write
// down what it has learnt.
const settleWait = 10 * time.Second

// settle carries verdicts out, in an order that loses nothing wherever it is
// cut short: dead letters, then outcomes, then acks. Each step repeated does
// no harm, and a step whose answer is lost is repeated by a later delivery.
func (r *runner) settle(ctx context.Context, lane Lane, batch []*delivery) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleWait)
	defer cancel()
	r.bury(ctx, lane, batch)
	r.publishOutcomes(ctx, lane, batch)
	r.releaseClaims(ctx, lane, batch)
	for i, d := range batch {
		r.answer(d, i, len(batch))
	}
}

// bury stores the dead letters. Where that fails the request is left as it
// is, to be settled by a later delivery.
func (r *runner) bury(ctx context.Context, lane Lane, batch []*delivery) {
	dead, _ := split(batch, func(d *delivery) bool { return d.verdict.deadLetter != "" })
	acks := make([]jetstream.PubAckFuture, len(dead))
	for i, d := range dead {
		r.reach.at(PointBurying, i, len(dead))
		ack, err := r.js.PublishMsgAsync(r.deadLetter(lane, d))
		if err != nil {
			r.unsettled(d, err)
		}
		acks[i] = ack
	}
	for i, d := range dead {
		if acks[i] == nil {
			continue
		}
		select {
		case <-acks[i].Ok():
			r.reach.at(PointBuried, i, len(dead))
			if d.verdict.outcome == nil {
				r.log.Warn("copy of a known key came to nothing", "key", d.key, "reason", d.verdict.deadLetter, "sequence", d.sequence)
			}
		case err := <-acks[i].Err():
			r.unsettled(d, fmt.Errorf("store dead letter: %w", err))
		case <-ctx.Done():
			r.unsettled(d, fmt.Errorf("store dead letter: %w", context.Cause(ctx)))
		}
	}
}

// publishOutcomes writes what became of the requests, on condition that their
// claims still stand.
func (r *runner) publishOutcomes(ctx context.Context, lane Lane, batch []*delivery) {
	var writes []*write
	var final []*delivery
	for _, d := range batch {
		o := d.verdict.outcome
		if o == nil {
			continue
		}
		w, err := r.ledger.putOutcome(lane, *o, d.claim, traceOf(d.msg.Headers()))
		if err != nil {
			r.unsettled(d, err)
			continue
		}
		if o.Stage == StageAccepted {
			r.track(ctx, lane, d, w)
			continue
		}
		writes, final = append(writes, w), append(final, d)
	}
	if len(writes) == 0 {
		return
	}
	r.ledger.commit(ctx, PointOutcomeSending, writes)
	for i, d := range final {
		r.noteOutcome(d, writes[i].err)
	}
	r.reach.all(PointOutcomeStored, len(final))
}

// track writes the news that a request is accepted together with the claim
// that has it followed to its end: both, or none.
func (r *runner) track(ctx context.Context, lane Lane, d *delivery, accepted *write) {
	c := d.claim
	c.State, c.Hold = claimTracked, 0
	err := r.ledger.commitTogether(ctx, PointTracking, []*write{accepted, r.ledger.changeClaim(lane, d.key, c)})
	r.noteOutcome(d, err)
	if err == nil {
		r.reach.all(PointTracked, 1)
	}
}

// noteOutcome notes whether an outcome was stored.
func (r *runner) noteOutcome(d *delivery, err error) {
	if err != nil {
		r.unsettled(d, err)
		return
	}
	r.stats.count(d.verdict.outcome)
	if o := d.verdict.outcome; o.Error != nil {
		r.log.Warn("request came to nothing", "key", o.Key, "status", string(o.Status), "kind", o.Error.Kind, "code", o.Error.Code)
	}
}

// unsettled leaves a delivery for later. Where the condition did not hold, the
// claim is another's by now, and so is the outcome.
func (r *runner) unsettled(d *delivery, err error) {
	if errors.Is(err, errConflict) {
		r.log.Info("claim lost, nothing published", "key", d.key)
		d.later(time.Second)
		return
	}
	r.log.Warn("request not settled", "key", d.key, "error", err)
	d.later(r.cfg.Settle + max(0, d.claimLeft()))
}

// releaseClaims gives keys back. If that fails the claim dies by itself, and
// the request is looked for before it is called again.
func (r *runner) releaseClaims(ctx context.Context, lane Lane, batch []*delivery) {
	var writes []*write
	for _, d := range batch {
		if d.verdict.release {
			writes = append(writes, r.ledger.changeClaim(lane, d.key, d.freeClaim()))
		}
	}
	if len(writes) == 0 {
		return
	}
	r.ledger.commit(ctx, PointReleasing, writes)
	for i, w := range writes {
		if w.err != nil {
			r.log.Info("claim not released", "error", w.err)
			continue
		}
		r.reach.at(PointReleased, i, len(writes))
	}
}

// answer tells JetStream. An answer that is lost is harmless: the request is
// delivered again, and its outcome found.
func (r *runner) answer(d *delivery, index, of int) {
	before, after := PointAcking, PointAcked
	if d.verdict.settle == settleNak {
		before, after = PointNaking, PointNaked
	}
	r.reach.at(before, index, of)
	var err error
	switch d.verdict.settle {
	case settleAck:
		err = d.msg.Ack()
	case settleTerm:
		err = d.msg.TermWithReason(d.verdict.deadLetter)
	case settleNak:
		err = d.msg.NakWithDelay(r.together(d.verdict.delay))
	}
	r.reach.at(after, index, of)
	if err != nil {
		r.log.Info("delivery not answered", "key", d.key, "error", err)
	}
}

// together has what is put off for long come back in waves, whoever put it
// off and when: what is in doubt is looked for in batches then, not one by
// one, which would use up the list calls.
func (r *runner) together(delay time.Duration) time.Duration {
	const wave = 500 * time.Millisecond
	if delay < time.Second {
		return max(delay, time.Millisecond)
	}
	at := r.clock.now().Add(delay)
	return delay + at.Truncate(wave).Add(wave).Sub(at)
}
