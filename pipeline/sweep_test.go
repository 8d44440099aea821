package pipeline_test

import (
	"testing"
	"time"

	"waybill/orchestrator/simulator"
	"waybill/pipeline"
)

// Much that is tracked costs few calls: what has ended is asked for by folder,
// and each by its id only rarely once that is seen to work.
func TestSweepFindsEnds(t *testing.T) {
	t.Parallel()
	cfg := simulator.Config{Robots: simulator.Robots{Count: 300, JobTime: 4 * time.Minute}}
	inBubble(t, cfg, func(t *testing.T, r *rig) {
		completed := func(requests ...pipeline.Request) []pipeline.Request {
			for i := range requests {
				requests[i].Until = pipeline.UntilCompleted
			}
			return requests
		}
		finish := func(key string) {
			if _, err := r.simulator.FinishQueueItem(r.simulator.EffectsOf(key)[0].ID, simulator.Result{Status: "Successful"}); err != nil {
				t.Fatal(err)
			}
		}
		r.start(r.config())
		started, queued := completed(someJobs(30)...), completed(items(30)...)
		r.publish(jobs, completed(job("first"))...)
		r.publish(plainItems, completed(append(queued, item("first-item", 1))...)...)
		time.Sleep(2 * time.Minute)
		r.publish(jobs, started...)
		finish("first-item")
		r.final(plainItems, "first-item")
		r.final(jobs, "first")
		before := r.simulator.Calls()
		time.Sleep(time.Minute)
		for _, q := range queued[:20] {
			finish(q.Key)
		}
		r.await(jobs, time.Hour, started...)
		r.await(plainItems, time.Hour, queued[:20]...)
		after := r.simulator.Calls()
		for _, q := range started {
			if o := r.final(jobs, q.Key); o.Status != pipeline.StatusSucceeded {
				t.Errorf("%s: %s, want succeeded", q.Key, o.Status)
			}
		}
		if n := len(r.finals(plainItems, queued[29].Key)); n != 0 {
			t.Error("an item that has not ended has a final outcome")
		}
		byID := after["Job"] - before["Job"] + after["QueueItem"] - before["QueueItem"]
		lists := after["Jobs"] - before["Jobs"] + after["QueueItems"] - before["QueueItems"]
		if byID > 4*(len(started)+len(queued)) || lists > 60 {
			t.Errorf("%d calls by id and %d lists for %d ends, want few", byID, lists, len(started)+20)
		}
		t.Logf("%d calls by id, %d lists", byID, lists)
	})
}
