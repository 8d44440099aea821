package pipeline

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// OutcomeFilter chooses outcomes. Empty members choose all.
type OutcomeFilter struct {
	Tenant string
	Folder string // as in the canonical lane: a path
	Kind   Kind
	Name   string // the queue or process, as Orchestrator spells it
	Key    string
	Stage  Stage
	Status Status
	// Since starts with outcomes stored at this time; zero: only new ones.
	// All starts with the oldest the ledger has.
	Since time.Time
	All   bool
}

// subject narrows the filter on the server as far as subjects can.
func (f OutcomeFilter) subject(t Topology) string {
	token := func(name string) string {
		if name == "" {
			return "*"
		}
		return encodeToken(name)
	}
	kind := "*"
	if f.Kind != "" {
		kind = f.Kind.token()
	}
	return t.subject("outcomes", token(f.Tenant), token(f.Folder), kind, token(f.Name), token(f.Key), cmp.Or(string(f.Stage), "*"))
}

// Watch follows outcomes as they are stored, in order, until the context ends
// or an error does it. An outcome may come more than once; Outcome has what
// tells repeats: the key's lane, generation and stage.
//
// ready, if not nil, is called once the server has taken the subscription, so
// that a request published afterwards cannot have its outcome missed.
func Watch(ctx context.Context, js jetstream.JetStream, t Topology, f OutcomeFilter, ready func()) iter.Seq2[Outcome, error] {
	t = t.withDefaults()
	return func(yield func(Outcome, error) bool) {
		consumer, messages, err := openWatch(ctx, js, t, f)
		if err != nil {
			yield(Outcome{}, err)
			return
		}
		defer leave(js, t.LedgerStream(), consumer)
		defer messages.Stop()
		if ready != nil {
			ready()
		}
		for {
			msg, err := messages.Next(jetstream.NextContext(ctx))
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				yield(Outcome{}, fmt.Errorf("watch outcomes: %w", err))
				return
			}
			o, err := DecodeOutcome(msg.Data())
			if err == nil && f.Status != "" && o.Status != f.Status {
				continue
			}
			if !yield(o, err) {
				return
			}
		}
	}
}

func openWatch(ctx context.Context, js jetstream.JetStream, t Topology, f OutcomeFilter) (jetstream.Consumer, jetstream.MessagesContext, error) {
	cfg := jetstream.OrderedConsumerConfig{FilterSubjects: []string{f.subject(t)}, DeliverPolicy: jetstream.DeliverNewPolicy, InactiveThreshold: leftFor}
	switch {
	case f.All:
		cfg.DeliverPolicy = jetstream.DeliverAllPolicy
	case !f.Since.IsZero():
		cfg.DeliverPolicy = jetstream.DeliverByStartTimePolicy
		cfg.OptStartTime = &f.Since
	}
	consumer, err := js.OrderedConsumer(ctx, t.LedgerStream(), cfg)
	if err != nil {
		return nil, nil, fmt.Errorf("watch outcomes in stream %s: %w", t.LedgerStream(), err)
	}
	messages, err := consumer.Messages()
	if err != nil {
		return nil, nil, fmt.Errorf("watch outcomes in stream %s: %w", t.LedgerStream(), err)
	}
	return consumer, messages, nil
}

// leftFor is for how long the server keeps an ordered consumer that nobody pulls
// from. A pull that waits keeps it; where it is gone all the same, since its
// reader was held up or cut off, the client makes another that goes on after
// the last message, or, where there was none, with what comes from then on: so it
// is longer than a server takes to start anew.
const leftFor = time.Minute

// leave removes an ordered consumer that is read no more. Nothing waits for the
// answer: a user without that right gets none, and then it is left for the
// server to remove.
func leave(js jetstream.JetStream, stream string, consumer jetstream.Consumer) {
	nc, info := js.Conn(), consumer.CachedInfo()
	if info == nil {
		return
	}
	_ = nc.PublishRequest(apiSubject(js, "CONSUMER.DELETE."+stream+"."+info.Name), nc.NewInbox(), nil) // see above
}
