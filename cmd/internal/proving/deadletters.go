package proving

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"waybill/pipeline"
	"waybill/pipeline/history"
)

// deadLetter is one as it is judged, with the request's body.
type deadLetter struct {
	history.DeadLetter
	body string
}

// deadLetters reads the whole stream of them.
func (in *Installation) deadLetters(ctx context.Context) ([]deadLetter, error) {
	stream, err := in.JS.Stream(ctx, pipeline.Topology{}.DeadLettersStream())
	if err != nil {
		return nil, fmt.Errorf("open the dead letters: %w", err)
	}
	consumer, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy})
	if err != nil {
		return nil, fmt.Errorf("read the dead letters: %w", err)
	}
	left := stream.CachedInfo().State.Msgs
	letters := make([]deadLetter, 0, left)
	if left == 0 {
		return letters, nil
	}
	messages, err := consumer.Messages()
	if err != nil {
		return nil, fmt.Errorf("read the dead letters: %w", err)
	}
	defer messages.Stop()
	for ; left > 0; left-- {
		msg, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return nil, fmt.Errorf("read the dead letters: %w", err)
		}
		letter, err := readDeadLetter(msg)
		if err != nil {
			return nil, err
		}
		letters = append(letters, letter)
	}
	return letters, nil
}

func readDeadLetter(msg jetstream.Msg) (deadLetter, error) {
	header := msg.Headers()
	sequence, err := strconv.ParseUint(header.Get(pipeline.HeaderRequestSequence), 10, 64)
	if err != nil {
		return deadLetter{}, fmt.Errorf("dead letter on %s: sequence of its request: %w", msg.Subject(), err)
	}
	lane, err := laneOfDeadLetter(msg.Subject())
	if err != nil {
		return deadLetter{}, err
	}
	return deadLetter{
		DeadLetter: history.DeadLetter{
			Key: history.Key{Lane: lane, Key: header.Get(pipeline.HeaderKey)}, Reason: header.Get(pipeline.HeaderReason), Sequence: sequence,
		},
		body: string(msg.Data()),
	}, nil
}

// laneOfDeadLetter reads the lane off a dead letter's subject, of the names
// that occur here.
func laneOfDeadLetter(subject string) (pipeline.Lane, error) {
	tokens := strings.Split(subject, ".")
	if len(tokens) != 6 {
		return pipeline.Lane{}, fmt.Errorf("dead letter on %s: no lane is named so", subject)
	}
	unescape := strings.NewReplacer("%20", " ", "%2F", "/", "%25", "%", "%2E", ".").Replace
	return pipeline.Lane{Tenant: unescape(tokens[2]), Folder: unescape(tokens[3]), Kind: pipeline.Kind(strings.TrimSuffix(tokens[4], "s")), Name: unescape(tokens[5])}, nil
}

// awaitAnswered waits until each message there is has been settled: a copy of
// a key that has its outcome leaves nothing but perhaps a dead letter.
func (in *Installation) awaitAnswered(ctx context.Context) error {
	for {
		open, err := in.unanswered(ctx)
		if err == nil && open == 0 {
			return nil
		}
		if e := wait(ctx, 100*time.Millisecond); e != nil {
			return fmt.Errorf("%d messages are not settled (%w): %w", open, e, err)
		}
	}
}

func (in *Installation) unanswered(ctx context.Context) (open uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	stream, err := in.JS.Stream(ctx, pipeline.Topology{}.RequestsStream())
	if err != nil {
		return 0, fmt.Errorf("open the requests: %w", err)
	}
	lanes := stream.ListConsumers(ctx)
	for info := range lanes.Info() {
		open += info.NumPending + uint64(max(0, info.NumAckPending))
	}
	return open, lanes.Err() //nolint:wrapcheck // the caller says what was being done
}
