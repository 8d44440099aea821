package pipeline_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"syscall"
	"testing"
	"time"

	"waybill/orchestrator"
	"waybill/orchestrator/simulator"
	"waybill/pipeline"
)

// crashed is a worker whose process is gone: nothing it still wants to write
// reaches NATS.
func (r *rig) crash(cfg pipeline.Config, stop func()) {
	cfg.JetStream.Conn().Close()
	stop()
}

// A worker dies while Orchestrator has its call: before the effect, after it,
// or with an effect that is still to come. Another worker finishes the job:
// one effect, one final outcome.
func TestWorkerDiesInTheCall(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		lane      pipeline.Lane
		operation string
		requests  []pipeline.Request
	}{
		{uniqueItems, "BulkAddQueueItems", items(7)},
		{plainItems, "BulkAddQueueItems", items(7)},
		{plainItems, "AddQueueItem", items(1)},
		{jobs, "StartJobs", someJobs(1)},
	} {
		for _, when := range []simulator.Hold{{When: simulator.Before}, {When: simulator.Before, Outlives: true}, {When: simulator.After}} {
			name := fmt.Sprintf("%s, %s in %s, outlives %v", when.When, test.operation, test.lane.Name, when.Outlives)
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
					first := r.config()
					stop := r.start(first)
					when.Operation = test.operation
					held := r.simulator.Hold(when)
					r.publish(test.lane, test.requests...)
					<-held.Arrived()
					begin := time.Now()
					r.crash(first, stop)
					r.start(r.config())
					time.Sleep(3 * time.Second)
					held.Release()
					r.await(test.lane, 10*time.Minute, test.requests...)
					if took := time.Since(begin); took > 2*time.Minute {
						t.Errorf("settled %s after the crash, want it soon after hold and settle time", took)
					}
					if got := r.checkOnce(test.lane, test.requests)[pipeline.StatusAccepted]; got != len(test.requests) {
						t.Errorf("%d of %d accepted, though what became of each can be known", got, len(test.requests))
					}
					time.Sleep(time.Minute)
					r.settled()
				})
			})
		}
	}
}

// A request that is older than what the ledger remembers may have been carried
// out. That its time has passed, and that the first worker to see it again dies
// before it has looked, does not make it a request of which nothing was done.
func TestOlderThanTheLedger(t *testing.T) {
	t.Parallel()
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		old := item("old", 1)
		old.NotAfter = time.Now().Add(time.Hour)
		r.publish(plainItems, old)
		cfg := r.config()
		folder, err := cfg.Tenants[0].Client.Folder(t.Context(), cfg.Tenants[0].DefaultFolder)
		if err != nil {
			t.Fatal(err)
		}
		done := orchestrator.QueueItemData{Name: plainItems.Name, Reference: "old", Priority: "Normal", SpecificContent: json.RawMessage(`{"Amount":1}`)}
		if _, err := cfg.Tenants[0].Client.AddQueueItem(t.Context(), folder, done); err != nil {
			t.Fatal(err)
		}
		time.Sleep(25 * time.Hour)
		cfg.Topology.Retention = 48 * time.Hour
		claimed := make(chan struct{})
		cfg.Reached = func(p pipeline.Point, _, _ int) {
			if p == pipeline.PointClaimed {
				cfg.JetStream.Conn().Close()
				close(claimed)
			}
		}
		stop := r.start(cfg)
		<-claimed
		stop()
		second := r.config()
		second.Topology.Retention = 48 * time.Hour
		r.start(second)
		if o := r.final(plainItems, "old"); o.Status != pipeline.StatusAccepted || o.DecidedBy != pipeline.ByLookup {
			t.Errorf("got %s by %s, want it found by look-up", o.Status, o.DecidedBy)
		}
	})
}

// An effect may come as late as the settle time after the claim has ended: until
// then nobody concludes that there is none.
func TestLateEffects(t *testing.T) {
	t.Parallel()
	late := simulator.Faults{Rate: 0.5, Kinds: []simulator.FaultKind{simulator.Late}, LateBy: 70 * time.Second}
	inBubble(t, simulator.Config{Seed: 3, Faults: late}, func(_ *testing.T, r *rig) {
		r.start(r.config())
		queued, started := items(20), someJobs(20)
		for i := range queued {
			r.publish(plainItems, queued[i])
			r.publish(jobs, started[i])
			time.Sleep(time.Second)
		}
		time.Sleep(25 * time.Second)
		r.publish(plainItems, queued...) // the first calls' claims are over
		r.publish(jobs, started...)
		r.await(plainItems, time.Hour, queued...)
		r.await(jobs, time.Hour, started...)
		time.Sleep(5 * time.Minute) // whatever is still to come has come
		r.checkOnce(plainItems, queued)
		r.checkOnce(jobs, started)
	})
}

// What Orchestrator cannot filter by is found by listing.
func TestLookUpWithoutFilters(t *testing.T) {
	t.Parallel()
	for _, mode := range []simulator.FilterMode{simulator.FilterRefused, simulator.FilterBlind} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			cfg := simulator.Config{Switches: simulator.Switches{FilterByReference: mode, FilterByBatchExecutionKey: mode}}
			inBubble(t, cfg, func(t *testing.T, r *rig) {
				first := r.config()
				stop := r.start(first)
				r.publish(jobs, job("before"))
				r.final(jobs, "before")
				done, open := r.simulator.Hold(simulator.Hold{Operation: "StartJobs", When: simulator.After, Reference: "done"}), r.simulator.Hold(simulator.Hold{Operation: "StartJobs", Reference: "open"})
				r.publish(jobs, job("done"), job("open"))
				<-done.Arrived()
				<-open.Arrived()
				r.crash(first, stop)
				done.Release()
				open.Release()
				r.start(r.config())
				r.await(jobs, time.Hour, job("done"), job("open"))
				r.checkOnce(jobs, []pipeline.Request{job("done"), job("open")})
				if o := r.final(jobs, "done"); o.DecidedBy != pipeline.ByLookup || o.Attempts != 1 {
					t.Errorf("got %s after %d attempts, want it found by look-up after 1", o.DecidedBy, o.Attempts)
				}
				if o := r.final(jobs, "open"); o.DecidedBy != pipeline.ByAnswer {
					t.Errorf("got %s, want it answered by the second call", o.DecidedBy)
				}
			})
		})
	}
}

// With a Reference of its own choosing in a queue that takes repeats, nobody
// can tell whose an item is: the outcome says so, and nothing is repeated.
func TestReferenceThatIsNotTheKey(t *testing.T) {
	t.Parallel()
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		first := r.config()
		stop := r.start(first)
		held := r.simulator.Hold(simulator.Hold{Operation: "AddQueueItem", When: simulator.After})
		r.publish(plainItems, pipeline.Request{Key: "INV-1", Item: json.RawMessage(`{"Reference":"R-1"}`)})
		<-held.Arrived()
		r.crash(first, stop)
		held.Release()
		r.start(r.config())
		o := r.final(plainItems, "INV-1")
		if o.Status != pipeline.StatusUnknown || o.Error == nil || !strings.Contains(o.Error.Message, "R-1") {
			t.Errorf("got %+v, want unknown, saying why", o)
		}
		if dead := r.deadLetters(plainItems)["INV-1"]; len(dead) != 1 {
			t.Errorf("got %d dead letters, want 1", len(dead))
		}
		if n := len(r.simulator.EffectsOf("R-1")); n != 1 {
			t.Errorf("%d effects, want 1", n)
		}
	})
}

// A Reference that somebody else's item has is not ours to report as done.
func TestReferenceOfAnotherItem(t *testing.T) {
	t.Parallel()
	for name, other := range map[string]string{"same content": `{"Reference":"INV-1","Priority":"Normal","SpecificContent":{"Amount":1}}`, "other content": `{"Reference":"INV-1"}`} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
				stop := r.start(r.config())
				r.publish(uniqueItems, pipeline.Request{Key: "first", Item: json.RawMessage(other)})
				r.final(uniqueItems, "first")
				time.Sleep(time.Minute)
				r.publish(uniqueItems, item("INV-1", 1))
				o := r.final(uniqueItems, "INV-1")
				if o.Status != pipeline.StatusRejected || o.DecidedBy != pipeline.ByDuplicate || o.Item == nil || o.Item.ID == 0 || o.Error.Code != "1016" {
					t.Errorf("got %+v, want it rejected as a duplicate, with the other item's id", o)
				}
				stop()
				r.settled()
			})
		})
	}
}

// A call that had no effect is not made again once the producer's time is over.
func TestExpiry(t *testing.T) {
	t.Parallel()
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		soon, late := item("soon", 1), item("late", 2)
		soon.NotAfter, late.NotAfter = time.Now().Add(time.Hour), time.Now().Add(time.Second)
		r.publish(plainItems, soon, late)
		time.Sleep(time.Minute)
		r.start(r.config())
		if o := r.final(plainItems, "late"); o.Status != pipeline.StatusExpired || o.Attempts != 0 {
			t.Errorf("got %+v, want it expired without an attempt", o)
		}
		if o := r.final(plainItems, "soon"); o.Status != pipeline.StatusAccepted {
			t.Errorf("got %s, want accepted", o.Status)
		}
		r.checkOnce(plainItems, []pipeline.Request{soon, late})
	})
}

// What may have been done is looked for, though the time is over meanwhile.
func TestExpiryInDoubt(t *testing.T) {
	t.Parallel()
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		first := r.config()
		stop := r.start(first)
		held := r.simulator.Hold(simulator.Hold{Operation: "StartJobs", When: simulator.After})
		q := job("run-1")
		q.NotAfter = time.Now().Add(5 * time.Second)
		r.publish(jobs, q)
		<-held.Arrived()
		r.crash(first, stop)
		held.Release()
		time.Sleep(time.Minute)
		r.start(r.config())
		if o := r.final(jobs, "run-1"); o.Status != pipeline.StatusAccepted || o.DecidedBy != pipeline.ByLookup {
			t.Errorf("got %+v, want it found", o)
		}
	})
}

// The end of a job or a transaction is reported where the producer asks for
// it, also across a crash of the worker.
func TestUntilCompleted(t *testing.T) {
	t.Parallel()
	cfg := simulator.Config{Robots: simulator.Robots{Count: 2, JobTime: 30 * time.Second}}
	inBubble(t, cfg, func(t *testing.T, r *rig) {
		first := r.config()
		stop := r.start(first)
		run, queued := job("run-1"), item("INV-1", 1)
		run.Until, queued.Until = pipeline.UntilCompleted, pipeline.UntilCompleted
		r.publish(jobs, run)
		r.publish(plainItems, queued)
		for len(r.accepted(jobs, "run-1")) == 0 || len(r.accepted(plainItems, "INV-1")) == 0 {
			time.Sleep(time.Second)
		}
		if len(r.finals(jobs, "run-1"))+len(r.finals(plainItems, "INV-1")) > 0 {
			t.Error("there is a final outcome, but the job and the item have not ended")
		}
		r.crash(first, stop)
		item := r.accepted(plainItems, "INV-1")[0].Item
		if _, err := r.simulator.FinishQueueItem(item.ID, simulator.Result{Status: "Failed", Exception: &simulator.Exception{Type: "BusinessException", Reason: "no such supplier"}}); err != nil {
			t.Fatal(err)
		}
		r.start(r.config())
		if o := r.final(jobs, "run-1"); o.Status != pipeline.StatusSucceeded || o.Job.OutputArguments != `{"in_Key":"run-1"}` || o.DecidedBy != pipeline.ByPoll {
			t.Errorf("got %+v, want it succeeded with its output", o)
		}
		if o := r.final(plainItems, "INV-1"); o.Status != pipeline.StatusFailed || o.Error.Message != "no such supplier" {
			t.Errorf("got %+v, want it failed with the robot's reason", o)
		}
	})
}

func (r *rig) accepted(lane pipeline.Lane, key string) []pipeline.Outcome {
	r.mu.Lock()
	defer r.mu.Unlock()
	var accepted []pipeline.Outcome
	for _, o := range r.outcomes[lane.String()+"/"+key] {
		if o.Stage == pipeline.StageAccepted {
			accepted = append(accepted, o)
		}
	}
	return accepted
}

// One item that Orchestrator always fails at does not take the others of its
// bulk call with it, and ends.
func TestItemThatAlwaysFails(t *testing.T) {
	t.Parallel()
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		cfg := r.config()
		cfg.Tenants[0].Client = r.client(cutting{r.simulator.RoundTripper(), "poison"})
		r.start(cfg)
		others, poison := items(20), item("poison", 1)
		r.publish(plainItems, append(others, poison)...)
		r.await(plainItems, time.Hour, others...)
		for i := range 30 { // other calls get through meanwhile
			others = append(others, item(fmt.Sprintf("more-%d", i), i))
			r.publish(plainItems, others[len(others)-1])
			time.Sleep(time.Minute)
		}
		o := r.final(plainItems, "poison")
		if o.Status != pipeline.StatusRejected || o.Error.Kind != "exhausted" {
			t.Errorf("got %+v, want it rejected after several attempts", o)
		}
		r.checkOnce(plainItems, append(others, poison))
	})
}

// cutting breaks off every write that has a word in it, before its effect.
type cutting struct {
	next http.RoundTripper
	word string
}

func (c cutting) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodPost && r.Body != nil {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		if strings.Contains(string(body), c.word) {
			if trace := httptrace.ContextClientTrace(r.Context()); trace != nil && trace.WroteHeaders != nil {
				trace.WroteHeaders() // it was on its way
			}
			return nil, syscall.ECONNRESET
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	return c.next.RoundTrip(r)
}
