package pipeline_test

import (
	"testing"
	"time"

	"waybill/orchestrator/simulator"
	"waybill/pipeline"
)

func TestWorkerCarriesRequestsOut(t *testing.T) {
	t.Parallel()
	inBubble(t, simulator.Config{Seed: 1}, func(t *testing.T, r *rig) {
		r.start(r.config())
		queued, started := items(1200), someJobs(70)
		r.publish(uniqueItems, queued...)
		r.publish(plainItems, queued...)
		r.publish(jobs, started...)
		r.await(uniqueItems, time.Minute, queued...)
		r.await(plainItems, time.Minute, queued...)
		r.await(jobs, time.Minute, started...)
		for _, lane := range []pipeline.Lane{uniqueItems, plainItems} {
			if got := r.checkOnce(lane, queued)[pipeline.StatusAccepted]; got != len(queued) {
				t.Errorf("%s: %d accepted, want %d", lane, got, len(queued))
			}
		}
		r.checkOnce(jobs, started)
	})
}

func TestWorkerUnderEveryFault(t *testing.T) {
	t.Parallel()
	inBubble(t, simulator.Config{Seed: 2, Faults: simulator.Faults{Rate: 0.1, LateBy: 3 * time.Second}}, func(t *testing.T, r *rig) {
		r.start(r.config())
		queued, started := items(3000), someJobs(300)
		for part := range 30 {
			r.publish(uniqueItems, queued[part*100:part*100+100]...)
			r.publish(plainItems, queued[part*100:part*100+100]...)
			r.publish(jobs, started[part*10:part*10+10]...)
			time.Sleep(time.Second)
		}
		r.await(uniqueItems, 3*time.Hour, queued...)
		r.await(plainItems, 3*time.Hour, queued...)
		r.await(jobs, 3*time.Hour, started...)
		t.Log(r.checkOnce(uniqueItems, queued), r.checkOnce(plainItems, queued), r.checkOnce(jobs, started), r.simulator.Calls())
	})
}
