package pipeline_test

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"waybill/orchestrator"
	"waybill/orchestrator/simulator"
	"waybill/pipeline"
)

// renaming is the way to an Orchestrator whose folder Shared gets another name.
type renaming struct {
	next http.RoundTripper
	done atomic.Bool
}

func (n *renaming) RoundTrip(r *http.Request) (*http.Response, error) {
	if !n.done.Load() || !strings.HasSuffix(r.URL.Path, "/odata/Folders") {
		return n.next.RoundTrip(r)
	}
	r = r.Clone(r.Context())
	r.URL.RawQuery = strings.ReplaceAll(r.URL.RawQuery, "%27Shared%27", "%27Nobody%27") // by its old name it is not found
	answer, err := n.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, err
	}
	body = bytes.ReplaceAll(body, []byte(`"Shared"`), []byte(`"Renamed"`))
	answer.Body, answer.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	answer.Header.Del("Content-Length")
	return answer, nil
}

// What is tracked in a folder that is renamed is followed to its end.
func TestFolderThatIsRenamed(t *testing.T) {
	t.Parallel()
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		network := &renaming{next: r.simulator.RoundTripper()}
		cfg := r.config()
		cfg.Tenants[0].Client = r.client(network)
		folder, err := cfg.Tenants[0].Client.Folder(t.Context(), orchestrator.FolderRef{Path: "Shared"})
		if err != nil {
			t.Fatal(err)
		}
		cfg.Tenants[0].DefaultFolder = orchestrator.FolderRef{Key: folder.Key}
		r.start(cfg)
		published, tracked := plainItems, item("C", 1)
		published.Folder, tracked.Until = pipeline.DefaultFolder, pipeline.UntilCompleted
		r.publish(published, tracked)
		for len(r.accepted(plainItems, "C")) == 0 {
			time.Sleep(time.Second)
		}
		network.done.Store(true)
		time.Sleep(6 * time.Minute) // what the client remembers of the folder's name is over
		if _, err := r.simulator.FinishQueueItem(r.accepted(plainItems, "C")[0].Item.ID, simulator.Result{Status: "Successful"}); err != nil {
			t.Fatal(err)
		}
		if o := r.final(plainItems, "C"); o.Status != pipeline.StatusSucceeded {
			t.Errorf("got %s, want it succeeded", o.Status)
		}
	})
}

// The record of another lane, copied, would have a lane's requests taken for
// repeats of the other's, and lost. The lane stands still until an operator has
// removed it.
func TestBindingThatWasCopied(t *testing.T) {
	t.Parallel()
	unique := plainItems
	unique.Name = "Unique"
	finance := plainItems
	finance.Folder = "Finance"
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		r.simulator.AddFolder("Finance")
		if _, err := r.simulator.AddQueue("Finance", simulator.Queue{Name: "Plain"}); err != nil {
			t.Fatal(err)
		}
		stop := r.start(r.config())
		r.publish(plainItems, item("INV-1", 1))
		r.final(plainItems, "INV-1")
		kv, err := r.js.KeyValue(t.Context(), r.topology.ControlBucket())
		if err != nil {
			t.Fatal(err)
		}
		others, err := kv.Get(t.Context(), "lanes.Default.Shared.items.Plain")
		if err != nil {
			t.Fatal(err)
		}
		copies := map[string]pipeline.Lane{"lanes.Default.Shared.items.Unique": unique, "lanes.Default.Finance.items.Plain": finance}
		for key, lane := range copies {
			if _, err := kv.Put(t.Context(), key, others.Value()); err != nil {
				t.Fatal(err)
			}
			r.publish(lane, item("INV-1", 1))
		}
		time.Sleep(10 * time.Minute)
		if n := r.waiting(); n != 2 {
			t.Errorf("%d requests wait, want both", n)
		}
		stop()
		for key := range copies {
			if err := kv.Delete(t.Context(), key); err != nil {
				t.Fatal(err)
			}
		}
		r.start(r.config())
		for _, lane := range copies {
			r.final(lane, "INV-1")
		}
		if n := len(r.simulator.EffectsOf("INV-1")); n != 3 {
			t.Errorf("%d items, want one in each queue", n)
		}
	})
}
