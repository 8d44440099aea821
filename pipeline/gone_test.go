package pipeline_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"waybill/orchestrator/simulator"
	"waybill/pipeline"
)

// running is a worker with its log, and what it ended with.
type running struct {
	*pipeline.Worker

	log   bytes.Buffer // to be read when it has ended
	ended chan error
}

func (r *rig) run(js jetstream.JetStream) *running {
	r.t.Helper()
	run := &running{ended: make(chan error, 1)}
	cfg := r.config()
	cfg.JetStream, cfg.Logger = js, slog.New(slog.NewTextHandler(&run.log, nil))
	w, err := pipeline.New(cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	run.Worker = w
	ctx, cancel := context.WithCancel(r.t.Context())
	r.t.Cleanup(cancel)
	go func() { run.ended <- w.Run(ctx) }()
	return run
}

// A worker whose stream is removed is not ready, says so once, calls nothing
// that it cannot write down, and ends with what to do.
func TestStreamGone(t *testing.T) {
	t.Parallel()
	for stream, mend := range map[string]string{
		"UIPATH_REQUESTS":    "publish again what waited in it",
		"UIPATH_LEDGER":      "before a worker is started",
		"UIPATH_DEADLETTERS": "have it made anew, and empty",
		"KV_UIPATH_CONTROL":  "lanes are bound anew",
	} {
		t.Run(stream, func(t *testing.T) {
			t.Parallel()
			inBubble(t, simulator.Config{Faults: simulator.Faults{Latency: 3 * time.Second}}, func(t *testing.T, r *rig) {
				run := r.run(r.connect())
				r.publish(plainItems, item("before", 1))
				r.final(plainItems, "before")
				r.deafen()
				r.publish(plainItems, item("called", 1))
				time.Sleep(time.Second)
				if !run.Stats().Ready {
					t.Error("not ready, want it ready before")
				}
				if err := r.js.DeleteStream(t.Context(), stream); err != nil {
					t.Fatal(err)
				}
				time.Sleep(10 * time.Second)
				if run.Stats().Ready {
					t.Error("ready without its stream")
				}
				for range 30 {
					_, err := r.publisher.Publish(t.Context(), plainItems, item("after", 1))
					if err != nil && stream != "UIPATH_REQUESTS" {
						t.Fatal(err)
					}
					time.Sleep(time.Second)
				}
				begin := time.Now()
				err := <-run.ended
				if e, ok := errors.AsType[*pipeline.GoneError](err); !ok || e.Stream != stream || !errors.Is(err, jetstream.ErrStreamNotFound) ||
					!strings.Contains(err.Error(), "stream "+stream+" is gone; restore it from a backup") || !strings.Contains(err.Error(), mend) {
					t.Errorf("ended with %v, want stream %s and %q", err, stream, mend)
				}
				if waited := time.Since(begin); waited > 30*time.Second {
					t.Errorf("ended another %s later", waited)
				}
				if n := r.effects(plainItems, "called"); n > 1 {
					t.Errorf("%d effects of what was being called, want no more than one", n)
				}
				if n := r.effects(plainItems, "after"); stream == "UIPATH_LEDGER" && n != 0 {
					t.Errorf("%d effects without a ledger", n)
				}
				log := run.log.String()
				if n := strings.Count(log, "level=ERROR"); n != 1 || !strings.Contains(log, `error="stream `+stream+" is gone; ") {
					t.Errorf("%d errors logged, want one:\n%s", n, log)
				}
				if n := strings.Count(log, "\n"); n > 40 {
					t.Errorf("%d lines logged:\n%s", n, log)
				}
			})
		})
	}
}

// A stream that is restored soon is served again.
func TestStreamGoneAndThereAgain(t *testing.T) {
	t.Parallel()
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		run := r.run(r.connect())
		r.publish(plainItems, item("before", 1))
		r.final(plainItems, "before")
		if err := r.js.DeleteStream(t.Context(), "UIPATH_REQUESTS"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(25 * time.Second)
		if err := pipeline.Provision(t.Context(), r.js, r.topology); err != nil {
			t.Fatal(err)
		}
		r.publish(plainItems, item("after", 1))
		r.final(plainItems, "after")
		time.Sleep(5 * time.Minute)
		if !run.Stats().Ready {
			t.Error("not ready, want it ready again")
		}
		select {
		case err := <-run.ended:
			t.Errorf("ended with %v", err)
		default:
		}
	})
}

// unanswering is a JetStream that answers no question after a stream.
type unanswering struct {
	jetstream.JetStream

	fault atomic.Pointer[error] // nil: it answers
}

func (u *unanswering) Stream(ctx context.Context, name string) (jetstream.Stream, error) {
	if fault := u.fault.Load(); fault != nil {
		return nil, *fault
	}
	return u.JetStream.Stream(ctx, name)
}

// That nobody answers is no reason to end: a server may be started anew, a
// leader be elected. Nor is it that a stream is not found by one that has just
// begun to lead, now and then.
func TestStreamNotAnswering(t *testing.T) {
	t.Parallel()
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		js := &unanswering{JetStream: r.connect()}
		run := r.run(js)
		time.Sleep(time.Minute)
		for range 20 {
			for _, err := range []error{nats.ErrTimeout, nats.ErrNoResponders, &jetstream.APIError{Code: 503, ErrorCode: 10008}, jetstream.ErrStreamNotFound} {
				js.fault.Store(&err)
				time.Sleep(20 * time.Second)
				if run.Stats().Ready {
					t.Errorf("ready while NATS says %v", err)
				}
			}
		}
		js.fault.Store(nil)
		r.publish(plainItems, item("after", 1))
		r.final(plainItems, "after")
		time.Sleep(10 * time.Second)
		if !run.Stats().Ready {
			t.Error("not ready, want it ready again")
		}
		select {
		case err := <-run.ended:
			t.Errorf("ended with %v", err)
		default:
		}
	})
}
