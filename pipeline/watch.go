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
		messages, err := openWatch(ctx, js, t, f)
		if err != nil {
			yield(Outcome{}, err)
			return
		}
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

func openWatch(ctx context.Context, js jetstream.JetStream, t Topology, f OutcomeFilter) (jetstream.MessagesContext, error) {
	cfg := jetstream.OrderedConsumerConfig{FilterSubjects: []string{f.subject(t)}, DeliverPolicy: jetstream.DeliverNewPolicy}
	switch {
	case f.All:
		cfg.DeliverPolicy = jetstream.DeliverAllPolicy
	case !f.Since.IsZero():
		cfg.DeliverPolicy = jetstream.DeliverByStartTimePolicy
		cfg.OptStartTime = &f.Since
	}
	consumer, err := js.OrderedConsumer(ctx, t.LedgerStream(), cfg)
	if err != nil {
		return nil, fmt.Errorf("watch outcomes in stream %s: %w", t.LedgerStream(), err)
	}
	messages, err := consumer.Messages()
	if err != nil {
		return nil, fmt.Errorf("watch outcomes in stream %s: %w", t.LedgerStream(), err)
	}
	return messages, nil
}
