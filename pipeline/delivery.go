package pipeline

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"waybill/orchestrator"
)

// delivery is one request as it is carried out: from the message JetStream
// handed over to the verdict that settles it.
type delivery struct {
	msg         jetstream.Msg
	sequence    uint64
	publishedAt time.Time // by the server's clock
	receivedAt  time.Time // by the server's clock
	behind      uint64    // how many of the lane have not been handed over yet

	request Request
	payload payload
	key     string // the request's, or one made up where it has none
	fault   error  // why the request can never work, if it cannot

	claim     claim  // as we last wrote it
	prior     *claim // what is to be taken over, nil for nothing
	heldSince moment // when we began to write claim: our time counts from here
	attempt   bool   // the claim counts an attempt that has not been made yet
	doubtful  bool   // an earlier call may have taken effect
	verdict   *verdict
}

// verdict is how a delivery is settled.
type verdict struct {
	outcome    *Outcome // published on condition that the claim stands
	deadLetter string   // the reason, where a copy is kept for the operator
	settle     ackKind
	delay      time.Duration // of a nak
	release    bool          // the claim is given back: the call was surely not made
}

type ackKind int

const (
	settleAck ackKind = iota
	settleTerm
	settleNak
)

// newDelivery is a message as it was handed over, not read yet.
func newDelivery(msg jetstream.Msg, now time.Time) (*delivery, error) {
	meta, err := msg.Metadata()
	if err != nil {
		return nil, fmt.Errorf("read message metadata: %w", err)
	}
	return &delivery{msg: msg, sequence: meta.Sequence.Stream, publishedAt: meta.Timestamp, receivedAt: now, behind: meta.NumPending}, nil
}

// read finds out what is asked for. Whatever is wrong with the message is kept
// as the delivery's fault: it still has a key to be answered under.
func (d *delivery) read(lane Lane, laneFault error) {
	var faults []error
	var asked member
	var err error
	d.request, asked, err = decodeRequest(d.msg.Data())
	faults = append(faults, err, d.request.mergeKey(d.msg.Headers().Get(HeaderKey)))
	d.key = d.request.Key
	if keyErr := ValidateKey(d.key); keyErr != nil {
		d.key = fmt.Sprintf("%s%d", madeUpKeyPrefix, d.sequence)
	}
	if err == nil {
		d.payload, err = d.request.payload(lane, asked.object)
		faults = append(faults, err)
	}
	d.fault = joinFaults(append(faults, laneFault)...)
	if utf16Len(d.payload.reference) > maxReference {
		d.payload.reference = "" // it is told of in the fault; whole, it might not fit into an outcome
	}
}

// is reports whether it is the message that was published then under this
// sequence, which a stream that was made anew gives once more.
func (d *delivery) is(sequence uint64, published time.Time) bool {
	return d.sequence == sequence && d.publishedAt.Equal(published)
}

// expired reports whether the producer no longer wants it done.
func (d *delivery) expired(now time.Time) bool {
	return !d.request.NotAfter.IsZero() && now.After(d.request.NotAfter)
}

// callable reports whether a call is to be made for it, as far as the request
// itself says.
func (d *delivery) callable(now time.Time) bool {
	return d.fault == nil && !d.expired(now)
}

// inDoubt reports whether Orchestrator has to be asked first. What may have been
// done decides also where it is not to be called, not the validator or the clock.
func (d *delivery) inDoubt(now time.Time) bool {
	return d.doubtful || !d.callable(now) && d.claim.EverCalled
}

// nextClaim is the claim to be written next: the first of the key, or one in
// place of what stands there. It is written ahead of a call and counts it.
func (d *delivery) nextClaim(worker string, hold time.Duration, now time.Time) claim {
	c := claim{Generation: 1, PayloadHash: d.payload.hash, Reference: d.payload.reference, PublishedAt: d.publishedAt, FirstDeliveredAt: d.receivedAt, RequestSequence: d.sequence}
	if d.prior != nil {
		c = *d.prior
	}
	renewal := d.prior != nil && c.Nonce == d.claim.Nonce
	if d.callable(now) && (!renewal || !d.attempt) {
		c.Attempts++
		c.EverCalled, d.attempt = true, true
	}
	c.Version, c.State, c.Worker, c.Nonce, c.Hold = claimVersion, claimHeld, worker, nuid.Next(), hold
	return c
}

// freeClaim gives the key back as it was before the call that was surely not
// made.
func (d *delivery) freeClaim() claim {
	c := d.claim
	c.State, c.Nonce, c.Hold = claimFree, nuid.Next(), 0
	if d.prior == nil {
		c.EverCalled = false
	} else {
		c.EverCalled = d.prior.EverCalled
	}
	if d.claim.Attempts > 0 {
		c.Attempts--
	}
	return c
}

// attempts is how many calls were made for the key so far.
func (d *delivery) attempts() int {
	if d.attempt {
		return d.claim.Attempts - 1
	}
	return d.claim.Attempts
}

// timeLeft is how long the claim is surely good for.
func (d *delivery) timeLeft(now moment) time.Duration {
	return d.claim.Hold - now.since(d.heldSince)
}

// outcome begins an outcome with all that is known of the request.
func (d *delivery) outcome(lane Lane, status Status, by DecidedBy, now time.Time) *Outcome {
	o := &Outcome{
		Key:              d.key,
		Generation:       d.claim.Generation,
		Stage:            StageFinal,
		Status:           status,
		Reference:        d.claim.Reference,
		PayloadHash:      d.claim.PayloadHash,
		Attempts:         d.attempts(),
		DecidedBy:        by,
		RequestedAt:      d.claim.PublishedAt,
		FirstDeliveredAt: d.claim.FirstDeliveredAt,
		FinishedAt:       now,
		RequestSequence:  d.claim.RequestSequence,
	}
	o.setLane(lane)
	return o
}

// decided settles with an outcome.
func (d *delivery) decided(o *Outcome) { d.verdict = &verdict{outcome: o, settle: settleAck} }

// refused settles with an outcome that says nothing was done, or that nobody
// knows; a copy goes to the dead letters for the operator.
func (d *delivery) refused(o *Outcome, reason string) {
	d.verdict = &verdict{outcome: o, deadLetter: reason, settle: settleTerm}
}

// known settles a copy of a request that has been settled, or is followed.
func (d *delivery) known() { d.verdict = &verdict{settle: settleAck} }

// buried settles a copy that must not change what is known of its key.
func (d *delivery) buried(reason string) {
	d.verdict = &verdict{deadLetter: reason, settle: settleTerm}
}

// later has JetStream deliver it again. The claim stands.
func (d *delivery) later(delay time.Duration) {
	d.verdict = &verdict{settle: settleNak, delay: delay}
}

// released has it delivered again, to whoever is first: the call was surely
// not made.
func (d *delivery) released(delay time.Duration) {
	d.verdict = &verdict{settle: settleNak, delay: delay, release: true}
}

// traceHeaders are what an outcome inherits, so that it belongs to the
// request's trace.
// Values longer than W3C's Trace Context has them are no trace, and could keep
// an outcome from being stored.
var traceHeaders = map[string]int{"traceparent": 55, "tracestate": 512}

func traceOf(header nats.Header) nats.Header {
	var trace nats.Header
	for name, most := range traceHeaders {
		if value := header.Get(name); value != "" && len(value) <= most {
			if trace == nil {
				trace = make(nats.Header)
			}
			trace.Set(name, value)
		}
	}
	return trace
}

// invalidOutcome says why a request can never work, by our own checks.
func (d *delivery) invalidOutcome(lane Lane, now time.Time) *Outcome {
	o := d.outcome(lane, StatusRejected, ByValidation, now)
	o.Error = &OutcomeError{Kind: "invalid", Message: d.fault.Error()}
	return o
}

// errorOf puts an error of Orchestrator's into an outcome's words.
func errorOf(err error) *OutcomeError {
	e, ok := errors.AsType[*orchestrator.Error](err)
	if !ok {
		return &OutcomeError{Kind: "unexpected", Message: err.Error()}
	}
	o := &OutcomeError{Kind: e.Kind.String(), HTTPStatus: e.StatusCode, Message: e.Error()}
	if e.Code != 0 {
		o.Code = strconv.Itoa(e.Code)
	}
	return o
}
