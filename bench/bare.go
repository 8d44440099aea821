package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"waybill/pipeline"
)

// sideFlags tell the bare loop and the peer what to do.
type sideFlags struct {
	nats     string
	api      string
	kind     string
	lanes    int
	inFlight int
	bulk     int
	publish  publishMode
	least    bool
}

// publishMode is how the bare loop publishes the outcomes of a call.
type publishMode string

const (
	publishAsync  publishMode = "async"  // each by itself, all under way at once
	publishFast   publishMode = "fast"   // as a fast-ingest batch
	publishAtomic publishMode = "atomic" // as an atomic batch: one sync for all
)

// barePublish is what was the fastest of the three.
func (w workload) barePublish() publishMode {
	if w.always {
		return publishAtomic
	}
	return publishFast
}

// bareLoop is the ceiling: it does what must be done in any case, as fast as
// can be, and nothing else. It reads of a request what sending it takes,
// publishes the outcomes that the contract asks for, checks nothing, keeps no
// book, and ends at the first failure.
//
// With least it does not even that: it finds key and item by the bytes around
// them, which works for the requests of this benchmark alone, and its outcomes
// say no more than the key and are told from repeats by nothing.
type bareLoop struct {
	sideFlags

	js     jetstream.JetStream
	client *http.Client
	calls  chan bareCall
}

// bareCall is what one call is to carry out.
type bareCall struct {
	lane      int
	messages  []jetstream.Msg
	requests  []request
	delivered time.Time // the first of them
}

// bareLinger is how long a call waits to fill up.
const bareLinger = time.Millisecond

// runBare carries requests out until the context ends.
func runBare(ctx context.Context, flags sideFlags) error {
	nc, js, err := connect(flags.nats, "bare loop")
	if err != nil {
		return err
	}
	defer nc.Close()
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	b := &bareLoop{sideFlags: flags, js: js, client: newBareClient(flags.inFlight), calls: make(chan bareCall)}
	for lane := range flags.lanes {
		stop, err := b.consume(ctx, lane)
		if err != nil {
			return err
		}
		defer stop()
	}
	var workers sync.WaitGroup
	for range flags.inFlight {
		workers.Go(func() {
			if err := b.work(ctx); err != nil {
				fail(err)
			}
		})
	}
	workers.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err //nolint:wrapcheck // it is a worker's own
	}
	return nil
}

// newBareClient keeps a connection open for every call in flight.
func newBareClient(inFlight int) *http.Client {
	return &http.Client{
		Timeout:   30 * time.Second,
		Transport: &http.Transport{MaxIdleConns: inFlight, MaxIdleConnsPerHost: inFlight, DisableCompression: true, WriteBufferSize: 64 << 10},
	}
}

// consume gathers what a lane delivers into calls.
func (b *bareLoop) consume(ctx context.Context, lane int) (stop func(), err error) {
	consumer, err := b.js.CreateOrUpdateConsumer(ctx, pipeline.Topology{}.RequestsStream(), jetstream.ConsumerConfig{
		Durable: fmt.Sprintf("bare-%d", lane), FilterSubject: requestSubject(tenantName, b.kind, lane),
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: time.Minute, MaxAckPending: 40_000,
	})
	if err != nil {
		return nil, fmt.Errorf("make consumer: %w", err)
	}
	g := &gatherer{loop: b, lane: lane, done: ctx.Done()}
	consuming, err := consumer.Consume(g.add, jetstream.PullMaxMessages(max(8*b.bulk/b.lanes, 2*b.bulk, 256)))
	if err != nil {
		return nil, fmt.Errorf("consume: %w", err)
	}
	return consuming.Stop, nil
}

// gatherer fills calls up.
type gatherer struct {
	loop *bareLoop
	lane int
	done <-chan struct{}

	mu   sync.Mutex
	call bareCall
	late *time.Timer
}

func (g *gatherer) add(msg jetstream.Msg) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.call.messages) == 0 {
		g.call = bareCall{lane: g.lane, delivered: time.Now(), messages: make([]jetstream.Msg, 0, g.loop.bulk)}
		if g.loop.bulk > 1 {
			g.late = time.AfterFunc(bareLinger, g.flush)
		}
	}
	g.call.messages = append(g.call.messages, msg)
	if len(g.call.messages) == g.loop.bulk {
		g.send()
	}
}

func (g *gatherer) flush() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.call.messages) > 0 {
		g.send()
	}
}

// send hands the call over, when a worker is free for it.
func (g *gatherer) send() {
	if g.late != nil {
		g.late.Stop()
	}
	select {
	case g.loop.calls <- g.call:
	case <-g.done:
	}
	g.call = bareCall{}
}

// work carries out calls one after the other.
func (b *bareLoop) work(ctx context.Context) error {
	var body []byte
	for {
		select {
		case call := <-b.calls:
			if err := b.read(&call); err != nil {
				return err
			}
			body = b.encode(body[:0], call)
			if err := b.post(ctx, body); err != nil {
				return err
			}
			if err := b.settle(ctx, call); err != nil {
				return err
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// read takes the requests of a call apart.
func (b *bareLoop) read(call *bareCall) error {
	call.requests = make([]request, len(call.messages))
	for i, msg := range call.messages {
		var err error
		if b.least {
			call.requests[i] = scanRequest(b.kind, msg.Data())
		} else if call.requests[i], err = decodeRequest(b.kind, msg.Data()); err != nil {
			return err
		}
	}
	return nil
}

// encode makes the body of the call.
func (b *bareLoop) encode(dst []byte, call bareCall) []byte {
	if b.kind == kindJobs {
		return encodeStart(dst, call.lane, call.requests[0])
	}
	dst = append(append(dst, `{"queueName":"`...), laneName(b.kind, call.lane)...)
	dst = append(dst, `","commitType":"ProcessAllIndependently","queueItems":[`...)
	for i, r := range call.requests {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(appendItem(append(dst, '{'), r), '}')
	}
	return append(dst, "]}"...)
}

func (f sideFlags) operation() string {
	switch {
	case f.kind == kindJobs:
		return f.api + "/odata/Jobs/UiPath.Server.Configuration.OData.StartJobs"
	case f.bulk == 1:
		return f.api + "/odata/Queues/UiPathODataSvc.AddQueueItem"
	}
	return f.api + "/odata/Queues/UiPathODataSvc.BulkAddQueueItems"
}

func (b *bareLoop) post(ctx context.Context, body []byte) error {
	return post(ctx, b.client, b.operation(), body)
}

// post makes a call and reads its answer to the end, so that its connection
// is used again.
func post(ctx context.Context, client *http.Client, url string, body []byte) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("call: %w", err)
	}
	r.Header["Content-Type"] = jsonType
	resp, err := client.Do(r)
	if err != nil {
		return fmt.Errorf("call: %w", err)
	}
	defer resp.Body.Close() //nolint:errcheck // it was only read
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return fmt.Errorf("call: %w", err)
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		return fmt.Errorf("call: %s", resp.Status)
	}
	return nil
}

// settle publishes an outcome for each request of the call, and acks them.
func (b *bareLoop) settle(ctx context.Context, call bareCall) error {
	publish := b.publishEach
	switch {
	case len(call.messages) == 1:
	case b.publish == publishFast:
		publish = b.publishFast
	case b.publish == publishAtomic:
		publish = b.publishTogether
	}
	if err := publish(ctx, call); err != nil {
		return err
	}
	for _, msg := range call.messages {
		if err := msg.Ack(); err != nil {
			return fmt.Errorf("ack: %w", err)
		}
	}
	return nil
}

func (b *bareLoop) publishEach(ctx context.Context, call bareCall) error {
	acks := make([]jetstream.PubAckFuture, len(call.messages))
	var err error
	for i := range call.messages {
		if acks[i], err = b.js.PublishMsgAsync(b.outcome(call, i)); err != nil {
			return fmt.Errorf("publish outcome: %w", err)
		}
	}
	for _, ack := range acks {
		select {
		case <-ack.Ok():
		case err := <-ack.Err():
			return fmt.Errorf("publish outcome: %w", err)
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}

// publishTogether is the fastest where every write is synced.
func (b *bareLoop) publishTogether(ctx context.Context, call bareCall) error {
	messages := make([]*nats.Msg, len(call.messages))
	for i := range call.messages {
		messages[i] = b.outcome(call, i)
	}
	if _, err := jetstreamext.PublishMsgBatch(ctx, b.js, messages, jetstreamext.BatchFlowControl{}); err != nil {
		return fmt.Errorf("publish outcomes: %w", err)
	}
	return nil
}

func (b *bareLoop) publishFast(ctx context.Context, call bareCall) error {
	publisher, err := jetstreamext.NewFastPublisher(b.js, jetstreamext.FastPublishFlowControl{Flow: 200, MaxOutstandingAcks: 3})
	if err != nil {
		return fmt.Errorf("publish outcomes: %w", err)
	}
	last := len(call.messages) - 1
	for i := range last {
		if _, err := publisher.AddMsg(b.outcome(call, i)); err != nil {
			return fmt.Errorf("publish outcomes: %w", err)
		}
	}
	if _, err := publisher.CommitMsg(ctx, b.outcome(call, last)); err != nil {
		return fmt.Errorf("publish outcomes: %w", err)
	}
	return nil
}

// outcome is the message that says what became of the i-th request of a call, on
// a subject of its own: whoever waits for it must be able to subscribe to it
// alone.
func (b *bareLoop) outcome(call bareCall, i int) *nats.Msg {
	key := call.requests[i].key
	if b.least {
		outcome := nats.NewMsg(peersSubject + "." + string(key))
		outcome.Data = appendLeast(make([]byte, 0, 128), key, call.delivered)
		return outcome
	}
	scope := b.scope(call.lane)
	outcome := nats.NewMsg(peersSubject + "." + scope + "." + string(key) + ".final")
	outcome.Header.Set(nats.MsgIdHdr, scope+"/"+string(key)+"/1/final")
	outcome.Data = b.appendOutcome(make([]byte, 0, 512), call, i)
	return outcome
}

func (b *bareLoop) scope(lane int) string {
	return tenantName + "." + folderName + "." + b.kind + "." + laneName(b.kind, lane)
}

// appendOutcome appends the members of the contract's outcome, but for the hash
// that only whoever tells payloads apart has need of.
func (b *bareLoop) appendOutcome(dst []byte, call bareCall, i int) []byte {
	key := call.requests[i].key
	dst = append(append(dst, `{"key":"`...), key...)
	if b.kind == kindJobs {
		dst = append(dst, `","generation":1,"kind":"job","tenant":"`+tenantName+`","folder":"`+folderName+`","process":"`...)
	} else {
		dst = append(dst, `","generation":1,"kind":"item","tenant":"`+tenantName+`","folder":"`+folderName+`","queue":"`...)
	}
	dst = append(dst, laneName(b.kind, call.lane)...)
	dst = append(append(dst, `","stage":"final","status":"accepted","reference":"`...), key...)
	dst = append(dst, `","attempts":1,"decidedBy":"answer"`...)
	if meta, err := call.messages[i].Metadata(); err == nil {
		dst = appendTime(append(dst, `,"requestedAt":`...), meta.Timestamp)
		dst = strconv.AppendUint(append(dst, `,"requestSequence":`...), meta.Sequence.Stream, 10)
	}
	dst = appendTime(append(dst, `,"firstDeliveredAt":`...), call.delivered)
	dst = appendTime(append(dst, `,"finishedAt":`...), time.Now())
	return append(dst, '}')
}

func appendTime(dst []byte, t time.Time) []byte {
	return append(t.UTC().AppendFormat(append(dst, '"'), time.RFC3339Nano), '"')
}

// appendLeast appends what the checker reads.
func appendLeast(dst, key []byte, delivered time.Time) []byte {
	dst = append(append(dst, `{"key":"`...), key...)
	dst = appendTime(append(dst, `","stage":"final","status":"accepted","firstDeliveredAt":`...), delivered)
	return append(dst, '}')
}
