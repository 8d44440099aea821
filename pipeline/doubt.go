package pipeline

import (
	"context"
	"errors"
	"fmt"
	"time"

	"waybill/orchestrator"
)

// inDoubt deals with calls that may have taken effect. What is found in
// Orchestrator at once is believed; what is not found may still be on its way,
// so its claim is left to die and a later delivery looks again.
func (r *runner) inDoubt(ctx context.Context, t target, batch []*delivery, cause error) {
	r.log.Warn("call in doubt", "requests", len(batch), "error", cause)
	seen, err := r.findByFilters(ctx, t, batch)
	if err != nil {
		r.log.Info("look-up put off", "error", err)
	}
	var writes []*write
	for _, d := range batch {
		if s := seen.of(d); s.finding == foundOurs {
			r.accept(t, d, ByLookup, s.item, s.job)
			continue
		}
		d.later(max(r.cfg.Settle, d.claimLeft()+r.cfg.Settle))
		if ctx.Err() == nil { // it was not we who broke the call off
			c := d.claim
			c.Unclear, c.Hold = true, max(0, d.claimLeft())
			writes = append(writes, r.ledger.changeClaim(t.lane, d.key, c))
		}
	}
	r.note(ctx, writes)
}

// note writes down what later takers of a claim should know. Where it fails
// they know less, and are more patient.
func (r *runner) note(ctx context.Context, writes []*write) {
	if len(writes) == 0 {
		return
	}
	r.ledger.commit(ctx, PointDoubtNoting, writes)
	for i, w := range writes {
		if w.err != nil {
			r.log.Info("claim not noted", "error", w.err)
			continue
		}
		r.reach.at(PointDoubtNoted, i, len(writes))
	}
}

// claimLeft is how long until the claim is over.
func (d *delivery) claimLeft() time.Duration { return time.Until(d.heldSince.mono.Add(d.claim.Hold)) }

// resolveDoubt looks in Orchestrator for what a dead claim's call may have
// done. It gives verdicts to what was found, to what cannot be told and to
// what has failed too often, and returns the deliveries of which nothing was
// done: they may be called.
func (r *runner) resolveDoubt(ctx context.Context, t target, batch []*delivery) (absent []*delivery) {
	seen, err := r.find(ctx, t, batch)
	if err != nil {
		r.postpone(ctx, t, batch, err)
		return nil
	}
	r.reach.all(PointLookedUp, len(batch))
	for _, d := range batch {
		s := seen.of(d)
		switch {
		case s.finding == foundOurs:
			r.accept(t, d, ByLookup, s.item, s.job)
		case s.finding == foundUnclear:
			r.giveUp(t, d, s.why)
		case s.finding == foundOthers && t.queue.EnforceUniqueReference:
			r.refuseDuplicate(t, d, s)
		case !seen.absenceProven:
			r.postpone(ctx, t, []*delivery{d}, errors.New("the look-up found nothing, and cannot be trusted to find everything"))
		case d.claim.Strikes >= r.cfg.MaxAttempts:
			r.refuseExhausted(t, d)
		default:
			absent = append(absent, d)
		}
	}
	return absent
}

// postpone leaves deliveries in doubt to a later look. Where Orchestrator did
// answer, yet could not tell, the wait counts against the patience; while it
// is throttled or cannot be reached, it does not.
func (r *runner) postpone(ctx context.Context, t target, batch []*delivery, cause error) {
	delay := max(r.cfg.Settle, r.tenant.pausedFor(orchestrator.ListReads))
	e, _ := errors.AsType[*orchestrator.Error](cause)
	answered := ctx.Err() == nil && (e == nil || e.Kind != orchestrator.Transient) && !errors.Is(cause, errNoReadsLeft)
	r.log.Warn("still in doubt", "requests", len(batch), "wait", delay, "error", cause)
	var writes []*write
	for _, d := range batch {
		if d.claim.PatienceUsed >= r.cfg.Patience {
			r.giveUp(t, d, fmt.Sprintf("nobody could tell for %s: %v", d.claim.PatienceUsed, cause))
			continue
		}
		d.later(delay)
		c := d.claim
		c.Hold = 0 // no more calls are made under it
		if answered {
			c.PatienceUsed += delay
		}
		if d.attempt {
			c.Attempts-- // it was counted ahead, and not made
		}
		writes = append(writes, r.ledger.changeClaim(t.lane, d.key, c))
	}
	r.note(ctx, writes)
}

// giveUp reports what nobody can know. It is never called again by itself.
func (r *runner) giveUp(t target, d *delivery, why string) {
	o := d.outcome(t.lane, StatusUnknown, ByLookup, r.clock.now())
	o.Error = &OutcomeError{Kind: "in_doubt", Message: why + "; look for it in Orchestrator, then decide what is to become of the request"}
	d.refused(o, ReasonUnknown)
}

// refuseExhausted ends what Orchestrator has failed at again and again without
// doing anything: each time the look-up showed that nothing was there.
func (r *runner) refuseExhausted(t target, d *delivery) {
	o := d.outcome(t.lane, StatusRejected, ByLookup, r.clock.now())
	o.Error = &OutcomeError{Kind: "exhausted", Message: fmt.Sprintf("%d calls got no clear answer though others got through, and each time a look-up found nothing; see in Orchestrator what is wrong with it", d.claim.Strikes)}
	d.refused(o, ReasonRejected)
}

// resolveDuplicates deals with items whose Reference the queue has already:
// it is this very item, added by an earlier call, or somebody else's.
func (r *runner) resolveDuplicates(ctx context.Context, t target, batch []*delivery) {
	if len(batch) == 0 {
		return
	}
	seen, err := r.find(ctx, t, batch)
	if err != nil {
		r.postpone(ctx, t, batch, err)
		return
	}
	for _, d := range batch {
		s := seen.of(d)
		calledBefore := d.prior != nil && d.prior.EverCalled
		switch {
		case s.finding == foundOurs:
			r.accept(t, d, ByDuplicate, s.item, s.job)
		case s.finding == foundOthers, s.finding == foundUnclear && !calledBefore:
			r.refuseDuplicate(t, d, s)
		case s.finding == foundUnclear:
			r.giveUp(t, d, s.why)
		case calledBefore:
			r.postpone(ctx, t, []*delivery{d}, errors.New("the queue refuses the Reference as a duplicate, and a look-up finds no such item"))
		default:
			r.refuseDuplicate(t, d, s)
		}
	}
}

func (r *runner) refuseDuplicate(t target, d *delivery, s sighting) {
	o := d.outcome(t.lane, StatusRejected, ByDuplicate, r.clock.now())
	o.Item = s.item
	message := fmt.Sprintf("the queue enforces unique references and already has %q", d.payload.reference)
	if s.item != nil {
		message += fmt.Sprintf(", on item %d, which is not this request's", s.item.ID)
	} else {
		message += ", on an item that can no longer be seen (references of removed items may still count)"
	}
	o.Error = &OutcomeError{Kind: "duplicate", Code: "1016", HTTPStatus: 409, Message: message + "; use another Reference"}
	d.refused(o, ReasonRejected)
}
