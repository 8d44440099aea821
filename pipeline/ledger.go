package pipeline

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
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
	// batchFrom is from how many writes on they travel as an atomic batch; 0 is
	// never. The probe says whether: it is faster where every write is synced.
	batchFrom int
	open      chan struct{} // one token for each open batch
	reach     reach
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
	msg := &nats.Msg{Header: make(nats.Header, 4)}
	w.fill(msg)
	return msg
}

// fill makes a message that was sent before into this write's.
func (w *write) fill(msg *nats.Msg) {
	clear(msg.Header)
	msg.Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(w.expect, 10))
	if w.guard != "" {
		msg.Header.Set(jetstream.ExpectedLastSubjSeqSubjHeader, w.guard)
	}
	if w.ttl != "" {
		msg.Header.Set(jetstream.MsgTTLHeader, w.ttl)
	}
	if w.id != "" {
		msg.Header.Set(nats.MsgIdHdr, w.id)
	}
	maps.Copy(msg.Header, w.trace)
	msg.Subject, msg.Data = w.subject, w.data
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
	if l.batchFrom == 0 || len(writes) < l.batchFrom {
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

// leaderPause is how long to wait where no server answers for the stream, as
// while it elects another leader.
const leaderPause = 250 * time.Millisecond

// commitSingly pipelines the writes, each with its own answer.
func (l *ledger) commitSingly(ctx context.Context, at Point, writes []*write) {
	for busy := 0; ; {
		writes = l.commitOnce(ctx, at, writes)
		pause := 5 * time.Millisecond << busy
		switch {
		case len(writes) == 0:
			return
		case errors.Is(writes[0].err, jetstream.ErrNoStreamResponse):
			pause = leaderPause // for as long as the context lasts
		case busy == 4:
			return
		default:
			busy++
		}
		if err := sleep(ctx, pause); err != nil {
			return
		}
	}
}

// commitOnce gives the writes to be repeated: those the server could not judge
// since another on the same subject was under way, and those that found no
// server. All answers come to one inbox, where jetstream.PublishMsgAsync has
// a future and two channels for each: they were a fifth of a worker's work.
func (l *ledger) commitOnce(ctx context.Context, at Point, writes []*write) (again []*write) {
	nc := l.js.Conn()
	lost := nc.StatusChanged(nats.RECONNECTING, nats.CLOSED)
	defer nc.RemoveStatusListener(lost)
	inbox := nc.NewInbox() + "."
	answers := make(chan *nats.Msg, len(writes))
	sub, err := nc.ChanSubscribe(inbox+"*", answers)
	if err != nil {
		_ = l.failAll(writes, fmt.Errorf("write to the ledger: %w", err))
		return nil
	}
	defer sub.Unsubscribe() //nolint:errcheck // where the connection is gone, so is the subscription
	left := 0
	msg := &nats.Msg{Header: make(nats.Header, 4)}
	for i, w := range writes {
		l.reach.at(at, i, len(writes))
		w.fill(msg)
		msg.Reply = inbox + strconv.Itoa(i)
		if err := nc.PublishMsg(msg); err != nil {
			w.err = fmt.Errorf("write to the ledger: %w", err)
			continue
		}
		w.err = errUnanswered
		left++
	}
	for ; left > 0; left-- {
		select {
		case msg := <-answers:
			i, err := strconv.Atoi(msg.Subject[len(inbox):])
			if err != nil || i >= len(writes) || !writes[i].take(msg) {
				continue
			}
			again = append(again, writes[i])
		case <-lost:
			return unanswered(writes, again, errors.New("the connection was lost before the answer"))
		case <-ctx.Done():
			return unanswered(writes, again, context.Cause(ctx))
		}
	}
	return again
}

// errUnanswered stands in a write until its answer has come.
var errUnanswered = errors.New("not answered")

// unanswered gives the writes whose answer will not come any more the reason;
// the others are to be repeated as they were.
func unanswered(writes, again []*write, cause error) []*write {
	for _, w := range writes {
		if w.err == errUnanswered { //nolint:errorlint // it is never wrapped
			w.err = fmt.Errorf("write to the ledger: %w", cause)
		}
	}
	return again
}

// take takes the server's answer in, and reports whether the write is to be
// repeated.
func (w *write) take(msg *nats.Msg) (again bool) {
	var ack struct {
		Stream string              `json:"stream"`
		Seq    uint64              `json:"seq"`
		Error  *jetstream.APIError `json:"error"`
	}
	switch {
	case len(msg.Data) == 0 && msg.Header.Get("Status") == "503":
		w.err = fmt.Errorf("write to the ledger: %w", jetstream.ErrNoStreamResponse)
		return true
	case json.Unmarshal(msg.Data, &ack) != nil, ack.Error == nil && ack.Stream == "":
		w.err = fmt.Errorf("write to the ledger: %w", jetstream.ErrInvalidJSAck)
	case ack.Error != nil:
		w.err = asConflict(ack.Error)
		return ack.Error.ErrorCode == codeWrongLastSequenceInDoubt
	default:
		w.revision, w.err = ack.Seq, nil
	}
	return false
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
