package pipeline_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"waybill/orchestrator/simulator"
	"waybill/pipeline"
)

// leisurely is Orchestrator that takes its time over what is written.
type leisurely struct {
	next http.RoundTripper
	took time.Duration
}

func (l leisurely) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodPost {
		time.Sleep(l.took)
	}
	return l.next.RoundTrip(r)
}

// Queues whose items are called one by one, hundreds of them, share the tenant's
// slots with everybody else: a request on another queue is not long in coming.
func TestBusyLanesLeaveOthersTheirTurn(t *testing.T) {
	t.Parallel()
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		busy := make([]pipeline.Lane, 5)
		for i := range busy {
			busy[i] = plainItems
			busy[i].Name = fmt.Sprintf("Busy %d", i)
			if _, err := r.simulator.AddQueue("Shared", simulator.Queue{Name: busy[i].Name}); err != nil {
				t.Fatal(err)
			}
			singly := items(200)
			for n := range singly {
				singly[n].Until = pipeline.UntilCompleted
			}
			r.publish(busy[i], singly...)
		}
		cfg := r.config()
		cfg.Tenants[0].Client = r.client(leisurely{r.simulator.RoundTripper(), 500 * time.Millisecond})
		r.start(cfg)
		time.Sleep(5 * time.Second)
		r.publish(plainItems, item("alone", 1))
		published := time.Now()
		r.final(plainItems, "alone")
		if took := time.Since(published); took > 3*time.Second {
			t.Errorf("a request beside %d busy queues took %s", len(busy), took)
		}
	})
}

// Lanes that wait for their first request leave the others room for whole
// batches.
func TestIdleLanesLeaveRoom(t *testing.T) {
	t.Parallel()
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		cfg := r.config()
		cfg.BulkItems, cfg.MaxHeld = 100, 100
		r.start(cfg)
		r.publish(uniqueItems, item("first", 1))
		r.final(uniqueItems, "first") // and now its lane waits for the next
		before := r.simulator.Calls()
		r.publish(plainItems, items(1000)...)
		r.await(plainItems, time.Minute, items(1000)...)
		calls := 0
		for operation, n := range r.simulator.Calls() {
			calls += n - before[operation]
		}
		if calls > 60 {
			t.Errorf("%d calls for 1,000 items in batches of at most 100", calls)
		}
	})
}

// A request that has come waits for its turn without room in hand: there may be
// more lanes than room.
func TestMoreLanesThanRoom(t *testing.T) {
	t.Parallel()
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		cfg := r.config()
		cfg.BulkItems, cfg.MaxHeld = 10, 20
		r.start(cfg)
		for i := range 30 {
			idle := plainItems
			idle.Name = fmt.Sprintf("Idle %d", i)
			if _, err := r.simulator.AddQueue("Shared", simulator.Queue{Name: idle.Name}); err != nil {
				t.Fatal(err)
			}
			r.publish(idle, item("first", 1))
			r.final(idle, "first")
		}
		r.publish(plainItems, items(200)...)
		r.await(plainItems, time.Minute, items(200)...)
	})
}

// What is wrong with a request is told, whatever its size: a Reference that
// fills a message would leave no room for the outcome.
func TestReferenceThatFillsAMessage(t *testing.T) {
	t.Parallel()
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		r.start(r.config())
		r.publishRaw(r.topology.RequestSubject(plainItems), fmt.Sprintf(`{"key":"long","item":{"Reference":%q}}`, strings.Repeat("r", 1_048_000)))
		o := r.final(plainItems, "long")
		if o.Status != pipeline.StatusRejected || o.Reference != "" || o.Error == nil || !strings.Contains(o.Error.Message, "1048000 characters") {
			t.Errorf("outcome %+v, error %+v", o, o.Error)
		}
	})
}

// A name that stands twice is no reason not to answer under the request's key.
func TestNameThatStandsTwice(t *testing.T) {
	t.Parallel()
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		r.start(r.config())
		r.publishRaw(r.topology.RequestSubject(plainItems), `{"key":"clear","item":{"SpecificContent":{"a":1,"a":2}}}`)
		o := r.final(plainItems, "clear")
		if o.Status != pipeline.StatusRejected || o.Error == nil || !strings.Contains(o.Error.Message, `"a" stands twice`) {
			t.Errorf("outcome %+v, error %+v", o, o.Error)
		}
	})
}
