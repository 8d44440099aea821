package pipeline_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"waybill/orchestrator/simulator"
	"waybill/pipeline"
)

const plainSubject = "uipath.requests.Default.Shared.items.Plain"

// A name of nothing but percent signs, as long as a subject can be, is
// answered under a name that fits, and holds up nobody.
func TestSubjectThatGrows(t *testing.T) {
	t.Parallel()
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		r.start(r.config())
		for _, name := range []string{strings.Repeat("%", 1400), strings.Repeat("%2E", 1200), strings.Repeat("x", 3900)} {
			r.publishRaw("uipath.requests.Default.-.items."+name, `{"key":"long","item":{}}`)
		}
		r.publish(plainItems, item("good", 1))
		r.final(plainItems, "good")
		time.Sleep(time.Minute)
		r.settled()
		rejected := 0
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, outcomes := range r.outcomes {
			for _, o := range outcomes {
				if o.Key == "long" && o.Status == pipeline.StatusRejected {
					rejected++
				}
			}
		}
		if rejected != 3 {
			t.Errorf("%d of them rejected, want all three", rejected)
		}
	})
}

// One request with headers that no outcome can carry does not keep the others
// of its bulk call from theirs.
func TestHeadersThatDoNotFit(t *testing.T) {
	t.Parallel()
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		huge := strings.Repeat("a", 65_000)
		r.publishRaw(plainSubject, `{"key":"traced","item":{}}`, "traceparent", huge)
		r.publishRaw(plainSubject, `{"key":"broken","itemx":{}}`, "My-Header", huge)
		r.publish(plainItems, items(50)...)
		r.start(r.config())
		r.await(plainItems, time.Minute, append(items(50), item("traced", 0), item("broken", 0))...)
		r.checkOnce(plainItems, append(items(50), item("traced", 0)))
		if dead := r.deadLetters(plainItems)["broken"]; len(dead) != 1 || dead[0].Header.Get(pipeline.HeaderCut) != "headers" {
			t.Errorf("got %d dead letters, want one that says its headers were cut", len(dead))
		}
		time.Sleep(time.Minute)
		r.settled()
	})
}

// A body as large as a message can be has a dead letter too.
func TestBodyThatFillsAMessage(t *testing.T) {
	t.Parallel()
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		r.start(r.config())
		sequence := r.publishRaw(plainSubject, strings.Repeat("x", 1<<20))
		key := fmt.Sprintf("-seq-%d", sequence)
		r.final(plainItems, key)
		if dead := r.deadLetters(plainItems)[key]; len(dead) != 1 || dead[0].Header.Get(pipeline.HeaderCut) != "body" || len(dead[0].Data) < 900_000 {
			t.Errorf("got %d dead letters, want one with most of the body", len(dead))
		}
	})
}

// An output that fits no message does not keep the end from being told.
func TestOutputThatDoesNotFit(t *testing.T) {
	t.Parallel()
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		r.start(r.config())
		q := item("INV-1", 1)
		q.Until = pipeline.UntilCompleted
		r.publish(plainItems, q)
		for len(r.accepted(plainItems, "INV-1")) == 0 {
			time.Sleep(time.Second)
		}
		output := json.RawMessage(fmt.Sprintf(`{"x":%q}`, strings.Repeat("y", 1_200_000)))
		if _, err := r.simulator.FinishQueueItem(r.accepted(plainItems, "INV-1")[0].Item.ID, simulator.Result{Status: "Successful", Output: output}); err != nil {
			t.Fatal(err)
		}
		if o := r.final(plainItems, "INV-1"); o.Status != pipeline.StatusSucceeded || !o.Item.OutputCut || o.Item.Output != nil {
			t.Errorf("got %s with cut %v, want succeeded without the output", o.Status, o.Item.OutputCut)
		}
	})
}

// hiding answers look-ups of queues with nothing while it is on.
type hiding struct {
	next http.RoundTripper
	on   *atomic.Bool
}

func (h hiding) RoundTrip(r *http.Request) (*http.Response, error) {
	if h.on.Load() && strings.HasSuffix(r.URL.Path, "/QueueDefinitions") {
		r = r.Clone(r.Context())
		r.URL.RawQuery = "%24filter=" + "Name%20eq%20%27nothing%27"
	}
	return h.next.RoundTrip(r)
}

// A queue that cannot be seen for a while, though it was served before, ends
// no request: what may have been done would be denied.
func TestQueueThatIsHidden(t *testing.T) {
	t.Parallel()
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		var hidden atomic.Bool
		config := func() pipeline.Config {
			cfg := r.config()
			cfg.Tenants[0].Client = r.client(hiding{r.simulator.RoundTripper(), &hidden})
			return cfg
		}
		first := config()
		stop := r.start(first)
		held := r.simulator.Hold(simulator.Hold{Operation: "AddQueueItem", When: simulator.After})
		lane := pipeline.Lane{Tenant: "Default", Folder: pipeline.DefaultFolder, Kind: pipeline.KindItem, Name: "Plain"}
		r.publish(lane, item("INV-1", 1))
		<-held.Arrived()
		r.crash(first, stop)
		held.Release()
		hidden.Store(true)
		r.start(config())
		time.Sleep(10 * time.Minute)
		if n := len(r.finals(lane, "INV-1")) + len(r.finals(plainItems, "INV-1")); n != 0 {
			t.Errorf("%d outcomes while the queue is hidden, want none", n)
		}
		hidden.Store(false)
		if o := r.final(plainItems, "INV-1"); o.Status != pipeline.StatusAccepted || o.DecidedBy != pipeline.ByLookup {
			t.Errorf("got %s by %s, want it found", o.Status, o.DecidedBy)
		}
		r.checkOnce(plainItems, []pipeline.Request{item("INV-1", 1)})
	})
}
