package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// verdict is what came of a run's requests.
type verdict struct {
	Duplicates int `json:"duplicates"` // effects beyond the first of a key
	Lost       int `json:"lost"`       // keys without an effect
	Missing    int `json:"missing"`    // keys without a final outcome that says accepted
	Foreign    int `json:"foreign"`    // outcomes and effects of no key of ours, and second outcomes
}

// good tells that there is nothing to complain about.
func (v verdict) good() bool { return v == verdict{} }

func (v verdict) String() string {
	return fmt.Sprintf("%d duplicates, %d lost, %d missing, %d that should not be", v.Duplicates, v.Lost, v.Missing, v.Foreign)
}

// checker gathers what came of each key.
type checker struct {
	offset   int // number of the first key; those before are not looked at
	outcomes []uint8
	effects  []uint8
	answered int // keys that have an outcome
	foreign  int
	// first is the earliest delivery, last the latest outcome stored.
	first, last time.Time
	// mark is a moment, and afterMark when the first outcome was stored of
	// a request that was delivered after it.
	mark, afterMark time.Time
}

func newChecker(offset, count int) *checker {
	return &checker{offset: offset, outcomes: make([]uint8, count), effects: make([]uint8, count)}
}

// outcome is what the checker reads of an outcome, whoever wrote it.
type outcome struct {
	Key              string    `json:"key"`
	Stage            string    `json:"stage"`
	Status           string    `json:"status"`
	FirstDeliveredAt time.Time `json:"firstDeliveredAt"`
}

const (
	stageFinal     = "final"
	statusAccepted = "accepted"
)

func (c *checker) addOutcome(data []byte, stored time.Time) error {
	var o outcome
	if err := json.Unmarshal(data, &o); err != nil {
		return fmt.Errorf("read an outcome: %w", err)
	}
	i := indexOf(o.Key) - c.offset
	if i < 0 || i >= len(c.outcomes) || o.Stage != stageFinal || o.Status != statusAccepted {
		c.foreign++
		return nil
	}
	if c.outcomes[i] > 0 {
		c.foreign++
		return nil
	}
	c.outcomes[i] = 1
	c.answered++
	if c.first.IsZero() || o.FirstDeliveredAt.Before(c.first) {
		c.first = o.FirstDeliveredAt
	}
	if stored.After(c.last) {
		c.last = stored
	}
	if !c.mark.IsZero() && o.FirstDeliveredAt.After(c.mark) && (c.afterMark.IsZero() || stored.Before(c.afterMark)) {
		c.afterMark = stored
	}
	return nil
}

func (c *checker) addEffect(reference string, n int) {
	index := indexOf(reference)
	i := index - c.offset
	switch {
	case index >= 0 && i < 0:
		return
	case index < 0 || i >= len(c.effects):
		c.foreign++
		return
	}
	c.effects[i] = uint8(min(int(c.effects[i])+n, 255)) //nolint:gosec // G115: at most 255
}

func (c *checker) verdict() verdict {
	v := verdict{Foreign: c.foreign, Missing: len(c.outcomes) - c.answered}
	for _, n := range c.effects {
		switch {
		case n == 0:
			v.Lost++
		case n > 1:
			v.Duplicates += int(n) - 1
		}
	}
	return v
}

// outcomePatience is how long the checker waits for the next outcome, once
// all that had effects should have theirs.
const outcomePatience = 15 * time.Second

// readOutcomes reads a side's outcomes until there is one for each key, or
// none has come for a while, and what else stands there. It begins at
// a sequence of the stream.
func (c *checker) readOutcomes(ctx context.Context, js jetstream.JetStream, s side, from uint64, patience time.Duration) error {
	stream, subject := outcomesOf(s)
	config := jetstream.OrderedConsumerConfig{FilterSubjects: []string{subject}}
	if from > 0 {
		config.DeliverPolicy, config.OptStartSeq = jetstream.DeliverByStartSequencePolicy, from
	}
	consumer, err := js.OrderedConsumer(ctx, stream, config)
	if err != nil {
		return fmt.Errorf("read outcomes: %w", err)
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessages(2_000))
	if err != nil {
		return fmt.Errorf("read outcomes: %w", err)
	}
	defer messages.Stop()
	for {
		msg, err := messages.Next(jetstream.NextMaxWait(patience))
		if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, jetstream.ErrMsgIteratorClosed) || ctx.Err() != nil {
			return nil // what is missing is counted
		}
		if err != nil {
			return fmt.Errorf("read outcomes: %w", err)
		}
		meta, err := msg.Metadata()
		if err != nil {
			return fmt.Errorf("read outcomes: %w", err)
		}
		if err := c.addOutcome(msg.Data(), meta.Timestamp); err != nil {
			return err
		}
		if c.answered == len(c.outcomes) && meta.NumPending == 0 {
			return nil
		}
	}
}
