package pipeline_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"waybill/orchestrator/simulator"
	"waybill/pipeline"
)

// A worker may stand still between any two durable steps for as long as it
// likes: meanwhile another has carried on, and what the first does when it wakes
// up changes nothing.
func TestWorkerThatPauses(t *testing.T) {
	t.Parallel()
	for _, point := range pipeline.Points() {
		if point == pipeline.PointProbing || point == pipeline.PointDraining {
			continue // nothing has begun, or nothing is begun any more
		}
		t.Run(string(point), func(t *testing.T) {
			t.Parallel()
			inBubble(t, simulator.Config{Seed: 9, Faults: simulator.Faults{Rate: 0.3, LateBy: 20 * time.Second}, Robots: simulator.Robots{Count: 2, JobTime: time.Second}}, func(t *testing.T, r *rig) {
				pauses(t, r, point)
			})
		})
	}
}

// pauses runs two workers, the first of which stands still once at a point, and
// publishes everything twice, so that the second has it in hand too.
func pauses(t *testing.T, r *rig, point pipeline.Point) {
	t.Helper()
	var paused atomic.Bool
	first := r.config()
	first.Reached = func(p pipeline.Point, _, _ int) {
		if p == point && paused.CompareAndSwap(false, true) {
			time.Sleep(10 * time.Minute)
		}
	}
	stop := r.start(first)
	r.start(r.config())
	requested := make(map[pipeline.Lane][]pipeline.Request)
	for round := 0; round < 2 || !paused.Load() && round < 100; round++ {
		publishTwice(r, round, requested)
	}
	for lane, requests := range requested {
		r.await(lane, 3*time.Hour, requests...)
	}
	time.Sleep(15 * time.Minute) // it wakes up, and everything is over
	stop()
	for lane, requests := range requested {
		r.checkOnce(lane, requests)
	}
	r.settled()
	if !paused.Load() {
		t.Errorf("the worker never came to the point %s", point)
	}
}

// publishTwice publishes some requests of every kind, and again a little later.
func publishTwice(r *rig, round int, requested map[pipeline.Lane][]pipeline.Request) {
	fresh := make(map[pipeline.Lane][]pipeline.Request)
	for i := range 5 {
		key := fmt.Sprintf("%d-%d", round, i)
		started := job(key)
		if i == 0 {
			started.Until = pipeline.UntilCompleted
		}
		fresh[uniqueItems] = append(fresh[uniqueItems], item(key, i))
		fresh[plainItems] = append(fresh[plainItems], item(key, i))
		fresh[jobs] = append(fresh[jobs], started)
	}
	broken := pipeline.Request{Key: fmt.Sprintf("%d-broken", round)}
	requested[plainItems] = append(requested[plainItems], broken)
	for range 2 {
		for lane, requests := range fresh {
			r.publish(lane, requests...)
		}
		r.publishRaw(r.topology.RequestSubject(plainItems), fmt.Sprintf(`{"key":%q,"item":{},"nonsense":1}`, broken.Key))
		time.Sleep(5 * time.Second)
	}
	for lane, requests := range fresh {
		requested[lane] = append(requested[lane], requests...)
	}
}

// A machine that was suspended does not count that time on its monotonic clock,
// by which a call's own time is measured: the wall clock tells, right before the
// call is sent.
func TestMachineThatWasSuspended(t *testing.T) {
	t.Parallel()
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		var slept atomic.Int64
		cfg := r.config()
		cfg.Wall = func() time.Time { return time.Now().Add(time.Duration(slept.Load())) }
		calls := &counting{next: r.simulator.RoundTripper(), word: "StartJobs"}
		cfg.Tenants[0].Client = r.client(calls)
		cfg.Reached = func(p pipeline.Point, _, _ int) {
			if p == pipeline.PointCalling {
				slept.CompareAndSwap(0, int64(10*time.Minute))
			}
			if p == pipeline.PointAnswered && slept.Load() > 0 {
				if n := calls.calls.Load(); slept.CompareAndSwap(int64(10*time.Minute), int64(10*time.Minute)+1) && n != 0 {
					t.Errorf("%d calls were sent after the machine was suspended, want none", n)
				}
			}
		}
		r.start(cfg)
		r.publish(jobs, job("run-1"))
		if o := r.final(jobs, "run-1"); o.Status != pipeline.StatusAccepted || o.Attempts != 1 {
			t.Errorf("got %s after %d attempts, want it accepted by the one call that was sent", o.Status, o.Attempts)
		}
	})
}
