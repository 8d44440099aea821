package pipeline

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"
)

const (
	// maxBatch keeps an atomic batch below the server's limit of 1,000.
	maxBatch = 900
	// maxOpenBatches stays far below the 50 a stream takes from all workers.
	maxOpenBatches = 4
	// keysPerRead is two subjects a key, within the 1,024 answers of one
	// batched direct get.
	keysPerRead = 500
	ledgerWait  = 10 * time.Second
)

// Error codes of the server that a ledger write has to tell apart.
const (
	codeWrongLastSequence        jetstream.ErrorCode = 10071 // the condition does not hold
	codeWrongLastSequenceInDoubt jetstream.ErrorCode = 10164 // a subject of it is being written just now
)

// errConflict says that a write's condition did not hold.
var errConflict = errors.New("the ledger has changed since it was read")

// ledger is the stream of claims and outcomes: one message a subject, inserted
// only where there is none, changed only from a known revision.
type ledger struct {
	js       jetstream.JetStream
	topology Topology
	clock    *serverClock
	// atomic is whether batches are the faster way to write, as the probe saw
	// it: they are where every write is synced to disk.
	atomic bool
	open   chan struct{} // one token for each open batch
	reach  reach
}

func newLedger(js jetstream.JetStream, t Topology, clock *serverClock) *ledger {
	return &ledger{js: js, topology: t, clock: clock, open: make(chan struct{}, maxOpenBatches)}
}

// write is one conditional message. The condition is that guard, or where it
// is empty the message's own subject, has the revision expect as its last; 0
// means that there is none.
type write struct {
	subject string
	guard   string
	expect  uint64
	data    []byte
	ttl     string
	id      string      // of an outcome: its Nats-Msg-Id
	trace   nats.Header // of an outcome

	revision uint64 // what it was stored as
	err      error  // nil when stored; errConflict; or the answer is not known
}

func (w *write) message() *nats.Msg {
	header := make(nats.Header, 4)
	header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(w.expect, 10))
	if w.guard != "" {
		header.Set(jetstream.ExpectedLastSubjSeqSubjHeader, w.guard)
	}
	if w.ttl != "" {
		header.Set(jetstream.MsgTTLHeader, w.ttl)
	}
	if w.id != "" {
		header.Set(nats.MsgIdHdr, w.id)
	}
	maps.Copy(header, w.trace)
	return &nats.Msg{Subject: w.subject, Header: header, Data: w.data}
}

// changeClaim writes a claim in place of the revision it was read at; revision
// 0 inserts.
func (l *ledger) changeClaim(lane Lane, key string, c claim) *write {
	return &write{subject: l.topology.claimSubject(lane, key), expect: c.revision, data: c.encode(), ttl: l.claimTTL(c.State)}
}

// claimTTL outlives every outcome that may be written under the claim, so that
// there is never an outcome whose key can be claimed anew. What is tracked
// stays until it has ended.
func (l *ledger) claimTTL(state claimState) string {
	if state == claimTracked {
		return "never"
	}
	return ttl(l.topology.Retention + 24*time.Hour)
}

func ttl(d time.Duration) string { return strconv.FormatInt(int64(d/time.Second), 10) + "s" }

// putOutcome writes an outcome on condition that the claim it was learnt under
// still stands: whoever has been replaced cannot write one.
func (l *ledger) putOutcome(lane Lane, o Outcome, c claim, trace nats.Header) (*write, error) {
	data, err := o.MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("encode outcome: %w", err)
	}
	w := &write{
		subject: l.topology.OutcomeSubject(lane, o.Key, o.Stage),
		guard:   l.topology.claimSubject(lane, o.Key),
		expect:  c.revision,
		data:    data,
		ttl:     ttl(l.topology.Retention),
		id:      o.messageID(),
		trace:   trace,
	}
	if o.Stage == StageAccepted {
		w.ttl = "never" // as long as it is tracked
	}
	return w, nil
}

// commit makes the writes, each of which gets its own result. They are
// independent of each other, whatever way they travel in. Before each is sent,
// the worker is at the point given.
func (l *ledger) commit(ctx context.Context, at Point, writes []*write) {
	ctx, cancel := context.WithTimeout(ctx, ledgerWait)
	defer cancel()
	if !l.atomic || len(writes) == 1 {
		l.commitSingly(ctx, at, writes)
		return
	}
	for chunk := range slices.Chunk(writes, maxBatch) {
		l.commitBatch(ctx, at, chunk)
	}
}

// commitBatch sends writes as one atomic batch. Where one of them conflicts
// the server refuses all: then those that conflict are found by reading, and
// the others sent again.
func (l *ledger) commitBatch(ctx context.Context, at Point, writes []*write) {
	err := l.commitTogether(ctx, at, writes)
	if isServerRefusal(err) || errors.Is(err, nats.ErrMaxPayload) {
		l.commitSingly(ctx, at, writes) // one that the server does not take must not fail the others
		return
	}
	if !errors.Is(err, errConflict) {
		return
	}
	rest, err := l.dropConflicts(ctx, writes)
	if err != nil || len(rest) == len(writes) {
		l.commitSingly(ctx, at, writes)
		return
	}
	if len(rest) > 0 && errors.Is(l.commitTogether(ctx, at, rest), errConflict) {
		l.commitSingly(ctx, at, rest)
	}
}

// commitTogether stores all writes or none, and says so in each.
func (l *ledger) commitTogether(ctx context.Context, at Point, writes []*write) error {
	select {
	case l.open <- struct{}{}:
		defer func() { <-l.open }()
	case <-ctx.Done():
		return l.failAll(writes, context.Cause(ctx))
	}
	messages := make([]*nats.Msg, len(writes))
	for i, w := range writes {
		l.reach.at(at, i, len(writes))
		messages[i] = w.message()
	}
	ack, err := jetstreamext.PublishMsgBatch(ctx, l.js, messages, jetstreamext.BatchFlowControl{})
	if err != nil {
		return l.failAll(writes, asConflict(err))
	}
	first := ack.Sequence - ack.BatchSize + 1
	for i, w := range writes {
		w.err = nil
		w.revision = first + uint64(i)
	}
	return nil
}

func (l *ledger) failAll(writes []*write, err error) error {
	for _, w := range writes {
		w.err = err
	}
	return err
}

// dropConflicts marks the writes whose condition does not hold by what the
// ledger has now, and gives the others. A stale read leaves one in, which the
// server then refuses again.
func (l *ledger) dropConflicts(ctx context.Context, writes []*write) ([]*write, error) {
	subjects := make([]string, len(writes))
	for i, w := range writes {
		subjects[i] = w.guard
		if w.guard == "" {
			subjects[i] = w.subject
		}
	}
	last := make(map[string]uint64, len(subjects))
	for chunk := range slices.Chunk(subjects, 2*keysPerRead) {
		err := l.readSubjects(ctx, chunk, func(m *jetstream.RawStreamMsg) { last[m.Subject] = m.Sequence })
		if err != nil {
			return nil, err
		}
	}
	var rest []*write
	for i, w := range writes {
		if last[subjects[i]] != w.expect {
			w.err = errConflict
			continue
		}
		rest = append(rest, w)
	}
	return rest, nil
}

// commitSingly pipelines the writes, each with its own answer.
func (l *ledger) commitSingly(ctx context.Context, at Point, writes []*write) {
	for attempt := range 5 {
		busy := l.commitOnce(ctx, at, writes)
		if len(busy) == 0 || attempt == 4 {
			return
		}
		writes = busy
		if err := sleep(ctx, 5*time.Millisecond<<attempt); err != nil {
			return
		}
	}
}

// commitOnce gives the writes to be repeated: those the server could not judge
// since another on the same subject was under way.
func (l *ledger) commitOnce(ctx context.Context, at Point, writes []*write) (busy []*write) {
	acks := make([]jetstream.PubAckFuture, len(writes))
	for i, w := range writes {
		l.reach.at(at, i, len(writes))
		acks[i], w.err = l.js.PublishMsgAsync(w.message())
	}
	for i, w := range writes {
		if acks[i] == nil {
			continue
		}
		select {
		case ack := <-acks[i].Ok():
			w.revision, w.err = ack.Sequence, nil
		case err := <-acks[i].Err():
			w.err = asConflict(err)
			if isCode(err, codeWrongLastSequenceInDoubt) {
				busy = append(busy, w)
			}
		case <-ctx.Done():
			w.err = fmt.Errorf("write to the ledger: %w", context.Cause(ctx))
		}
	}
	return busy
}

func asConflict(err error) error {
	if isCode(err, codeWrongLastSequence) || isCode(err, codeWrongLastSequenceInDoubt) || isCode(err, jetstreamext.JSErrCodeBatchPublishDuplicateMsgID) {
		return errConflict
	}
	return fmt.Errorf("write to the ledger: %w", err)
}

// isServerRefusal tells that the server has answered, and stored nothing, for
// a reason other than the write's condition.
func isServerRefusal(err error) bool {
	e, ok := errors.AsType[jetstream.JetStreamError](err)
	return ok && e.APIError() != nil && !errors.Is(err, errConflict)
}

func isCode(err error, code jetstream.ErrorCode) bool {
	if e, ok := errors.AsType[jetstream.JetStreamError](err); ok {
		return e.APIError() != nil && e.APIError().ErrorCode == code
	}
	return false
}

// sleep waits, or returns the context's cause.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx) //nolint:wrapcheck // callers say what was being done
	}
}
