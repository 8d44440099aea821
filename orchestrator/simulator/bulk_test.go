package simulator

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestBulkAddQueueItems(t *testing.T) {
	t.Parallel()
	duplicate := func(ordinal int) failedItem {
		return failedItem{Ordinal: new(ordinal), ErrorCode: "DuplicateReference", ErrorMessage: "Error creating Transaction. Duplicate Reference."}
	}
	long := strings.Repeat("x", 129)
	for _, tt := range []struct {
		name, queue, commitType string
		references              []string
		switches                Switches
		failed                  []failedItem
		added                   []string
	}{
		{"independent", "Unique", processAllIndependently, []string{"a", "old", "a", "b"}, Switches{}, []failedItem{duplicate(2), duplicate(3)}, []string{"a", "b"}},
		{"stop", "Unique", stopOnFirstFailure, []string{"a", "old", "a", "b"}, Switches{}, []failedItem{duplicate(2)}, []string{"a"}},
		{"all or nothing", "Unique", allOrNothing, []string{"a", "old", "a", "b"}, Switches{}, []failedItem{duplicate(2), duplicate(3)}, nil},
		{"all or nothing, first offender", "Unique", allOrNothing, []string{"a", "old", "a", "b"}, Switches{BulkFirstOffenderOnly: true}, []failedItem{duplicate(2)}, nil},
		{"all or nothing, all well", "Unique", allOrNothing, []string{"a", "b"}, Switches{}, nil, []string{"a", "b"}},
		{"plain queue", "Invoices", processAllIndependently, []string{"a", "old", "a", ""}, Switches{}, nil, []string{"a", "old", "a", ""}},
		{"null ordinals", "Unique", processAllIndependently, []string{"old", "a"}, Switches{BulkNullOrdinals: true}, []failedItem{{ErrorCode: "DuplicateReference", ErrorMessage: duplicate(1).ErrorMessage}}, []string{"a"}},
		{"no index", "Unique", allOrNothing, []string{"old", "a", "a"}, Switches{NoUniqueIndex: true}, nil, []string{"old", "a", "a"}},
		{"case ignored", "Unique", processAllIndependently, []string{"OLD", "a", "A"}, Switches{IgnoreCase: true}, []failedItem{duplicate(1), duplicate(3)}, []string{"a"}},
		{"invalid item", "Invoices", processAllIndependently, []string{long, "a"}, Switches{}, []failedItem{{Ordinal: new(1), ErrorCode: "InvalidArgument", ErrorMessage: "The field Reference must be a string with a maximum length of 128."}}, []string{"a"}},
		{"missing reference", "Unique", processAllIndependently, []string{"a", ""}, Switches{}, []failedItem{{Ordinal: new(2), ErrorCode: "TransactionReferenceRequired", ErrorMessage: "A Reference is required for the items of queue Unique."}}, []string{"a"}},
		{"none", "Invoices", processAllIndependently, nil, Switches{}, nil, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, c := setup(t, Config{Switches: tt.switches})
			c.post(http.StatusCreated, addPath, item("Unique", "old"))
			var got bulkAnswer
			c.post(http.StatusOK, bulkPath, bulk(tt.queue, tt.commitType, tt.references...)).decode(t, &got)
			if got.Success != (len(tt.failed) == 0) || (got.Message == nil) != got.Success {
				t.Errorf("Success: got %v with message %v", got.Success, got.Message)
			}
			if diff := cmp.Diff(append([]failedItem{}, tt.failed...), got.FailedItems); diff != "" {
				t.Errorf("FailedItems (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(append([]string{"old"}, tt.added...), references(s)); diff != "" {
				t.Errorf("effects (-want +got):\n%s", diff)
			}
		})
	}
}

func TestBulkRefused(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		body   any
		status int
		code   int
	}{
		{"queue missing", bulk("NoSuchQueue", processAllIndependently, "a"), 404, 1002},
		{"no queue", bulk("", processAllIndependently, "a"), 400, 0},
		{"commit type unknown", bulk("Invoices", "Sometimes", "a"), 400, 1009},
		{"over the cap", bulk("Invoices", processAllIndependently, "a", "b", "c"), 400, 1009},
		{"item malformed", `{"queueName":"Invoices","commitType":"AllOrNothing","queueItems":[{"DueDate":"x"}]}`, 400, 0},
		{"too large", `{"queueName":"` + strings.Repeat("x", maxBody) + `"}`, 413, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, c := setup(t, Config{Switches: Switches{BulkItemCap: 2}})
			if got := c.post(tt.status, bulkPath, tt.body).code(t); got != tt.code {
				t.Errorf("errorCode: got %d, want %d", got, tt.code)
			}
			if got := len(s.Effects()); got != 0 {
				t.Errorf("effects: got %d, want none", got)
			}
		})
	}
}

// TestEffectsUnderConcurrency adds the same references from many callers at once: each has one effect in the unique
// queue, and as many as there were calls in the plain one.
func TestEffectsUnderConcurrency(t *testing.T) {
	t.Parallel()
	s, c := setup(t, Config{})
	const callers, items = 8, 50
	names := make([]string, items)
	for i := range names {
		names[i] = strconv.Itoa(i)
	}
	var calls sync.WaitGroup
	for range callers {
		calls.Go(func() {
			c.post(http.StatusOK, bulkPath, bulk("Unique", processAllIndependently, names...))
			c.post(http.StatusOK, bulkPath, bulk("Invoices", processAllIndependently, names...))
		})
	}
	calls.Wait()

	got := s.EffectCounts()
	if got.Effects != items*(callers+1) || got.Distinct != 2*items || len(got.Repeated) != items {
		t.Errorf("got %d effects, %d distinct, %d repeated", got.Effects, got.Distinct, len(got.Repeated))
	}
	for _, r := range got.Repeated {
		if r.Name != "Invoices" || r.Count != callers {
			t.Errorf("repeated: got %+v", r)
		}
	}
	ids := make(map[int64]bool)
	for effect := range s.AllEffects() {
		ids[effect.ID] = true
	}
	if len(ids) != got.Effects {
		t.Errorf("got %d ids for %d effects", len(ids), got.Effects)
	}
}
