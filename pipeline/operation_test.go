package pipeline_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"waybill/orchestrator"
	"waybill/orchestrator/simulator"
	"waybill/pipeline"
)

// counting counts calls by a word in their path.
type counting struct {
	next  http.RoundTripper
	word  string
	calls atomic.Int64
}

func (c *counting) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.Contains(r.URL.Path, c.word) {
		c.calls.Add(1)
	}
	return c.next.RoundTrip(r)
}

// While Orchestrator asks for time nobody calls it, neither this worker nor
// another, and no attempt is counted.
func TestThrottlingHoldsForAllWorkers(t *testing.T) {
	t.Parallel()
	throttled := simulator.Faults{Rate: 1, Kinds: []simulator.FaultKind{simulator.Throttle}, RetryAfter: 5 * time.Minute}
	inBubble(t, simulator.Config{Faults: throttled}, func(t *testing.T, r *rig) {
		calls := &counting{next: r.simulator.RoundTripper(), word: "StartJobs"}
		for range 2 {
			cfg := r.config()
			cfg.Tenants[0].Client = r.client(calls)
			r.start(cfg)
		}
		r.publish(jobs, job("run-1"))
		time.Sleep(10 * time.Second)
		if n := calls.calls.Load(); n != 1 {
			t.Fatalf("%d calls, want 1", n)
		}
		r.publish(jobs, job("run-2"))
		time.Sleep(4 * time.Minute)
		if n := calls.calls.Load(); n != 1 {
			t.Errorf("%d calls within the time Orchestrator asked for, want 1", n)
		}
		if err := r.simulator.SetFaults(simulator.Faults{}); err != nil {
			t.Fatal(err)
		}
		both := []pipeline.Request{job("run-1"), job("run-2")}
		r.await(jobs, 5*time.Minute, both...)
		r.checkOnce(jobs, both)
		if o := r.final(jobs, "run-1"); o.Attempts != 1 {
			t.Errorf("%d attempts, want 1: a call that was throttled is none", o.Attempts)
		}
	})
}

// Orchestrator is away for ten minutes: nothing is lost, nothing ends, and all
// goes on when it is back.
func TestOutage(t *testing.T) {
	t.Parallel()
	for _, kind := range []simulator.FaultKind{simulator.Unavailable, simulator.ErrorBefore, simulator.ErrorAfter, simulator.HTML, simulator.CutBefore} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			inBubble(t, simulator.Config{Faults: simulator.Faults{Rate: 1, Kinds: []simulator.FaultKind{kind}}}, func(t *testing.T, r *rig) {
				r.start(r.config())
				queued := items(1000)
				r.publish(plainItems, queued...)
				time.Sleep(10 * time.Minute)
				if err := r.simulator.SetFaults(simulator.Faults{}); err != nil {
					t.Fatal(err)
				}
				back := time.Now()
				r.await(plainItems, 2*time.Hour, queued...)
				r.checkOnce(plainItems, queued)
				t.Logf("all settled %s after Orchestrator was back: %v", time.Since(back).Round(time.Second), r.simulator.Calls())
			})
		})
	}
}

// A worker that nobody lets in says so and does not start.
func TestLoginRefusedAtStart(t *testing.T) {
	t.Parallel()
	inBubble(t, simulator.Config{ClientID: "id", ClientSecret: "another"}, func(t *testing.T, r *rig) {
		w, err := pipeline.New(r.config())
		if err != nil {
			t.Fatal(err)
		}
		err = w.Run(t.Context())
		if e, ok := errors.AsType[*orchestrator.Error](err); !ok || !e.LoginRefused() {
			t.Errorf("got %v, want the login refused", err)
		}
		if strings.Contains(fmt.Sprint(err), "secret") && strings.Contains(fmt.Sprint(err), "another") {
			t.Errorf("the error shows the secret: %v", err)
		}
	})
}

// barred is an identity server that lets nobody in for a while, and an
// Orchestrator that no longer takes the tokens there are.
type barred struct {
	next http.RoundTripper
	shut atomic.Bool
}

func (b *barred) RoundTrip(r *http.Request) (*http.Response, error) {
	if !b.shut.Load() {
		return b.next.RoundTrip(r)
	}
	if r.Body != nil {
		_, _ = io.Copy(io.Discard, r.Body)
		_ = r.Body.Close()
	}
	status, body := http.StatusUnauthorized, `{}`
	if strings.HasSuffix(r.URL.Path, "/token") {
		status, body = http.StatusBadRequest, `{"error":"invalid_client"}`
	}
	header := http.Header{"Content-Type": {"application/json"}}
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

// A login that is refused for a while ends nothing: the requests wait.
func TestLoginRefusedForAWhile(t *testing.T) {
	t.Parallel()
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		network := &barred{next: r.simulator.RoundTripper()}
		cfg := r.config()
		cfg.Tenants[0].Client = r.client(network)
		r.start(cfg)
		queued := items(40)
		r.publish(plainItems, queued[:20]...)
		r.await(plainItems, time.Minute, queued[:20]...)
		network.shut.Store(true)
		r.publish(plainItems, queued[20:]...)
		time.Sleep(20 * time.Minute)
		if n := len(r.finals(plainItems, queued[20].Key)); n != 0 {
			t.Errorf("there is an outcome, though nobody was let in")
		}
		network.shut.Store(false)
		r.await(plainItems, time.Hour, queued...)
		if got := r.checkOnce(plainItems, queued)[pipeline.StatusAccepted]; got != len(queued) {
			t.Errorf("%d accepted, want %d", got, len(queued))
		}
	})
}

// Told to stop, a worker finishes what it has begun and hands the rest back at
// once.
func TestDrain(t *testing.T) {
	t.Parallel()
	inBubble(t, simulator.Config{Faults: simulator.Faults{Latency: 2 * time.Second}}, func(t *testing.T, r *rig) {
		stop := r.start(r.config())
		started := someJobs(100)
		r.publish(jobs, started...)
		for r.simulator.Calls()["StartJobs"] == 0 {
			time.Sleep(100 * time.Millisecond)
		}
		begin := time.Now()
		stop()
		if took := time.Since(begin); took > 26*time.Second {
			t.Errorf("stopping took %s, want the drain time at most", took)
		}
		made := len(r.simulator.Effects())
		if made == 0 {
			t.Error("the calls under way were broken off")
		}
		r.start(r.config())
		r.await(jobs, 5*time.Minute, started...)
		r.checkOnce(jobs, started)
	})
}

// What is settled leaves the requests stream; what is not stays.
func TestTrim(t *testing.T) {
	t.Parallel()
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		held := item("held", 0)
		held.Until = pipeline.UntilCompleted // so that it is called alone
		call := r.simulator.Hold(simulator.Hold{Operation: "AddQueueItem", Reference: held.Key})
		stop := r.start(r.config())
		r.publish(plainItems, items(300)...)
		r.await(plainItems, time.Minute, items(300)...)
		r.publish(plainItems, held)
		<-call.Arrived()
		more := []pipeline.Request{item("more-1", 1), item("more-2", 2)}
		r.publish(plainItems, more...)
		r.await(plainItems, time.Minute, more...)
		time.Sleep(20 * time.Second)
		if n := r.waiting(); n != 3 {
			t.Errorf("%d requests in the stream, want the one in hand and what came after it", n)
		}
		call.Release()
		time.Sleep(20 * time.Second)
		stop()
		r.publish(plainItems, item("later", 1))
		if n := r.waiting(); n != 1 {
			t.Errorf("%d requests in the stream, want the one that is open", n)
		}
		r.start(r.config())
		r.final(plainItems, "later")
	})
}

// waiting counts the requests in their stream.
func (r *rig) waiting() uint64 {
	r.t.Helper()
	stream, err := r.js.Stream(r.t.Context(), r.topology.RequestsStream())
	if err != nil {
		r.t.Fatal(err)
	}
	return stream.CachedInfo().State.Msgs
}

// A consumer that somebody else has on the stream says nothing of what is
// settled: its acks remove nothing.
func TestTrimMindsOnlyItsOwnConsumers(t *testing.T) {
	t.Parallel()
	inBubble(t, simulator.Config{Faults: simulator.Faults{Rate: 1, Kinds: []simulator.FaultKind{simulator.Unavailable}}}, func(t *testing.T, r *rig) {
		r.publish(plainItems, items(3)...)
		auditor, err := r.js.CreateConsumer(t.Context(), r.topology.RequestsStream(), jetstream.ConsumerConfig{
			Durable: "auditor", FilterSubject: r.topology.RequestSubject(plainItems), AckPolicy: jetstream.AckExplicitPolicy,
		})
		if err != nil {
			t.Fatal(err)
		}
		batch, err := auditor.Fetch(3, jetstream.FetchMaxWait(time.Second))
		if err != nil {
			t.Fatal(err)
		}
		for msg := range batch.Messages() {
			if err := msg.Ack(); err != nil {
				t.Fatal(err)
			}
		}
		r.start(r.config())
		time.Sleep(time.Minute)
		if err := r.simulator.SetFaults(simulator.Faults{}); err != nil {
			t.Fatal(err)
		}
		r.await(plainItems, time.Hour, items(3)...)
		r.checkOnce(plainItems, items(3))
	})
}

// A path that leads to another folder than before is another lane by the old
// name: it stands still until an operator says so.
func TestFolderThatWasReplaced(t *testing.T) {
	t.Parallel()
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		stop := r.start(r.config())
		r.publish(plainItems, item("before", 1))
		r.final(plainItems, "before")
		stop()
		other := simulator.New(simulator.Config{Seed: 2}) // where folders have other keys
		defer other.Close()
		other.AddFolder("Shared")
		if _, err := other.AddQueue("Shared", simulator.Queue{Name: "Plain"}); err != nil {
			t.Fatal(err)
		}
		elsewhere := func() pipeline.Config {
			cfg := r.config()
			cfg.Tenants[0].Client = r.client(other.RoundTripper())
			return cfg
		}
		r.publish(plainItems, item("after", 1))
		stop = r.start(elsewhere())
		time.Sleep(10 * time.Minute)
		if n := len(r.finals(plainItems, "after")); n != 0 {
			t.Errorf("%d outcomes, want the lane to stand still", n)
		}
		kv, err := r.js.KeyValue(t.Context(), r.topology.ControlBucket())
		if err != nil {
			t.Fatal(err)
		}
		stop()
		if err := kv.Delete(t.Context(), "lanes.Default.Shared.items.Plain"); err != nil {
			t.Fatal(err)
		}
		r.start(elsewhere())
		r.final(plainItems, "after")
	})
}

// Streams that contradict the protocol are refused with the difference, and
// left as they are.
func TestProvisionRefusesContradictions(t *testing.T) {
	t.Parallel()
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		stream, err := r.js.Stream(t.Context(), r.topology.LedgerStream())
		if err != nil {
			t.Fatal(err)
		}
		cfg := stream.CachedInfo().Config
		cfg.MaxAge, cfg.MaxBytes = time.Hour, 1<<30
		if _, err := r.js.UpdateStream(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
		err = pipeline.Provision(t.Context(), r.js, r.topology)
		if err == nil || !strings.Contains(err.Error(), "UIPATH_LEDGER: max age is 1h0m0s, it must be 0s") || strings.Contains(err.Error(), "bytes") {
			t.Errorf("got %v, want the max age refused and the operator's limit on bytes left alone", err)
		}
		err = pipeline.CheckTopology(t.Context(), r.js, pipeline.Topology{Prefix: "other"})
		if err == nil || !strings.Contains(err.Error(), "OTHER_REQUESTS") {
			t.Errorf("got %v, want the missing streams named", err)
		}
	})
}

// A ledger that is gone is never made anew in silence: all that is known would
// be carried out again.
func TestProvisionRefusesToForget(t *testing.T) {
	t.Parallel()
	inBubble(t, simulator.Config{Seed: 1}, func(t *testing.T, r *rig) {
		stop := r.start(r.config())
		r.publish(plainItems, item("INV-1", 1))
		r.final(plainItems, "INV-1")
		stop()
		if err := r.js.DeleteStream(t.Context(), r.topology.LedgerStream()); err != nil {
			t.Fatal(err)
		}
		if err := pipeline.Provision(t.Context(), r.js, r.topology); !errors.Is(err, pipeline.ErrLedgerLost) {
			t.Fatalf("the ledger is gone: got %v, want ErrLedgerLost", err)
		}
		if err := r.js.DeleteKeyValue(t.Context(), r.topology.ControlBucket()); err != nil {
			t.Fatal(err)
		}
		if err := pipeline.Provision(t.Context(), r.js, r.topology); err != nil {
			t.Errorf("the operator has given the ledger up: %v", err)
		}
	})
}

// Two workers share every lane; no key has two effects.
func TestTwoWorkersWithRepeats(t *testing.T) {
	t.Parallel()
	inBubble(t, simulator.Config{Seed: 5, Faults: simulator.Faults{Rate: 0.05, Latency: 2 * time.Second}}, func(_ *testing.T, r *rig) {
		r.start(r.config())
		r.start(r.config())
		queued := items(2000)
		for range 3 {
			r.publish(plainItems, queued...)
			r.publish(uniqueItems, queued...)
		}
		r.await(plainItems, 2*time.Hour, queued...)
		r.await(uniqueItems, 2*time.Hour, queued...)
		r.checkOnce(plainItems, queued)
		r.checkOnce(uniqueItems, queued)
	})
}

// A request is recognised for as long as the ledger's retention says, far beyond
// any duplicate window of JetStream's.
func TestRepeatedDaysLater(t *testing.T) {
	t.Parallel()
	inBubble(t, simulator.Config{}, func(_ *testing.T, r *rig) {
		queued := items(3)
		for range 2 {
			cfg := r.config()
			cfg.Topology.Retention = 48 * time.Hour
			stop := r.start(cfg)
			r.publish(plainItems, queued...)
			r.await(plainItems, time.Hour, queued...)
			time.Sleep(time.Minute)
			stop()
			r.settled()
			time.Sleep(47 * time.Hour)
		}
		r.checkOnce(plainItems, queued)
	})
}

// Two spellings of one queue are one scope: the same key is the same request.
func TestSpellingsOfOneQueue(t *testing.T) {
	t.Parallel()
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		r.start(r.config())
		for _, lane := range []pipeline.Lane{
			plainItems,
			{Tenant: "Default", Folder: pipeline.DefaultFolder, Kind: pipeline.KindItem, Name: "PLAIN"},
			{Tenant: "Default", Folder: "Shared", Kind: pipeline.KindItem, Name: "plain"},
		} {
			r.publish(lane, pipeline.Request{Key: "INV-1", Item: json.RawMessage(`{}`)})
			time.Sleep(5 * time.Second)
		}
		r.final(plainItems, "INV-1")
		if n := r.effects(plainItems, "INV-1"); n != 1 {
			t.Errorf("%d effects, want 1", n)
		}
		known, err := r.publisher.Known(t.Context(), pipeline.Lane{Tenant: "Default", Folder: "-", Kind: pipeline.KindItem, Name: "PLAIN"}, []string{"INV-1", "INV-2"})
		if err != nil || len(known) != 1 || !known["INV-1"].Final || known["INV-1"].Status != pipeline.StatusAccepted {
			t.Errorf("known keys %+v, %v, want INV-1 as accepted", known, err)
		}
	})
}

// Watch stops when its context does, and can start with what there is.
func TestWatchAll(t *testing.T) {
	t.Parallel()
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		r.start(r.config())
		r.publish(plainItems, items(10)...)
		r.await(plainItems, time.Minute, items(10)...)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		n := 0
		for o, err := range pipeline.Watch(ctx, r.js, r.topology, pipeline.OutcomeFilter{All: true, Status: pipeline.StatusAccepted}, nil) {
			if err != nil {
				t.Fatal(err)
			}
			if n++; o.Lane() != plainItems {
				t.Errorf("outcome of lane %s, want %s", o.Lane(), plainItems)
			}
		}
		if n != 10 {
			t.Errorf("%d outcomes, want 10", n)
		}
	})
}

// Requests that no worker has taken on yet are known to wait.
func TestWaiting(t *testing.T) {
	t.Parallel()
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		if waiting, all, err := r.publisher.Waiting(t.Context(), plainItems, 10); len(waiting) != 0 || !all || err != nil {
			t.Errorf("got %v, %v, %v, want nothing and all of it", waiting, all, err)
		}
		r.publish(plainItems, items(7)...)
		r.publishRaw(r.topology.RequestSubject(plainItems), `{"key":"foreign","item":{}}`)
		waiting, all, err := r.publisher.Waiting(t.Context(), plainItems, 10)
		if err != nil || !all || len(waiting) != 7 {
			t.Fatalf("got %v, %v, %v, want the seven that a Publisher has published", waiting, all, err)
		}
		if hash, err := item("INV-00003", 3).PayloadHash(plainItems); err != nil || waiting["INV-00003"] != hash {
			t.Errorf("got hash %q, %v, want %q", waiting["INV-00003"], err, hash)
		}
		if waiting, all, err = r.publisher.Waiting(t.Context(), plainItems, 5); len(waiting) != 0 || all || err != nil {
			t.Errorf("got %v, %v, %v, want none, for they are too many", waiting, all, err)
		}
	})
}

// Streams that fewer servers hold than it is configured are named, the bucket
// too, and no worker refuses them.
func TestFewerReplicas(t *testing.T) {
	t.Parallel()
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		var log bytes.Buffer
		cfg := r.config()
		cfg.Topology.Replicas, cfg.Logger = 3, slog.New(slog.NewTextHandler(&log, nil))
		stop := r.start(cfg)
		time.Sleep(time.Minute)
		stop()
		for _, stream := range []string{"UIPATH_REQUESTS", "UIPATH_LEDGER", "UIPATH_DEADLETTERS", "KV_UIPATH_CONTROL"} {
			if want := "stream=" + stream + " have=1 configured=3"; !strings.Contains(log.String(), want) {
				t.Errorf("got %s, want it to say %s", log.String(), want)
			}
		}
	})
}

// A lane whose consumer an operator has paused stands still, also across a
// restart of the worker; the others go on. Each worker that sees it says so once.
func TestPausedLane(t *testing.T) {
	t.Parallel()
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		var first, second bytes.Buffer
		logging := func(to *bytes.Buffer) pipeline.Config {
			cfg := r.config()
			cfg.Logger = slog.New(slog.NewTextHandler(to, nil))
			return cfg
		}
		stop := r.start(logging(&first))
		r.publish(plainItems, item("before", 1))
		r.final(plainItems, "before")
		r.pauseAll(time.Hour)
		time.Sleep(time.Minute) // a pull that was open takes what comes until it ends
		stop()
		stop = r.start(logging(&second))
		r.publish(plainItems, item("held", 1))
		r.publish(uniqueItems, item("other", 1))
		r.final(uniqueItems, "other")
		time.Sleep(50 * time.Minute)
		if n := len(r.finals(plainItems, "held")); n != 0 {
			t.Errorf("%d outcomes while the lane is paused, want none", n)
		}
		r.final(plainItems, "held")
		stop()
		for i, log := range []string{first.String(), second.String()} {
			if n := strings.Count(log, `msg="lane is paused: its requests wait"`); n != 1 || !strings.Contains(log, "lane=Default:Shared:items:Plain until=2000-01-01T") {
				t.Errorf("worker %d says %d times that the lane is paused, want once:\n%s", i+1, n, log)
			}
		}
	})
}

// pauseAll pauses the lanes that there are.
func (r *rig) pauseAll(d time.Duration) {
	r.t.Helper()
	stream, err := r.js.Stream(r.t.Context(), r.topology.RequestsStream())
	if err != nil {
		r.t.Fatal(err)
	}
	for name := range stream.ConsumerNames(r.t.Context()).Name() {
		if _, err := stream.PauseConsumer(r.t.Context(), name, time.Now().Add(d)); err != nil {
			r.t.Fatal(err)
		}
	}
}

// A pause is for what comes: it outlasts the time after which an empty lane is
// given up, and days in which nobody is there.
func TestPausedLaneStaysPaused(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		lane            pipeline.Lane
		served, stopped time.Duration
	}{
		"while a worker looks after the empty lane": {lane: nowhere, served: time.Hour}, // one that leads nowhere is given up the soonest
		"while workers are stopped":                 {lane: plainItems, stopped: 60 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
				stop := r.start(r.config())
				r.publish(tt.lane, item("before", 1))
				r.final(tt.lane, "before")
				r.pauseAll(72 * time.Hour)
				ends := time.Now().Add(72 * time.Hour)
				time.Sleep(time.Minute + tt.served) // a pull that was open takes what comes until it ends
				if tt.stopped > 0 {
					r.publish(tt.lane, item("waiting", 1))
					stop()
					time.Sleep(tt.stopped)
					stop = r.start(r.config())
				}
				r.publish(tt.lane, item("held", 1))
				time.Sleep(10 * time.Minute)
				if n := len(r.finals(tt.lane, "waiting")) + len(r.finals(tt.lane, "held")); n != 0 {
					t.Errorf("%d outcomes %s before the pause ends, want none", n, time.Until(ends))
				}
				stop()
				time.Sleep(time.Until(ends))
				r.start(r.config())
				r.final(tt.lane, "held")
			})
		})
	}
}

// An operator may take the workers' leases away: the next who asks has them, and
// what is done under them goes on.
func TestLeasesTakenAway(t *testing.T) {
	t.Parallel()
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		kv, err := r.js.KeyValue(t.Context(), r.topology.ControlBucket())
		if err != nil {
			t.Fatal(err)
		}
		r.start(r.config())
		tracked := item("tracked", 1)
		tracked.Until = pipeline.UntilCompleted
		r.publish(plainItems, tracked)
		time.Sleep(time.Minute)
		for how, take := range map[string]func(context.Context, string, ...jetstream.KVDeleteOpt) error{
			"del": kv.Delete, "purge": kv.Purge,
			"broken": func(ctx context.Context, lease string, _ ...jetstream.KVDeleteOpt) error {
				_, err := kv.PutString(ctx, lease, "garbage")
				return err
			},
		} {
			for _, lease := range []string{"leases.trim", "leases.sweep-Default"} {
				if err := take(t.Context(), lease); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Minute)
				if entry, err := kv.Get(t.Context(), lease); err != nil || !json.Valid(entry.Value()) {
					t.Errorf("%s after %s: %v, want it taken anew", lease, how, err)
				}
			}
			r.publish(plainItems, item(how, 1))
			r.final(plainItems, how)
			time.Sleep(time.Minute)
			stream, err := r.js.Stream(t.Context(), r.topology.RequestsStream())
			if err != nil {
				t.Fatal(err)
			}
			if n := stream.CachedInfo().State.Msgs; n != 0 {
				t.Errorf("after %s %d settled requests are left, want them removed", how, n)
			}
		}
	})
}

// A default folder that is not there is the configuration's fault, not the
// requests': a worker does not start with it, and one without any leaves them
// waiting.
func TestDefaultFolder(t *testing.T) {
	t.Parallel()
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		wrong := r.config()
		wrong.Tenants[0].DefaultFolder = orchestrator.FolderRef{Path: "Shred"}
		w, err := pipeline.New(wrong)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Run(t.Context()); !errors.Is(err, pipeline.ErrDefaultFolder) || !strings.Contains(err.Error(), `"Shred"`) {
			t.Errorf("got %v, want the folder named", err)
		}
		none := r.config()
		none.Tenants[0].DefaultFolder = orchestrator.FolderRef{}
		stop := r.start(none)
		r.publish(pipeline.Lane{Tenant: "Default", Folder: pipeline.DefaultFolder, Kind: pipeline.KindItem, Name: "Plain"}, item("INV-1", 1))
		time.Sleep(10 * time.Minute)
		stop()
		if n := len(r.finals(plainItems, "INV-1")); n != 0 {
			t.Errorf("%d outcomes, want the request to wait", n)
		}
		r.start(r.config())
		if o := r.final(plainItems, "INV-1"); o.Status != pipeline.StatusAccepted {
			t.Errorf("got %s, want accepted", o.Status)
		}
	})
}

// A ledger that is full stops the work, and loses nothing: requests wait, and
// go on when there is room.
func TestLedgerFull(t *testing.T) {
	t.Parallel()
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		stream, err := r.js.Stream(t.Context(), r.topology.LedgerStream())
		if err != nil {
			t.Fatal(err)
		}
		limit := func(bytes int64) {
			cfg := stream.CachedInfo().Config
			cfg.MaxBytes = bytes
			if _, err := r.js.UpdateStream(t.Context(), cfg); err != nil {
				t.Fatal(err)
			}
		}
		limit(60_000)
		r.start(r.config())
		r.publish(plainItems, items(300)...)
		time.Sleep(10 * time.Minute)
		if n := len(r.simulator.Effects()); n == 0 || n == 300 {
			t.Fatalf("%d effects, want the ledger to be full in the middle", n)
		}
		w, err := pipeline.New(r.config())
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Run(t.Context()); !errors.Is(err, pipeline.ErrLedgerFull) {
			t.Errorf("a worker that starts now ends with %v, want it to say that the ledger is full", err)
		}
		limit(-1)
		r.await(plainItems, 10*time.Minute, items(300)...)
		r.checkOnce(plainItems, items(300))
	})
}

// A queue that is made while its requests are being refused is the same lane
// before and after: a key keeps the one outcome it has.
func TestQueueThatIsMadeMeanwhile(t *testing.T) {
	t.Parallel()
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		published := pipeline.Lane{Tenant: "Default", Folder: pipeline.DefaultFolder, Kind: pipeline.KindItem, Name: "New"}
		canonical := published
		canonical.Folder = "Shared"
		r.start(r.config())
		r.publish(published, item("K", 1))
		if o := r.final(canonical, "K"); o.Status != pipeline.StatusRejected {
			t.Fatalf("got %s, want it rejected: there is no such queue", o.Status)
		}
		if lane, err := r.publisher.Canonical(t.Context(), published); err != nil || lane != canonical {
			t.Errorf("outcomes are said to be filed under %s, %v, want %s", lane, err, canonical)
		}
		if _, err := r.simulator.AddQueue("Shared", simulator.Queue{Name: "New"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Minute)
		r.publish(published, item("K", 1), item("L", 1))
		r.await(canonical, time.Hour, item("L", 1))
		time.Sleep(time.Minute)
		r.checkOnce(canonical, []pipeline.Request{item("K", 1), item("L", 1)})
	})
}

// What expires while its batch waits for its turn is not called any more.
func TestExpiryWhileWaiting(t *testing.T) {
	t.Parallel()
	inBubble(t, simulator.Config{Faults: simulator.Faults{Latency: 25 * time.Second}}, func(t *testing.T, r *rig) {
		cfg := r.config()
		cfg.Tenants[0].MaxInFlight = 1
		cfg.Linger = time.Second
		r.start(cfg)
		time.Sleep(time.Minute)
		started := someJobs(8)
		end := time.Now().Add(2 * time.Minute)
		for i := range started {
			started[i].NotAfter = end
		}
		r.publish(jobs, started...)
		r.await(jobs, time.Hour, started...)
		counts := r.checkOnce(jobs, started)
		if counts[pipeline.StatusExpired] == 0 || counts[pipeline.StatusAccepted] == 0 {
			t.Errorf("got %v, want some accepted and some expired", counts)
		}
		for _, e := range r.simulator.Effects() {
			if late := e.CreatedAt.Sub(end); late > 25*time.Second {
				t.Errorf("%s was started %s after its time", e.Reference, late)
			}
		}
	})
}

// slowToForget takes a while to remove a consumer, and tells when it begins.
type slowToForget struct {
	jetstream.JetStream
	begins func()
}

func (s slowToForget) DeleteConsumer(ctx context.Context, stream, consumer string) error {
	s.begins()
	return s.JetStream.DeleteConsumer(ctx, stream, consumer)
}

// A request that comes while its idle lane is given up is found all the same.
func TestRequestForALaneThatIsGivenUp(t *testing.T) {
	t.Parallel()
	inBubble(t, simulator.Config{}, func(_ *testing.T, r *rig) {
		nowhere := plainItems
		nowhere.Name = "Nowhere" // such a lane is given up after a minute
		cfg := r.config()
		var published atomic.Bool
		cfg.JetStream = slowToForget{cfg.JetStream, func() {
			if published.CompareAndSwap(false, true) {
				r.publish(nowhere, item("K", 1))
				time.Sleep(400 * time.Millisecond)
			}
		}}
		r.start(cfg)
		r.publish(nowhere, item("first", 1))
		r.final(nowhere, "first")
		r.await(nowhere, time.Hour, item("K", 1))
	})
}

// A sweep through much that others have left takes its turns, and leaves list
// calls to those who look for something in doubt.
func TestSweepThroughMuch(t *testing.T) {
	t.Parallel()
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		tracked := item("C", 1)
		tracked.Until = pipeline.UntilCompleted
		stop := r.start(r.config())
		r.publish(plainItems, tracked)
		time.Sleep(time.Minute) // there is a watermark
		stop()
		r.leaveEnded(t, 12_000)
		r.start(r.config())
		time.Sleep(time.Minute)
		cut := r.simulator.Hold(simulator.Hold{Operation: "AddQueueItem", When: simulator.After})
		r.publish(plainItems, item("D", 1))
		<-cut.Arrived()
		time.Sleep(time.Minute) // nobody waits for the answer any more
		cut.Release()
		r.await(plainItems, 10*time.Minute, item("D", 1))
		before := r.simulator.Calls()["QueueItems"]
		time.Sleep(time.Hour)
		if n := r.simulator.Calls()["QueueItems"] - before; n > 600 {
			t.Errorf("%d list calls in an hour, want the sweeps to have come through", n)
		}
	})
}

// leaveEnded has others add items to the plain queue, and robots finish them.
func (r *rig) leaveEnded(t *testing.T, n int) {
	t.Helper()
	client := r.client(r.simulator.RoundTripper())
	folder, err := client.Folder(t.Context(), orchestrator.FolderRef{Path: "Shared"})
	if err != nil {
		t.Fatal(err)
	}
	for from := 0; from < n; from += 500 {
		all := orchestrator.BulkAddQueueItemsRequest{QueueName: plainItems.Name, CommitType: orchestrator.ProcessAllIndependently}
		for i := range 500 {
			all.QueueItems = append(all.QueueItems, orchestrator.QueueItemData{Name: plainItems.Name, Reference: fmt.Sprintf("other-%d", from+i), Priority: "Normal"})
		}
		if _, err := client.BulkAddQueueItems(t.Context(), folder, all); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
	}
	for _, e := range r.simulator.Effects() {
		if strings.HasPrefix(e.Reference, "other-") {
			if _, err := r.simulator.FinishQueueItem(e.ID, simulator.Result{Status: "Successful"}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
}

// A stream of requests that is made anew gives its sequences once more: what
// has one is not taken for what had it before.
func TestRequestsStreamMadeAnew(t *testing.T) {
	t.Parallel()
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		subject := r.topology.RequestSubject(plainItems)
		for _, body := range []string{"nonsense", "other nonsense"} {
			stop := r.start(r.config())
			r.publishRaw(subject, body)
			time.Sleep(10 * time.Minute)
			stop()
			if err := r.js.DeleteStream(t.Context(), r.topology.RequestsStream()); err != nil {
				t.Fatal(err)
			}
			if err := pipeline.Provision(t.Context(), r.js, r.topology); err != nil {
				t.Fatal(err)
			}
		}
		letters := 0
		for _, l := range r.deadLetters(plainItems) {
			letters += len(l)
		}
		if letters != 2 {
			t.Errorf("%d dead letters, want one for each message", letters)
		}
	})
}
