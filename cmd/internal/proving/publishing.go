package proving

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"waybill/pipeline"
	"waybill/pipeline/history"
)

// publishing sends what is planned, again where it may not have been stored,
// and keeps what is known of what was.
type publishing struct {
	js      jetstream.JetStream
	stored  []history.Request
	first   map[history.Key]time.Time // when a key was first sent
	bodies  map[string]bool           // of messages without a key
	sent    int                       // messages, with those sent again
	dropped int                       // by the stream, as repeats of what it has
}

func newPublishing(js jetstream.JetStream) *publishing {
	return &publishing{js: js, first: make(map[history.Key]time.Time), bodies: make(map[string]bool)}
}

// send publishes messages, and gives those that may not have been stored. But
// for what is sent twice at once they have no Nats-Msg-Id, so that the stream
// drops no repeat.
func (p *publishing) send(messages []planned) (again []planned) {
	acks := make([][]jetstream.PubAckFuture, len(messages))
	begun := time.Now()
	for i, m := range messages {
		if m.key != "" {
			p.noteFirst(m.keyAt(0), begun)
		} else {
			p.bodies[string(m.body)] = true
		}
		for range m.times() {
			p.sent++
			if ack, err := p.js.PublishMsgAsync(m.message()); err == nil {
				acks[i] = append(acks[i], ack)
			}
		}
	}
	for i, m := range messages {
		if !p.await(m, acks[i], begun) {
			again = append(again, m)
		}
	}
	return again
}

// await reports whether the message was stored, once at least.
func (p *publishing) await(m planned, acks []jetstream.PubAckFuture, begun time.Time) (stored bool) {
	for _, future := range acks {
		select {
		case ack := <-future.Ok():
			stored = true
			if ack.Duplicate {
				p.dropped++
				continue
			}
			key := m.keyAt(ack.Sequence)
			p.noteFirst(key, begun)
			p.stored = append(p.stored, history.Request{Key: key, Sequence: ack.Sequence, Payload: m.payload, Invalid: m.invalid()})
		case err := <-future.Err():
			if refused, ok := errors.AsType[*jetstream.APIError](err); ok && refused.ErrorCode == codeInProcess {
				p.dropped++
			}
			// Unless the other copy is stored, whatever it is, the message is
			// published again.
		}
	}
	return stored
}

// codeInProcess is how a cluster drops a repeat of what it is just storing.
const codeInProcess jetstream.ErrorCode = 10158

func (p *publishing) noteFirst(key history.Key, at time.Time) {
	if p.first[key].IsZero() {
		p.first[key] = at
	}
}

func (m planned) times() int {
	if m.twice {
		return 2
	}
	return 1
}

// keyAt is the key it has as the message with this sequence.
func (m planned) keyAt(sequence uint64) history.Key {
	if m.key == "" {
		return history.Key{Lane: m.lane, Key: fmt.Sprintf("%s%d", madeUpKeyPrefix, sequence)}
	}
	return history.Key{Lane: m.lane, Key: m.key}
}

// madeUpKeyPrefix opens the keys of requests that came without a readable one.
const madeUpKeyPrefix = "-seq-"

func (m planned) message() *nats.Msg {
	msg := nats.NewMsg(pipeline.Topology{}.RequestSubject(m.lane))
	msg.Data = m.body
	if m.twice {
		msg.Header.Set(nats.MsgIdHdr, fmt.Sprintf("%s at %s", m.name, m.at))
	}
	return msg
}

// find adds the messages without a key whose answers were lost: that they were
// stored is known by their dead letters alone.
func (p *publishing) find(letters []deadLetter) {
	known := make(map[history.Key]bool, len(p.stored))
	for _, r := range p.stored {
		known[r.Key] = true
	}
	for _, l := range letters {
		if strings.HasPrefix(l.Key.Key, madeUpKeyPrefix) && p.bodies[l.body] && !known[l.Key] {
			known[l.Key] = true
			p.stored = append(p.stored, history.Request{Key: l.Key, Sequence: l.Sequence, Invalid: true})
		}
	}
}
