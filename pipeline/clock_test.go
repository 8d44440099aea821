package pipeline_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

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
					cfg.Wall = func() time.Time {
						return time.Now().Add(time.Duration(random.Int64N(int64(2*time.Hour))) - time.Hour)
					}
					cfg.Tenants[0].MaxInFlight = 1 // Wall is asked by one call at a time
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
