package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	wmjetstream "github.com/ThreeDotsLabs/watermill-nats/v2/pkg/jetstream"
	wmnats "github.com/ThreeDotsLabs/watermill-nats/v2/pkg/nats"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"waybill/pipeline"
)

// peer is a service as one writes it with watermill: a router whose handlers
// make the call and give the outcome to be published. It is set up for many at
// a time: a durable pull consumer shared by as many handlers as calls may be
// in flight, acks that wait for nobody, a connection for each call. It does
// nothing against duplicates.
//
// A queue group of push subscribers, the other way to share the work, gives
// messages to members whether they are free or not: at 20 ms a call it reached
// a fifth of this.
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
		for i := range flags.inFlight {
			name := fmt.Sprintf("%s-%d", laneName(flags.kind, lane), i)
			router.AddHandler(name, requestSubject(tenantName, flags.kind, lane), subscriber, peersSubject, publisher, p.handle(lane)) //nolint:contextcheck // messages bring theirs
		}
	}
	if err := router.Run(ctx); err != nil {
		return fmt.Errorf("run router: %w", err)
	}
	return nil
}

// peerPrefetch is how many messages a handler has at hand: enough to go on at
// once, few enough for all to end at about the same time.
const peerPrefetch = 8

func (p *peer) subscriber(lane int, log watermill.LoggerAdapter) (*wmjetstream.Subscriber, error) {
	s, err := wmjetstream.NewSubscriber(wmjetstream.SubscriberConfig{
		URL:                 p.nats,
		Logger:              log,
		AckAsync:            true,
		AckWaitTimeout:      time.Minute,
		Unmarshaler:         plain{},
		ConsumeOptions:      []jetstream.PullConsumeOpt{jetstream.PullMaxMessages(peerPrefetch)},
		ResourceInitializer: p.consumer(lane),
	})
	if err != nil {
		return nil, fmt.Errorf("make subscriber: %w", err)
	}
	return s, nil
}

// consumer gives each handler the lane's durable consumer.
func (p *peer) consumer(lane int) wmjetstream.ResourceInitializer {
	return func(ctx context.Context, js jetstream.JetStream, _ string) (jetstream.Consumer, func(context.Context, watermill.LoggerAdapter), error) {
		consumer, err := js.CreateOrUpdateConsumer(ctx, pipeline.Topology{}.RequestsStream(), jetstream.ConsumerConfig{
			Durable: fmt.Sprintf("watermill-%d", lane), FilterSubject: requestSubject(tenantName, p.kind, lane),
			AckPolicy: jetstream.AckExplicitPolicy, AckWait: time.Minute, MaxAckPending: 40_000,
		})
		if err != nil {
			return nil, nil, fmt.Errorf("make consumer: %w", err)
		}
		return consumer, nil, nil
	}
}

func (p *peer) handle(lane int) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		delivered := time.Now()
		r, err := decodeRequest(p.kind, msg.Payload)
		if err != nil {
			return nil, err
		}
		if err := post(msg.Context(), p.client, p.operation(), p.encode(lane, r)); err != nil {
			return nil, err
		}
		outcome := appendLeast(nil, r.key, delivered)
		return []*message.Message{message.NewMessage(watermill.NewShortUUID(), outcome)}, nil
	}
}

func (p *peer) encode(lane int, r request) []byte {
	if p.kind == kindJobs {
		return encodeStart(nil, lane, r)
	}
	body := append([]byte(`{"itemData":{"Name":"`), laneName(p.kind, lane)...)
	return append(appendItem(append(body, `",`...), r), "}}"...)
}

// plain is the wire form in which requests come from anybody: the body alone.
type plain struct{}

// Marshal makes a message of NATS of one of watermill.
func (plain) Marshal(topic string, msg *message.Message) (*nats.Msg, error) {
	return &nats.Msg{Subject: topic, Data: msg.Payload}, nil
}

// Unmarshal is Marshal's inverse; the id is watermill's own.
func (plain) Unmarshal(msg jetstream.Msg) (*message.Message, error) {
	return message.NewMessage(watermill.NewShortUUID(), msg.Data()), nil
}
