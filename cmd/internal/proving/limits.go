package proving

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"waybill/pipeline"
)

// streams are those that requests, claims, outcomes and dead letters stand in.
func streams() []string {
	return []string{pipeline.Topology{}.RequestsStream(), pipeline.Topology{}.LedgerStream(), pipeline.Topology{}.DeadLettersStream()}
}

// limitStream has a stream take nothing more for a while, as one does that has
// reached the size its operator has set.
func (c *Chaos) limitStream(ctx context.Context, random *rand.Rand) (struck bool, err error) {
	name, byBytes, d := anyOf(random, streams()), random.IntN(2) == 0, upTo(random, limitedFor)
	asking, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	stream, err := c.JS.Stream(asking, name)
	if err != nil {
		return false, unlessAway(err)
	}
	before, state := stream.CachedInfo().Config, stream.CachedInfo().State
	full := before
	if byBytes {
		full.MaxBytes = int64(max(1, state.Bytes)) //nolint:gosec // G115: a stream of a minute
	} else {
		full.MaxMsgs = int64(max(1, state.Msgs)) //nolint:gosec // G115: a stream of a minute
	}
	_, err = c.JS.UpdateStream(asking, full)
	if err == nil {
		_ = wait(ctx, d) // it must take more again, whatever has ended
	}
	return err == nil, errors.Join(unlessAway(err), c.unlimit(ctx, before))
}

// limitedFor is how long at most a stream is full.
const limitedFor = 4 * time.Second

// unlimit puts a stream's limits back, also where the answer to setting them
// was lost.
func (c *Chaos) unlimit(ctx context.Context, before jetstream.StreamConfig) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), Patience)
	defer cancel()
	for {
		asking, stop := context.WithTimeout(ctx, 2*time.Second)
		_, err := c.JS.UpdateStream(asking, before)
		stop()
		if err == nil {
			return nil
		}
		if wait(ctx, 100*time.Millisecond) != nil {
			return fmt.Errorf("put the limits of stream %s back: %w", before.Name, err)
		}
	}
}

// unlessAway passes over what only says that there was nobody to ask just now.
func unlessAway(err error) error {
	for _, away := range []error{context.DeadlineExceeded, context.Canceled, nats.ErrNoResponders, nats.ErrTimeout, nats.ErrDisconnected, jetstream.ErrStreamNotFound, jetstream.ErrNoStreamResponse} {
		if errors.Is(err, away) {
			return nil
		}
	}
	var refused jetstream.JetStreamError
	if errors.As(err, &refused) && refused.APIError() != nil && refused.APIError().Code == http.StatusServiceUnavailable {
		return nil // a cluster that is looking for its leader
	}
	return err
}
