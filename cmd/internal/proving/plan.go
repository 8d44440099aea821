package proving

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"waybill/pipeline"
	"waybill/pipeline/history"
)

const (
	// repeated is the share of requests that are published a second time, as
	// late as repeatWithin; conflicting is the share of those whose second
	// payload is another.
	repeated     = 0.1
	repeatWithin = 20 * time.Second
	conflicting  = 0.2
	// followed is the share of jobs whose end is asked for.
	followed = 0.3
	// conflictAfter leaves the first of two payloads under one key time to be
	// stored: which of them counts is then plain.
	conflictAfter = 2 * publishTimeout
)

// planned is one message that is to be published.
type planned struct {
	at      time.Duration // since the begin
	lane    pipeline.Lane
	request pipeline.Request
	repeats bool // it is not the first of its key
}

// plan is what is published, by its time, and what it asks for.
type plan struct {
	messages  []planned
	keys      []history.Key
	conflicts int
}

// newPlan spreads requests over a time: items of a queue with unique
// references, of one without, and jobs, a tenth of them.
func newPlan(random *rand.Rand, over time.Duration, requests int) plan {
	var p plan
	for i := range requests {
		lane := []pipeline.Lane{UniqueQueue, PlainQueue}[i%2]
		if i%10 == 9 {
			lane = PayInvoices
		}
		request := NewRequest(lane, fmt.Sprintf("K-%06d", i))
		if lane == PayInvoices && random.Float64() < followed {
			request.Until = pipeline.UntilCompleted
		}
		first := planned{at: time.Duration(random.Int64N(int64(over))), lane: lane, request: request}
		p.keys = append(p.keys, history.Key{Lane: lane, Key: request.Key})
		p.messages = append(p.messages, first)
		if random.Float64() < repeated {
			p.repeat(random, first)
		}
	}
	slices.SortStableFunc(p.messages, func(a, b planned) int { return cmp.Compare(a.at, b.at) })
	return p
}

func (p *plan) repeat(random *rand.Rand, first planned) {
	again := first
	again.repeats = true
	again.at += time.Duration(random.Int64N(int64(repeatWithin)))
	if random.Float64() < conflicting {
		p.conflicts++
		again.at += conflictAfter
		again.request.Until = ""
		if first.lane.Kind == pipeline.KindJob {
			again.request.Job = json.RawMessage(`{"InputArguments":{"in_Key":"something else"}}`)
		} else {
			again.request.Item = json.RawMessage(`{"SpecificContent":{"Number":"something else"}}`)
		}
	}
	p.messages = append(p.messages, again)
}

// takeDue takes what is to be published by now.
func (p *plan) takeDue(now time.Duration) []planned {
	due := 0
	for due < len(p.messages) && p.messages[due].at <= now {
		due++
	}
	taken := p.messages[:due]
	p.messages = p.messages[due:]
	return taken
}

// publish publishes without Nats-Msg-Id, so that the stream drops no repeat,
// and gives what may not have been stored.
func publish(js jetstream.JetStream, messages []planned) (again []planned, err error) {
	acks := make([]jetstream.PubAckFuture, len(messages))
	for i, m := range messages {
		msg := nats.NewMsg(pipeline.Topology{}.RequestSubject(m.lane))
		if msg.Data, err = json.Marshal(m.request); err != nil {
			return nil, fmt.Errorf("encode request %s: %w", m.request.Key, err)
		}
		if acks[i], err = js.PublishMsgAsync(msg); err != nil {
			acks[i] = nil // it is published again
		}
	}
	for i, ack := range acks {
		if ack == nil {
			again = append(again, messages[i])
			continue
		}
		select {
		case <-ack.Ok():
		case <-ack.Err(): //nolint:errcheck // whatever it is, the request is published again
			again = append(again, messages[i])
		}
	}
	return again, nil
}
