package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// latencies are from just before a request is published to when the runner
// has received its outcome from the stream, in milliseconds.
type latencies struct {
	P50 float64 `json:"p50"`
	P95 float64 `json:"p95"`
	P99 float64 `json:"p99"`
}

// stopwatch knows when each request was sent and its outcome received.
type stopwatch struct {
	mu       sync.Mutex
	sent     []time.Time
	took     []float64 // milliseconds; 0: not yet
	received int
	news     chan struct{} // has room for one
}

func newStopwatch(count int) *stopwatch {
	return &stopwatch{sent: make([]time.Time, count), took: make([]float64, count), news: make(chan struct{}, 1)}
}

func (s *stopwatch) start(i int, at time.Time) {
	s.mu.Lock()
	s.sent[i] = at
	s.mu.Unlock()
}

func (s *stopwatch) stop(i int, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i < 0 || i >= len(s.took) || s.took[i] > 0 {
		return
	}
	s.took[i] = float64(at.Sub(s.sent[i])) / float64(time.Millisecond)
	s.received++
	select {
	case s.news <- struct{}{}:
	default:
	}
}

// await waits until so many outcomes are there.
func (s *stopwatch) await(ctx context.Context, count int) error {
	for {
		s.mu.Lock()
		received := s.received
		s.mu.Unlock()
		if received >= count {
			return nil
		}
		select {
		case <-s.news:
		case <-ctx.Done():
			return fmt.Errorf("%d outcomes of %d have come: %w", received, count, context.Cause(ctx))
		}
	}
}

// latencyPatience is how long the last outcomes may take.
const latencyPatience = 30 * time.Second

// measureLatency publishes requests at an even pace, and takes the time of
// each. The first goes ahead, alone, until its outcome is there: the side has
// started then, and has met the lane.
func (r *run) measureLatency(ctx context.Context, res *result) error {
	watch := newStopwatch(r.w.count)
	stop, err := r.watchOutcomes(ctx, watch)
	if err != nil {
		return err
	}
	defer stop()
	for _, step := range []struct{ from, to int }{{0, 1}, {1, r.w.count}} {
		if err := publishPaced(ctx, r.js, r.w, step.from, step.to, watch.start); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeoutCause(ctx, latencyPatience, errTooLong)
		err := watch.await(ctx, step.to)
		cancel()
		if err != nil {
			return err
		}
	}
	took := watch.took[min(1, len(watch.took)-1):]
	res.Latency = &latencies{P50: percentile(took, 50), P95: percentile(took, 95), P99: percentile(took, 99)}
	return nil
}

// watchOutcomes has the stopwatch stopped by outcomes as a subscriber gets
// them: from the stream, that is when they are stored.
func (r *run) watchOutcomes(ctx context.Context, watch *stopwatch) (stop func(), err error) {
	stream, subject := outcomesOf(r.side)
	consumer, err := r.js.OrderedConsumer(ctx, stream, jetstream.OrderedConsumerConfig{FilterSubjects: []string{subject}})
	if err != nil {
		return nil, fmt.Errorf("watch outcomes: %w", err)
	}
	consuming, err := consumer.Consume(func(msg jetstream.Msg) {
		now := time.Now()
		watch.stop(indexOf(string(keyIn(msg.Data()))), now)
	})
	if err != nil {
		return nil, fmt.Errorf("watch outcomes: %w", err)
	}
	return consuming.Stop, nil
}
