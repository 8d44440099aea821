package history_test

import (
	"strings"
	"testing"

	"waybill/pipeline"
	"waybill/pipeline/history"
)

var queue = pipeline.Lane{Tenant: "Default", Folder: "Shared", Kind: pipeline.KindItem, Name: "Invoices"}

func key(name string) history.Key { return history.Key{Lane: queue, Key: name} }

func final(status pipeline.Status) pipeline.Outcome {
	return pipeline.Outcome{
		Key: "a", Generation: 1, Kind: queue.Kind, Tenant: queue.Tenant, Folder: queue.Folder, Queue: queue.Name,
		Stage: pipeline.StageFinal, Status: status, DecidedBy: pipeline.ByAnswer,
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		effects  []history.Effect
		outcomes []pipeline.Outcome
		want     string // of the report
		breach   string // in the first violation; empty: the promise held
	}{
		{
			"accepted once",
			[]history.Effect{{key("a"), 1}},
			[]pipeline.Outcome{final(pipeline.StatusAccepted), final(pipeline.StatusAccepted)},
			"effects: 1, duplicates: 0, lost: 0", "",
		},
		{"rejected", nil, []pipeline.Outcome{final(pipeline.StatusRejected)}, "effects: 0, duplicates: 0, lost: 0", ""},
		{"unknown with effect", []history.Effect{{key("a"), 1}}, []pipeline.Outcome{final(pipeline.StatusUnknown)}, "effects: 1, duplicates: 0, lost: 0", ""},
		{"done twice", []history.Effect{{key("a"), 1}, {key("a"), 2}}, []pipeline.Outcome{final(pipeline.StatusAccepted)}, "effects: 2, duplicates: 1, lost: 0", "2 effects"},
		{"no outcome", []history.Effect{{key("a"), 1}}, nil, "effects: 1, duplicates: 0, lost: 1", "no final outcome"},
		{"accepted, not there", nil, []pipeline.Outcome{final(pipeline.StatusAccepted)}, "effects: 0, duplicates: 0, lost: 1", "has nothing"},
		{"rejected, there", []history.Effect{{key("a"), 1}}, []pipeline.Outcome{final(pipeline.StatusRejected)}, "effects: 1, duplicates: 0, lost: 0", "reported rejected"},
		{
			"two outcomes",
			[]history.Effect{{key("a"), 1}},
			[]pipeline.Outcome{final(pipeline.StatusRejected), final(pipeline.StatusAccepted)},
			"effects: 1, duplicates: 0, lost: 0", "two final outcomes",
		},
		{
			"nobody asked",
			[]history.Effect{{key("a"), 1}, {key("b"), 2}},
			[]pipeline.Outcome{final(pipeline.StatusAccepted)},
			"effects: 2, duplicates: 0, lost: 0", "nobody asked",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := history.Check([]history.Key{key("a"), key("a")}, test.effects, test.outcomes)
			if got := r.String(); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if r.Held() != (test.breach == "") {
				t.Fatalf("held: %v, violations %v, want breach %q", r.Held(), r.Violations, test.breach)
			}
			if test.breach != "" && !strings.Contains(r.Violations[0].What, test.breach) {
				t.Errorf("violation %q, want %q in it", r.Violations[0].What, test.breach)
			}
			if r.Requests != 1 {
				t.Errorf("%d requests, want 1", r.Requests)
			}
		})
	}
}
