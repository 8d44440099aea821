package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	wmnats "github.com/ThreeDotsLabs/watermill-nats/v2/pkg/nats"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
)

// peer is a service as one writes it with watermill: a router with one
// handler, which makes the call and gives the outcome to be published. It is
// set up as its documentation advises, for JetStream and for many at a time:
// durable, acks that wait for nobody, a connection for each call in flight. It
// does nothing against duplicates.
type peer struct {
	sideFlags

	client *http.Client
}

// runWatermill carries requests out until the context ends.
func runWatermill(ctx context.Context, flags sideFlags) error {
	p := &peer{sideFlags: flags, client: newBareClient(flags.inFlight)}
	log := watermill.NopLogger{}
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: 5 * time.Second}, log)
	if err != nil {
		return fmt.Errorf("make router: %w", err)
	}
	publisher, err := wmnats.NewPublisher(wmnats.PublisherConfig{URL: flags.nats, Marshaler: plain{}}, log)
	if err != nil {
		return fmt.Errorf("make publisher: %w", err)
	}
	for lane := range flags.lanes {
		subscriber, err := p.subscriber(lane, log)
		if err != nil {
			return err
		}
		router.AddHandler(laneName(flags.kind, lane), requestSubject(flags.kind, lane), subscriber, peersSubject, publisher, p.handle(lane))
	}
	if err := router.Run(ctx); err != nil {
		return fmt.Errorf("run router: %w", err)
	}
	return nil
}

// subscriber has as many members of its queue group as calls may be in flight,
// since each takes the next message when the one it has is acked. The server
// gives messages to members whether they are free or not: with more than a few
// unacked ones allowed for each, some would sit on a heap of them.
func (p *peer) subscriber(lane int, log watermill.LoggerAdapter) (*wmnats.Subscriber, error) {
	name := fmt.Sprintf("watermill-%d", lane)
	s, err := wmnats.NewSubscriber(wmnats.SubscriberConfig{
		URL:              p.nats,
		QueueGroupPrefix: name,
		SubscribersCount: p.inFlight,
		AckWaitTimeout:   time.Minute,
		Unmarshaler:      plain{},
		JetStream: wmnats.JetStreamConfig{
			DurablePrefix: name, AckAsync: true,
			SubscribeOptions: []nats.SubOpt{
				nats.DeliverAll(), nats.AckExplicit(), nats.AckWait(time.Minute), nats.MaxAckPending(peerAckPending * p.inFlight),
			},
		},
	}, log)
	if err != nil {
		return nil, fmt.Errorf("make subscriber: %w", err)
	}
	return s, nil
}

// peerAckPending is how many unacked messages there may be for each member of
// the queue group.
const peerAckPending = 4

func (p *peer) handle(lane int) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		delivered := time.Now()
		if err := post(msg.Context(), p.client, p.operation(), p.encode(lane, msg.Payload)); err != nil {
			return nil, err
		}
		outcome := appendOutcome(nil, keyIn(msg.Payload), delivered)
		return []*message.Message{message.NewMessage(watermill.NewShortUUID(), outcome)}, nil
	}
}

func (p *peer) encode(lane int, request []byte) []byte {
	if p.kind == kindJobs {
		return encodeStart(nil, lane, request)
	}
	body := append([]byte(`{"itemData":{"Name":"`), laneName(p.kind, lane)...)
	item := appendItem(nil, request)
	body = append(append(body, `",`...), item[1:]...)
	return append(body, '}')
}

// plain is the wire form in which requests come from anybody: the body alone.
type plain struct{}

// Marshal makes a message of NATS of one of watermill.
func (plain) Marshal(topic string, msg *message.Message) (*nats.Msg, error) {
	return &nats.Msg{Subject: topic, Data: msg.Payload}, nil
}

// Unmarshal is Marshal's inverse; the id is watermill's own.
func (plain) Unmarshal(msg *nats.Msg) (*message.Message, error) {
	return message.NewMessage(watermill.NewShortUUID(), msg.Data), nil
}
