package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Publisher puts requests on their lanes' subjects, as any NATS client may;
// it adds the checks a worker would make, so that a fault is known at once.
type Publisher struct {
	js       jetstream.JetStream
	topology Topology
}

// NewPublisher returns a Publisher for the installation that t names.
func NewPublisher(js jetstream.JetStream, t Topology) *Publisher {
	return &Publisher{js: js, topology: t.withDefaults()}
}

// Receipt says that JetStream has stored a request.
type Receipt struct {
	Key         string
	PayloadHash string
	Sequence    uint64 // in the requests stream
	// Err is set where this request of several was not stored.
	Err error
}

// Publish checks a request and stores it. An *InvalidError (perhaps several,
// joined) says that it was not sent because it could never work; any other
// error that nobody knows whether it is stored: publish it again, a repeat
// does no harm.
func (p *Publisher) Publish(ctx context.Context, lane Lane, r Request) (Receipt, error) {
	receipts, err := p.PublishAll(ctx, lane, []Request{r})
	if err != nil {
		return Receipt{}, err
	}
	return receipts[0], receipts[0].Err
}

// PublishAll stores several requests of one lane, pipelined, and waits for
// every answer. Each receipt carries its own error. The error returned is the
// context's.
func (p *Publisher) PublishAll(ctx context.Context, lane Lane, requests []Request) ([]Receipt, error) {
	receipts := make([]Receipt, len(requests))
	acks := make([]jetstream.PubAckFuture, len(requests))
	for i, r := range requests {
		receipts[i].Key = r.Key
		msg, hash, err := p.message(lane, r)
		if err == nil {
			receipts[i].PayloadHash = hash
			acks[i], err = p.js.PublishMsgAsync(msg)
		}
		receipts[i].Err = err
	}
	for i, ack := range acks {
		if ack == nil {
			continue
		}
		select {
		case stored := <-ack.Ok():
			receipts[i].Sequence = stored.Sequence
		case err := <-ack.Err():
			receipts[i].Err = p.explain(lane, err)
		case <-ctx.Done():
			return nil, fmt.Errorf("publish requests: %w", context.Cause(ctx))
		}
	}
	return receipts, nil
}

// message encodes a checked request. Its Nats-Msg-Id only drops what is sent
// twice within the stream's short duplicate window; it is never the key.
func (p *Publisher) message(lane Lane, r Request) (*nats.Msg, string, error) {
	payload, err := r.payload(lane, r.read)
	if err != nil {
		return nil, "", err
	}
	body, err := json.Marshal(r)
	if err != nil {
		return nil, "", fmt.Errorf("encode request: %w", err)
	}
	msg := nats.NewMsg(p.topology.RequestSubject(lane))
	msg.Data = body
	msg.Header.Set(HeaderKey, r.Key)
	msg.Header.Set(nats.MsgIdHdr, msg.Subject+"/"+encodeToken(r.Key)+"/"+payload.hash)
	return msg, payload.hash, nil
}

func (p *Publisher) explain(lane Lane, err error) error {
	if errors.Is(err, nats.ErrNoResponders) || errors.Is(err, jetstream.ErrNoStreamResponse) {
		return fmt.Errorf("publish on %s: no stream takes it: has a worker been started against this NATS server? %w", p.topology.RequestSubject(lane), err)
	}
	return fmt.Errorf("publish request: %w", err)
}

// KnownKey is what the ledger says of a key.
type KnownKey struct {
	PayloadHash string
	Final       bool   // it has its final outcome
	Status      Status // of that outcome
}

// Known looks keys of a lane up in the ledger: those that a worker has taken
// on, or settled, within the retention. A request still waiting in the stream
// is not known yet. The answer may be a moment old.
func (p *Publisher) Known(ctx context.Context, lane Lane, keys []string) (map[string]KnownKey, error) {
	canonical, err := p.Canonical(ctx, lane)
	switch {
	case errors.Is(err, ErrLaneUnknown):
		canonical = lane // nothing is known, unless it was filed as it was published
	case err != nil:
		return nil, err
	}
	l := newLedger(p.js, p.topology, nil)
	known := make(map[string]KnownKey, len(keys))
	states, err := l.read(ctx, canonical, keys)
	if err != nil {
		return nil, err
	}
	for key, s := range states {
		switch {
		case s.outcome != nil:
			known[key] = KnownKey{PayloadHash: s.outcome.PayloadHash, Final: true, Status: s.outcome.Status}
		case s.claim != nil:
			known[key] = KnownKey{PayloadHash: s.claim.PayloadHash}
		}
	}
	return known, nil
}

// Waiting gives the keys, with their payload hashes, of requests that were
// published on a lane's subject by a Publisher and still stand in the stream:
// they wait for a worker, or were settled a moment ago. Where there are more
// than most it gives none, and false: who publishes one of them again does no
// harm.
func (p *Publisher) Waiting(ctx context.Context, lane Lane, most int) (map[string]string, bool, error) {
	subject := p.topology.RequestSubject(lane)
	stream, err := p.js.Stream(ctx, p.topology.RequestsStream())
	if err != nil {
		return nil, false, fmt.Errorf("open the requests stream: %w", err)
	}
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(subject))
	if err != nil {
		return nil, false, fmt.Errorf("count the requests that wait: %w", err)
	}
	n := info.State.Subjects[subject]
	if n == 0 || n > uint64(most) { //nolint:gosec // G115: a limit
		return nil, n == 0, nil
	}
	consumer, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{FilterSubjects: []string{subject}, HeadersOnly: true, InactiveThreshold: leftFor})
	if err != nil {
		return nil, false, fmt.Errorf("read the requests that wait: %w", err)
	}
	defer leave(p.js, p.topology.RequestsStream(), consumer)
	batch, err := consumer.Fetch(int(n), jetstream.FetchMaxWait(waitingTimeout)) //nolint:gosec // G115: at most most
	if err != nil {
		return nil, false, fmt.Errorf("read the requests that wait: %w", err)
	}
	waiting := make(map[string]string, n)
	for msg := range batch.Messages() {
		id := msg.Headers().Get(nats.MsgIdHdr)
		if key := msg.Headers().Get(HeaderKey); key != "" && strings.HasPrefix(id, subject+"/") {
			waiting[key] = id[strings.LastIndexByte(id, '/')+1:]
		}
		meta, err := msg.Metadata()
		if err == nil && meta.NumPending == 0 {
			break // some were removed meanwhile
		}
	}
	return waiting, true, nil
}

// waitingTimeout bounds the look at what waits.
const waitingTimeout = 10 * time.Second

// Canonical gives the lane as Orchestrator spells it, by which claims and
// outcomes are filed. It is learnt by the worker that first serves the lane, or
// finds that there is no such thing: until then the error is ErrLaneUnknown.
func (p *Publisher) Canonical(ctx context.Context, lane Lane) (Lane, error) {
	if err := lane.Validate(); err != nil {
		return Lane{}, err
	}
	control, err := openControl(ctx, p.js, p.topology)
	if err != nil {
		return Lane{}, err
	}
	b, err := control.binding(ctx, lane)
	if err != nil {
		return Lane{}, err
	}
	return b.Lane, nil
}
