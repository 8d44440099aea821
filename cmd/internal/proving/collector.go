package proving

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"waybill/pipeline"
	"waybill/pipeline/history"
)

// Collector gathers outcomes as they are stored, repeats and all, in a
// goroutine of its own.
type Collector struct {
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu       sync.Mutex
	outcomes []pipeline.Outcome
	settled  map[history.Key]bool      // at the stage final
	arrived  map[history.Key]time.Time // of the first final outcome
	accepted map[history.Key]bool      // at the stage accepted
	changed  chan struct{}
	err      error // why it has ended early
}

// startCollector returns when no outcome can be missed any more.
func startCollector(ctx context.Context, js jetstream.JetStream) (*Collector, error) {
	watch, cancel := context.WithCancel(context.WithoutCancel(ctx))
	c := &Collector{cancel: cancel, settled: make(map[history.Key]bool), arrived: make(map[history.Key]time.Time), accepted: make(map[history.Key]bool), changed: make(chan struct{})}
	ready := make(chan struct{})
	c.done.Go(func() {
		for o, err := range pipeline.Watch(watch, js, pipeline.Topology{}, pipeline.OutcomeFilter{All: true}, func() { close(ready) }) {
			c.add(o, err)
		}
	})
	select {
	case <-ready:
		return c, nil
	case <-ctx.Done():
		c.stop()
		return nil, fmt.Errorf("watch outcomes: %w", cmp.Or(c.err, context.Cause(ctx)))
	}
}

func (c *Collector) stop() {
	c.cancel()
	c.done.Wait()
}

func (c *Collector) add(o pipeline.Outcome, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.changed)
	c.changed = make(chan struct{})
	if err != nil {
		c.err = errors.Join(c.err, err)
		return
	}
	c.outcomes = append(c.outcomes, o)
	key := history.KeyOf(o)
	c.at(o.Stage)[key] = true
	if o.Stage == pipeline.StageFinal && c.arrived[key].IsZero() {
		c.arrived[key] = time.Now()
	}
}

// Arrived is when a key's final outcome came; zero if none has.
func (c *Collector) Arrived(key history.Key) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.arrived[key]
}

func (c *Collector) at(stage pipeline.Stage) map[history.Key]bool {
	if stage == pipeline.StageFinal {
		return c.settled
	}
	return c.accepted
}

// Without gives the keys that have not come to a stage yet, and the channel
// that is closed when there is more to know.
func (c *Collector) Without(stage pipeline.Stage, keys []history.Key) (missing []history.Key, changed <-chan struct{}, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	reached := c.at(stage)
	missing = slices.DeleteFunc(slices.Clone(keys), func(k history.Key) bool { return reached[k] })
	return missing, c.changed, c.err
}

// All gives the outcomes so far, in the order in which they came.
func (c *Collector) All() []pipeline.Outcome {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.outcomes)
}
