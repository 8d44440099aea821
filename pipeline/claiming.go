package pipeline

import (
	"context"
	"time"
)

// maxClaimRounds is how often one delivery may find the ledger changed under
// it before it is left to a later delivery.
const maxClaimRounds = 4

// claimAll takes the keys of a batch on: afterwards each delivery either has
// the claim and no verdict, or a verdict. Nothing is concluded from how often
// a request was delivered; only the ledger knows.
func (r *runner) claimAll(ctx context.Context, lane Lane, batch []*delivery) {
	pending := batch
	for range maxClaimRounds {
		if pending = r.claimOnce(ctx, lane, pending); len(pending) == 0 {
			break
		}
	}
	for _, d := range pending {
		d.later(time.Second)
	}
	r.confirmTakeovers(ctx, lane, without(batch))
}

// without gives the deliveries that have no verdict yet.
func without(batch []*delivery) []*delivery {
	var open []*delivery
	for _, d := range batch {
		if d.verdict == nil {
			open = append(open, d)
		}
	}
	return open
}

// claimOnce writes a claim for each delivery, looks at those it could not
// write, and gives the ones to be tried again.
func (r *runner) claimOnce(ctx context.Context, lane Lane, batch []*delivery) (again []*delivery) {
	refused := r.writeClaims(ctx, lane, batch)
	if len(refused) == 0 {
		return nil
	}
	keys := make([]string, len(refused))
	for i, d := range refused {
		keys[i] = d.key
	}
	states, err := r.ledger.read(ctx, lane, keys)
	if err != nil {
		r.log.Warn("ledger not read", "error", err)
		for _, d := range refused {
			d.later(r.cfg.Hold + r.cfg.Settle) // a claim of ours may stand
		}
		return nil
	}
	r.reach.all(PointLedgerRead, len(refused))
	for _, d := range refused {
		if r.meet(d, states[d.key]) {
			again = append(again, d)
		}
	}
	return again
}

// writeClaims gives the deliveries whose claim stands against another, or of
// which it is not known whether it was stored. Where the server takes none, the
// lane is paused.
func (r *runner) writeClaims(ctx context.Context, lane Lane, batch []*delivery) (refused []*delivery) {
	writes := make([]*write, len(batch))
	for i, d := range batch {
		d.heldSince = r.now()
		d.claim = d.nextClaim(r.cfg.Worker, r.cfg.Hold, r.clock.now())
		writes[i] = r.ledger.changeClaim(lane, d.key, d.claim)
	}
	r.ledger.commit(ctx, PointClaiming, writes)
	fresh, replaced := 0, 0
	for i, d := range batch {
		err := writes[i].err
		switch {
		case err == nil:
			d.claim.revision = writes[i].revision
			if d.prior == nil {
				fresh++
			} else {
				replaced++
			}
		case isServerRefusal(err): // the stream is full, or sealed: nothing was stored
			d.later(r.pauseLane(err))
		default:
			refused = append(refused, d)
		}
	}
	r.reach.all(PointClaimed, fresh)
	r.reach.all(PointTakenOver, replaced)
	return refused
}

// meet decides what to do about a key that is in the ledger already. It
// reports whether the claim is to be tried again.
func (r *runner) meet(d *delivery, s keyState) (again bool) {
	switch {
	case s.claim != nil && s.claim.Nonce == d.claim.Nonce:
		d.claim.revision = s.claim.revision // ours: only the answer was lost
		return false
	case s.outcome != nil && (s.claim == nil || s.claim.Generation <= s.outcome.Generation):
		r.meetSettled(d, s.outcome.PayloadHash, s.outcome.RequestSequence, s.outcome.RequestedAt)
		return false
	case s.claim == nil:
		d.prior = nil
		return true // a replica that is behind, or one that went just now
	case !d.is(s.claim.RequestSequence, s.claim.PublishedAt) && (d.fault != nil || s.claim.PayloadHash != d.payload.hash):
		r.meetSettled(d, s.claim.PayloadHash, s.claim.RequestSequence, s.claim.PublishedAt)
		return false
	case s.claim.State == claimTracked:
		d.known()
		return false
	}
	if wait := s.claim.deadAt(r.cfg.Settle).Sub(r.clock.now()); s.claim.State != claimFree && wait > 0 {
		d.later(wait)
		return false
	}
	d.prior = s.claim
	d.doubtful = s.claim.State != claimFree && s.claim.EverCalled
	if d.doubtful && s.claim.Unclear && r.tenant.wroteSince(s.claim.storedAt) {
		d.prior.Strikes++
	}
	d.prior.Unclear = false // what is called next has not been answered yet
	return true
}

// meetSettled settles a further copy of a request: one that says the same is
// done with; one that says something else under the same key, or that is
// broken, is kept for the operator and changes nothing.
func (r *runner) meetSettled(d *delivery, hash string, sequence uint64, published time.Time) {
	switch {
	case d.is(sequence, published):
		d.known()
	case d.fault != nil:
		d.buried(ReasonInvalid)
	case d.payload.hash != hash:
		d.buried(ReasonKeyConflict)
	default:
		d.known()
	}
}

// confirmTakeovers looks whether a key taken over from a dead claim has its
// outcome already: its worker may have died after publishing it. Nobody can
// publish one under that claim any more, so what is not there now never will be.
func (r *runner) confirmTakeovers(ctx context.Context, lane Lane, batch []*delivery) {
	var open []*delivery
	for _, d := range batch {
		d.doubtful = d.doubtful || r.olderThanLedger(d)
		if d.prior != nil && d.prior.State != claimFree {
			open = append(open, d)
		}
	}
	for pause := 10 * time.Millisecond; len(open) > 0; pause *= 2 {
		open = r.confirm(ctx, lane, open)
		if len(open) > 0 && (pause > time.Second || sleep(ctx, pause) != nil) {
			break
		}
	}
	for _, d := range open {
		d.later(r.cfg.Hold + r.cfg.Settle)
	}
	confirmed, _ := split(batch, func(d *delivery) bool { return d.prior != nil && d.verdict == nil })
	r.reach.all(PointConfirmed, len(confirmed))
}

// confirm reads the keys and gives the deliveries of which it cannot tell. An
// answer is only believed if it has our own claim: whoever gave it then has
// everything that was stored before, where even the stream's leader may be one
// that has been deposed and does not know.
func (r *runner) confirm(ctx context.Context, lane Lane, batch []*delivery) (open []*delivery) {
	keys := make([]string, len(batch))
	for i, d := range batch {
		keys[i] = d.key
	}
	states, err := r.ledger.read(ctx, lane, keys)
	if err != nil {
		r.log.Warn("takeover not confirmed", "error", err)
		return batch
	}
	for _, d := range batch {
		switch s := states[d.key]; {
		case s.claim == nil || s.claim.revision < d.claim.revision:
			open = append(open, d) // from a replica that is behind
		case s.claim.revision > d.claim.revision:
			d.later(time.Second) // we have been replaced
		case s.outcome != nil && s.outcome.Generation >= d.claim.Generation:
			r.meetSettled(d, s.outcome.PayloadHash, s.outcome.RequestSequence, s.outcome.RequestedAt)
		}
	}
	return open
}

// olderThanLedger reports whether a request is so old that the ledger may have
// forgotten what became of it, and what its claim says is only what happened
// since.
func (r *runner) olderThanLedger(d *delivery) bool {
	return r.clock.now().Sub(d.publishedAt) > r.cfg.Topology.Retention-24*time.Hour
}

// stillHeld keeps the deliveries whose claims leave time for one more call and
// renews those that do not. What cannot be renewed has been taken over, or may
// have been: it is left alone.
func (r *runner) stillHeld(ctx context.Context, lane Lane, batch []*delivery) []*delivery {
	var short []*delivery
	now := r.now()
	for _, d := range batch {
		if d.timeLeft(now) < r.cfg.CallTimeout+callMargin {
			prior := d.claim
			d.prior = &prior
			short = append(short, d)
		}
	}
	if len(short) == 0 {
		return batch
	}
	for _, d := range r.writeClaims(ctx, lane, short) {
		d.later(r.cfg.Hold + r.cfg.Settle)
	}
	return without(batch)
}

// callMargin is what a claim must leave beside the time of the call itself.
const callMargin = 2 * time.Second
