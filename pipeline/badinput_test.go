package pipeline_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"waybill/orchestrator/simulator"
	"waybill/pipeline"
)

// What can never work ends in an outcome that says why and in a dead letter
// with the whole request; nothing of it reaches Orchestrator, and nothing
// loops.
func TestBadInputIsAnswered(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		subject string
		body    string
		headers []string
		lane    pipeline.Lane // of the outcome
		key     string        // empty: made up
		want    string        // in the error
		reason  string
	}{
		{"malformed", "uipath.requests.Default.Shared.items.Plain", `{"key":"a"`, nil, plainItems, "", "not JSON", "invalid"},
		{"unknown member", "uipath.requests.Default.Shared.items.Plain", `{"key":"a","item":{},"extra":1}`, nil, plainItems, "a", "extra", "invalid"},
		{"no key", "uipath.requests.Default.Shared.items.Plain", `{"item":{}}`, nil, plainItems, "", "Waybill-Key", "invalid"},
		{"long key", "uipath.requests.Default.Shared.items.Plain", `{"key":"` + strings.Repeat("k", 200) + `","item":{}}`, nil, plainItems, "", "200 bytes", "invalid"},
		{"keys differ", "uipath.requests.Default.Shared.items.Plain", `{"key":"a","item":{}}`, []string{"Waybill-Key", "b"}, plainItems, "a", `says \"b\"`, "invalid"},
		{"nested", "uipath.requests.Default.Shared.items.Plain", `{"key":"a","item":{"SpecificContent":{"x":{"y":1}}}}`, nil, plainItems, "a", "item.SpecificContent.x", "invalid"},
		{"half a megabyte", "uipath.requests.Default.Shared.items.Plain", `{"key":"a","item":{"SpecificContent":{"x":"` + strings.Repeat("y", 501*1024) + `"}}}`, nil, plainItems, "a", "512000", "invalid"},
		{"misspelt folder", "uipath.requests.Default.Finance%2fEU.items.Plain", `{"key":"a","item":{}}`, nil, pipeline.Lane{Tenant: "Default", Folder: "Finance%2fEU", Kind: pipeline.KindItem, Name: "Plain"}, "a", "upper-case hex", "invalid"},
		{"unknown folder", "uipath.requests.Default.Nowhere.items.Plain", `{"key":"a","item":{}}`, nil, pipeline.Lane{Tenant: "Default", Folder: "Nowhere", Kind: pipeline.KindItem, Name: "Plain"}, "a", `folder \"Nowhere\"`, "rejected"},
		{"unknown queue", "uipath.requests.Default.-.items.Nothing", `{"key":"a","item":{}}`, nil, pipeline.Lane{Tenant: "Default", Folder: "Shared", Kind: pipeline.KindItem, Name: "Nothing"}, "a", `queue \"Nothing\"`, "rejected"},
		{"unknown process", "uipath.requests.Default.-.jobs.Nothing", `{"key":"a","job":{}}`, nil, pipeline.Lane{Tenant: "Default", Folder: "Shared", Kind: pipeline.KindJob, Name: "Nothing"}, "a", `process \"Nothing\"`, "rejected"},
		{"date without zone", "uipath.requests.Default.Shared.items.Plain", `{"key":"a","item":{"DueDate":"2026-12-01T08:00"}}`, nil, plainItems, "a", "time zone", "invalid"},
		{"arguments", "uipath.requests.Default.Shared.jobs.Pay%20invoices", `{"key":"a","job":{"InputArguments":"` + strings.Repeat("z", 10_001) + `"}}`, nil, jobs, "a", "job.InputArguments", "invalid"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
				r.start(r.config())
				sequence := r.publishRaw(test.subject, test.body, test.headers...)
				key := test.key
				if key == "" {
					key = fmt.Sprintf("-seq-%d", sequence)
				}
				o := r.final(test.lane, key)
				if o.Status != pipeline.StatusRejected || o.DecidedBy != pipeline.ByValidation || o.Attempts != 0 || o.RequestSequence != sequence {
					t.Errorf("got outcome %+v, want it rejected by validation without an attempt", o)
				}
				if quoted := fmt.Sprintf("%q", o.Error.Message); !strings.Contains(quoted, test.want) {
					t.Errorf("got error %s, want %q in it", quoted, test.want)
				}
				dead := r.deadLetters(test.lane)[key]
				if len(dead) != 1 || string(dead[0].Data) != test.body || dead[0].Header.Get(pipeline.HeaderReason) != test.reason {
					t.Errorf("got %d dead letters, want one for %s with the whole request", len(dead), test.reason)
				}
				time.Sleep(time.Minute)
				if n := len(r.simulator.Effects()); n != 0 {
					t.Errorf("%d effects, want none", n)
				}
				r.settled()
			})
		})
	}
}

// settled checks that nothing is left to be delivered.
func (r *rig) settled() {
	r.t.Helper()
	stream, err := r.js.Stream(r.t.Context(), r.topology.RequestsStream())
	if err != nil {
		r.t.Fatal(err)
	}
	consumers := stream.ListConsumers(r.t.Context())
	for info := range consumers.Info() {
		if info.NumPending+uint64(info.NumAckPending) > 0 {
			r.t.Errorf("consumer %s: %d pending, %d unacknowledged, want none", info.Name, info.NumPending, info.NumAckPending)
		}
	}
	if err := consumers.Err(); err != nil && !errors.Is(err, jetstream.ErrEndOfData) {
		r.t.Error(err)
	}
}

// The same key for something else is not carried out, and says so to the
// operator; what the key stands for is not touched.
func TestKeyConflict(t *testing.T) {
	t.Parallel()
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		r.start(r.config())
		held := r.simulator.Hold(simulator.Hold{Operation: "AddQueueItem", When: simulator.After})
		r.publish(plainItems, item("INV-1", 1))
		<-held.Arrived() // the first is being called
		r.publish(plainItems, item("INV-1", 2))
		time.Sleep(5 * time.Second)
		held.Release()
		r.final(plainItems, "INV-1")
		r.publish(plainItems, item("INV-1", 3)) // and after
		time.Sleep(5 * time.Minute)
		o := r.final(plainItems, "INV-1")
		if o.Status != pipeline.StatusAccepted || r.effects(plainItems, "INV-1") != 1 {
			t.Errorf("got %+v with %d effects, want it accepted once", o, r.effects(plainItems, "INV-1"))
		}
		dead := r.deadLetters(plainItems)["INV-1"]
		if len(dead) != 2 || dead[0].Header.Get(pipeline.HeaderReason) != "key_conflict" || dead[1].Header.Get(pipeline.HeaderReason) != "key_conflict" {
			t.Errorf("got %d dead letters, want the two others as key_conflict", len(dead))
		}
		r.settled()
	})
}

// A further copy of a request, seconds or days later, changes nothing.
func TestRepeatedPublish(t *testing.T) {
	t.Parallel()
	inBubble(t, simulator.Config{}, func(_ *testing.T, r *rig) {
		for _, wait := range []time.Duration{0, time.Second, 2 * 24 * time.Hour} {
			time.Sleep(wait) // without a worker, whose polling would make days long
			stop := r.start(r.config())
			r.publish(plainItems, item("INV-1", 1))
			r.publish(plainItems, item("INV-1", 1))
			r.publish(jobs, job("run-1"))
			time.Sleep(20 * time.Second)
			r.settled()
			stop()
		}
		r.checkOnce(plainItems, []pipeline.Request{item("INV-1", 1)})
		r.checkOnce(jobs, []pipeline.Request{job("run-1")})
	})
}

// An invalid copy of a key that is known is dead-lettered and answers nothing.
func TestInvalidCopy(t *testing.T) {
	t.Parallel()
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		r.start(r.config())
		r.publish(plainItems, item("INV-1", 1))
		r.final(plainItems, "INV-1")
		r.publishRaw("uipath.requests.Default.Shared.items.Plain", `{"key":"INV-1","item":{"Priority":"Urgent"}}`)
		time.Sleep(time.Minute)
		if o := r.final(plainItems, "INV-1"); o.Status != pipeline.StatusAccepted {
			t.Errorf("got %s, want accepted", o.Status)
		}
		if dead := r.deadLetters(plainItems)["INV-1"]; len(dead) != 1 || dead[0].Header.Get(pipeline.HeaderReason) != "invalid" {
			t.Errorf("got %d dead letters, want the copy as invalid", len(dead))
		}
		r.settled()
	})
}

// Headers that were meant for the requests stream cannot keep a dead letter
// from being stored.
func TestDeadLetterWithStreamHeaders(t *testing.T) {
	t.Parallel()
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		r.start(r.config())
		r.publishRaw("uipath.requests.Default.Shared.items.Plain", `{"key":"a"}`, jetstream.ExpectedStreamHeader, "UIPATH_REQUESTS", nats.MsgIdHdr, "x", "My-Header", "y")
		r.final(plainItems, "a")
		dead := r.deadLetters(plainItems)["a"]
		if len(dead) != 1 || dead[0].Header.Get("My-Header") != "y" || dead[0].Header.Get(jetstream.ExpectedStreamHeader) != "" {
			t.Errorf("got dead letters %+v, want one with the producer's own header", dead)
		}
	})
}

// A subject that is no lane is refused by NATS itself.
func TestSubjectThatIsNoLane(t *testing.T) {
	t.Parallel()
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		for _, subject := range []string{"uipath.requests.Default.items.Plain", "uipath.requests.Default.Shared.things.Plain", "uipath.requests.Default.Shared.items.Pl.ain"} {
			if _, err := r.js.Publish(t.Context(), subject, []byte(`{}`)); err == nil {
				t.Errorf("publish on %s: want an error", subject)
			}
		}
	})
}
