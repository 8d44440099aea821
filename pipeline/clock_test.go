package pipeline_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"waybill/orchestrator/simulator"
	"waybill/pipeline"
)

// Orchestrator's clock may be wrong, and those of the workers may be set at any
// moment: what is in doubt is found and no call is made too late.
func TestClocksThatAreWrong(t *testing.T) {
	t.Parallel()
	for _, skew := range []time.Duration{-20 * time.Minute, 20 * time.Minute} {
		t.Run(fmt.Sprint(skew), func(t *testing.T) {
			t.Parallel()
			faults := simulator.Faults{Rate: 0.2, Kinds: []simulator.FaultKind{simulator.CutBefore, simulator.CutAfter, simulator.Late}, LateBy: 20 * time.Second}
			inBubble(t, simulator.Config{Seed: 5, ClockSkew: skew, Faults: faults}, func(t *testing.T, r *rig) {
				for n := range 2 {
					cfg := r.config()
					random := rand.New(rand.NewPCG(5, uint64(n)))
					var asking sync.Mutex
					cfg.Wall = func() time.Time {
						asking.Lock()
						defer asking.Unlock()
						return time.Now().Add(time.Duration(random.Int64N(int64(2*time.Hour))) - time.Hour)
					}
					r.start(cfg)
				}
				queued, started := items(300), someJobs(30)
				for part := range 10 {
					r.publish(uniqueItems, queued[part*30:part*30+30]...)
					r.publish(plainItems, queued[part*30:part*30+30]...)
					r.publish(jobs, started[part*3:part*3+3]...)
					time.Sleep(2 * time.Second)
				}
				for lane, requests := range map[pipeline.Lane][]pipeline.Request{uniqueItems: queued, plainItems: queued, jobs: started} {
					r.await(lane, 3*time.Hour, requests...)
					if got := r.checkOnce(lane, requests)[pipeline.StatusAccepted]; got != len(requests) {
						t.Errorf("%s: %d accepted, want %d", lane, got, len(requests))
					}
				}
			})
		})
	}
}

// otherClock is JetStream whose streams' states are stamped by a server with
// another clock than the one that has stamped the requests.
type otherClock struct {
	jetstream.JetStream
	behind time.Duration
}

type otherStream struct {
	jetstream.Stream
	behind time.Duration
}

func (c otherClock) Stream(ctx context.Context, name string) (jetstream.Stream, error) {
	s, err := c.JetStream.Stream(ctx, name)
	if err != nil {
		return nil, err
	}
	return otherStream{s, c.behind}, nil
}

func (s otherStream) CachedInfo() *jetstream.StreamInfo {
	info := *s.Stream.CachedInfo()
	info.TimeStamp = info.TimeStamp.Add(-s.behind)
	return &info
}

// Where the clocks leave it open whether an item was there before its request
// was published, nobody says that it was: it is not added again.
func TestClocksThatLeaveItOpen(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		cfg    simulator.Config
		behind time.Duration // of the NATS server that the worker hears
	}{
		"NATS servers that differ":         {simulator.Config{ClockSkew: -12 * time.Second}, 12 * time.Second},
		"Orchestrator's is years from any": {simulator.Config{ClockSkew: -400 * 24 * time.Hour, TokenLife: 900 * 24 * time.Hour}, 0},
	} {
		for _, lane := range []pipeline.Lane{plainItems, uniqueItems} {
			t.Run(name+", "+lane.Name, func(t *testing.T) {
				t.Parallel()
				inBubble(t, test.cfg, func(t *testing.T, r *rig) {
					cfg := r.config()
					cfg.JetStream = otherClock{cfg.JetStream, test.behind}
					lost := r.simulator.Hold(simulator.Hold{Operation: "AddQueueItem", When: simulator.After})
					r.start(cfg)
					time.Sleep(5 * time.Second)
					r.publish(lane, item("K", 1))
					<-lost.Arrived()
					time.Sleep(time.Minute) // the call's time is over
					lost.Release()
					r.final(lane, "K")
					r.checkOnce(lane, []pipeline.Request{item("K", 1)})
					if n := r.effects(lane, "K"); n != 1 {
						t.Errorf("%d effects, want 1", n)
					}
				})
			})
		}
	}
}
