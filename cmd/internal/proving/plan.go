package proving

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

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
	// doubled is the share of messages that are sent twice at once.
	doubled = 0.05
	// invalid is the share of requests that can never work.
	invalid = 0.01
	// followed is the share of jobs whose end is asked for.
	followed = 0.3
)

// planned is one message that is to be published.
type planned struct {
	at      time.Duration // since the begin
	lane    pipeline.Lane
	key     string // empty if the body has none that can be read
	body    []byte
	payload string // its hash; empty if it can never work
	name    string // of the request, which its key is made of
	// twice is whether it is sent twice at once with one Nats-Msg-Id, of
	// which the stream drops the second.
	twice bool
}

func (m planned) invalid() bool { return m.payload == "" }

// plan is what is published, by its time, and what it asks for.
type plan struct {
	messages  []planned
	keys      []history.Key // those that are known before
	conflicts int
	invalid   int
	doubled   int
}

// newPlan spreads requests over a time: items of a queue with unique
// references, of one without, and jobs, a tenth of them.
func newPlan(random *rand.Rand, over time.Duration, requests int) (plan, error) {
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
		first, err := newPlanned(time.Duration(random.Int64N(int64(over))), lane, request)
		if err != nil {
			return p, err
		}
		if random.Float64() < invalid {
			first.spoil(random)
		}
		if first.key != "" {
			p.keys = append(p.keys, history.Key{Lane: lane, Key: first.key})
		}
		p.add(random, first)
		if random.Float64() < repeated {
			if err := p.repeat(random, first); err != nil {
				return p, err
			}
		}
	}
	slices.SortStableFunc(p.messages, func(a, b planned) int { return cmp.Compare(a.at, b.at) })
	return p, nil
}

func newPlanned(at time.Duration, lane pipeline.Lane, request pipeline.Request) (planned, error) {
	m := planned{at: at, lane: lane, key: request.Key, name: request.Key}
	var err error
	if m.payload, err = request.PayloadHash(lane); err != nil {
		return m, fmt.Errorf("plan request %s: %w", request.Key, err)
	}
	if m.body, err = json.Marshal(request); err != nil {
		return m, fmt.Errorf("plan request %s: %w", request.Key, err)
	}
	return m, nil
}

// spoil makes it one that can never work: with a member that is not known, or
// not even JSON, so that its key is not known either.
func (m *planned) spoil(random *rand.Rand) {
	m.payload = ""
	if random.IntN(2) == 0 {
		m.body = []byte(strings.Replace(string(m.body), "{", `{"colour":"blue",`, 1))
		return
	}
	m.body, m.key = []byte("please add item "+m.key), ""
}

func (p *plan) add(random *rand.Rand, m planned) {
	if m.twice = random.Float64() < doubled; m.twice {
		p.doubled++
	}
	if m.invalid() {
		p.invalid++
	}
	p.messages = append(p.messages, m)
}

// repeat adds a late copy, or one that asks for something else under the same
// key. Which of two payloads a key then stands for is up to which is claimed
// first.
func (p *plan) repeat(random *rand.Rand, first planned) error {
	again := first
	again.at += time.Duration(random.Int64N(int64(repeatWithin)))
	if random.Float64() < conflicting && !first.invalid() {
		p.conflicts++
		request := NewRequest(first.lane, "something else")
		request.Key = first.key
		var err error
		if again, err = newPlanned(again.at, first.lane, request); err != nil {
			return err
		}
	}
	p.add(random, again)
	return nil
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
