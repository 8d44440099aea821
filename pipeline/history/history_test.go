package history_test

import (
	"strings"
	"testing"
	"time"

	"waybill/pipeline"
	"waybill/pipeline/history"
)

var queue = pipeline.Lane{Tenant: "Default", Folder: "Shared", Kind: pipeline.KindItem, Name: "Invoices"}

func key(name string) history.Key { return history.Key{Lane: queue, Key: name} }

func final(status pipeline.Status) pipeline.Outcome {
	return pipeline.Outcome{
		Key: "a", Generation: 1, Kind: queue.Kind, Tenant: queue.Tenant, Folder: queue.Folder, Queue: queue.Name,
		Stage: pipeline.StageFinal, Status: status, DecidedBy: pipeline.ByAnswer, PayloadHash: "one",
	}
}

// withID is an outcome that names its item.
func withID(status pipeline.Status, id int64, by pipeline.DecidedBy) pipeline.Outcome {
	o := final(status)
	o.Item, o.DecidedBy = &pipeline.ItemResult{ID: id}, by
	return o
}

func inGeneration(generation int, o pipeline.Outcome) pipeline.Outcome {
	o.Generation = generation
	return o
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
		{
			"nobody asked, and it has an outcome",
			[]history.Effect{{key("a"), 1}},
			[]pipeline.Outcome{final(pipeline.StatusAccepted), {Key: "b", Generation: 1, Kind: queue.Kind, Stage: pipeline.StageFinal, Status: pipeline.StatusRejected}},
			"effects: 1, duplicates: 0, lost: 0", "nobody asked",
		},
		{
			"another's id",
			[]history.Effect{{key("a"), 1}},
			[]pipeline.Outcome{withID(pipeline.StatusAccepted, 7, pipeline.ByLookup)},
			"effects: 1, duplicates: 0, lost: 0", "reported accepted (decided by lookup, item 7), and Orchestrator has [1]",
		},
		{
			"the id of Orchestrator's own retry",
			[]history.Effect{{key("a"), 1}},
			[]pipeline.Outcome{withID(pipeline.StatusSucceeded, 7, pipeline.ByPoll)},
			"effects: 1, duplicates: 0, lost: 0", "",
		},
		{
			"two ids",
			[]history.Effect{{key("a"), 1}},
			[]pipeline.Outcome{withID(pipeline.StatusAccepted, 1, pipeline.ByAnswer), withID(pipeline.StatusAccepted, 7, pipeline.ByAnswer)},
			"effects: 1, duplicates: 0, lost: 0", "two final outcomes in generation 1",
		},
		{
			"two generations",
			[]history.Effect{{key("a"), 1}},
			[]pipeline.Outcome{final(pipeline.StatusRejected), inGeneration(2, final(pipeline.StatusAccepted))},
			"effects: 1, duplicates: 0, lost: 0", "",
		},
		{
			"accepted in two generations, there once",
			[]history.Effect{{key("a"), 1}},
			[]pipeline.Outcome{final(pipeline.StatusAccepted), inGeneration(2, final(pipeline.StatusAccepted))},
			"effects: 1, duplicates: 0, lost: 1", "reported as carried out in 2 generations, and Orchestrator has [1]",
		},
		{
			"accepted, then rejected, not there",
			nil,
			[]pipeline.Outcome{final(pipeline.StatusAccepted), inGeneration(2, final(pipeline.StatusRejected))},
			"effects: 0, duplicates: 0, lost: 1", "reported as carried out in 1 generations",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := history.Check(history.Run{Requests: []history.Request{{Key: key("a")}, {Key: key("a")}}, Effects: test.effects, Outcomes: test.outcomes})
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

// Only the same message again is a repeat: any other end of a generation was
// decided a second time.
func TestCheckRepeats(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		name   string
		change func(*pipeline.Outcome)
		held   bool
	}{
		{"the same", func(*pipeline.Outcome) {}, true},
		{"the same moment in another zone", func(o *pipeline.Outcome) { o.FinishedAt = at.In(time.FixedZone("", 3600)) }, true},
		{"another status", func(o *pipeline.Outcome) { o.Status = pipeline.StatusExpired }, false},
		{"another payload", func(o *pipeline.Outcome) { o.PayloadHash = "two" }, false},
		{"decided otherwise", func(o *pipeline.Outcome) { o.DecidedBy = pipeline.ByLookup }, false},
		{"more attempts", func(o *pipeline.Outcome) { o.Attempts++ }, false},
		{"later", func(o *pipeline.Outcome) { o.FinishedAt = at.Add(time.Millisecond) }, false},
		{"another error", func(o *pipeline.Outcome) { o.Error = &pipeline.OutcomeError{Kind: "expired"} }, false},
		{"no error", func(o *pipeline.Outcome) { o.Error = nil }, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			first := final(pipeline.StatusRejected)
			first.FinishedAt, first.Attempts, first.Error = at, 1, &pipeline.OutcomeError{Kind: "invalid"}
			second := first
			test.change(&second)
			r := history.Check(history.Run{Requests: []history.Request{{Key: key("a")}}, Outcomes: []pipeline.Outcome{first, second}})
			if r.Held() != test.held {
				t.Fatalf("held: %v, violations %v, want %v", r.Held(), r.Violations, test.held)
			}
			if !test.held && !strings.Contains(r.Violations[0].What, "two final outcomes in generation 1") {
				t.Errorf("violation %q, want two final outcomes", r.Violations[0].What)
			}
		})
	}
}

// An outcome stands for one of the payloads that were asked for, where these
// are known.
func TestCheckPayload(t *testing.T) {
	t.Parallel()
	one, two := history.Request{Key: key("a"), Payload: "one"}, history.Request{Key: key("a"), Payload: "two"}
	dontKnow, invalid := history.Request{Key: key("a")}, history.Request{Key: key("a"), Invalid: true}
	accepted := final(pipeline.StatusAccepted)
	none := accepted
	none.PayloadHash = ""
	refused := none
	refused.Status, refused.DecidedBy = pipeline.StatusRejected, pipeline.ByValidation
	for _, test := range []struct {
		name     string
		requests []history.Request
		outcome  pipeline.Outcome
		held     bool
	}{
		{"its own", []history.Request{one}, accepted, true},
		{"one of two", []history.Request{two, one}, accepted, true},
		{"another", []history.Request{two, two}, accepted, false},
		{"none", []history.Request{one}, none, false},
		{"one is not known", []history.Request{two, dontKnow}, accepted, true},
		{"another, beside an invalid request", []history.Request{two, invalid}, accepted, false},
		{"of the invalid request", []history.Request{two, invalid}, refused, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			run := history.Run{Requests: test.requests, Outcomes: []pipeline.Outcome{test.outcome}}
			if test.outcome.Status == pipeline.StatusAccepted {
				run.Effects = []history.Effect{{key("a"), 1}}
			}
			r := history.Check(run)
			if r.Held() != test.held {
				t.Fatalf("held: %v, violations %v, want %v", r.Held(), r.Violations, test.held)
			}
			if !test.held && (r.Contradicting != 1 || !strings.Contains(r.Violations[0].What, "which nobody asked for")) {
				t.Errorf("violations %v, want one of its payload", r.Violations)
			}
		})
	}
}

func TestCheckDeadLetters(t *testing.T) {
	t.Parallel()
	effect := []history.Effect{{key("a"), 1}}
	first := history.Request{Key: key("a"), Sequence: 1, Payload: "one"}
	other := history.Request{Key: key("a"), Sequence: 2, Payload: "two"}
	invalid := history.Request{Key: key("a"), Sequence: 3, Invalid: true}
	letter := func(sequence uint64, reason string) history.DeadLetter {
		return history.DeadLetter{Key: key("a"), Sequence: sequence, Reason: reason}
	}
	for _, test := range []struct {
		name     string
		requests []history.Request
		effects  []history.Effect
		status   pipeline.Status
		letters  []history.DeadLetter
		breach   string // empty: the promise held
	}{
		{"none", []history.Request{first, first}, effect, pipeline.StatusAccepted, nil, ""},
		{"conflict told", []history.Request{first, other}, effect, pipeline.StatusAccepted, []history.DeadLetter{letter(2, "key_conflict"), letter(2, "key_conflict")}, ""},
		{"conflict not told", []history.Request{first, other}, effect, pipeline.StatusAccepted, nil, "sequence 2 has no dead letter"},
		{"conflict of another told", []history.Request{first, other}, effect, pipeline.StatusAccepted, []history.DeadLetter{letter(1, "key_conflict")}, "sequence 2 has no dead letter"},
		{"conflict of unknown sequence", []history.Request{first, {Key: key("a"), Payload: "two"}}, effect, pipeline.StatusAccepted, []history.DeadLetter{letter(9, "key_conflict")}, ""},
		{"copy of a conflict whose answer was lost", []history.Request{first, other}, effect, pipeline.StatusAccepted, []history.DeadLetter{letter(2, "key_conflict"), letter(9, "key_conflict")}, ""},
		{"unknown payload", []history.Request{{Key: key("a"), Sequence: 1}}, effect, pipeline.StatusAccepted, []history.DeadLetter{letter(1, "key_conflict")}, ""},
		{"no conflict, and told", []history.Request{first}, effect, pipeline.StatusAccepted, []history.DeadLetter{letter(1, "key_conflict")}, "has a dead letter with the reason key_conflict"},
		{"carried out, and dead", []history.Request{first}, effect, pipeline.StatusAccepted, []history.DeadLetter{letter(1, "rejected")}, "has a dead letter with the reason rejected"},
		{"rejected", []history.Request{first}, nil, pipeline.StatusRejected, []history.DeadLetter{letter(1, "rejected")}, ""},
		{"rejected, no dead letter", []history.Request{first}, nil, pipeline.StatusRejected, nil, "there is no dead letter"},
		{"unknown, no dead letter", []history.Request{first}, effect, pipeline.StatusUnknown, nil, "there is no dead letter"},
		{"unknown", []history.Request{first}, effect, pipeline.StatusUnknown, []history.DeadLetter{letter(1, "unknown")}, ""},
		{"invalid", []history.Request{invalid}, nil, pipeline.StatusRejected, []history.DeadLetter{letter(3, "invalid")}, ""},
		{"invalid, another's dead letter", []history.Request{invalid}, nil, pipeline.StatusRejected, []history.DeadLetter{letter(4, "invalid")}, "sequence 3 has no dead letter"},
		{"invalid, no dead letter", []history.Request{invalid}, nil, pipeline.StatusRejected, nil, "sequence 3 has no dead letter"},
		{"invalid, carried out", []history.Request{invalid}, effect, pipeline.StatusAccepted, []history.DeadLetter{letter(3, "invalid")}, "it can never work"},
		{"nobody asked", []history.Request{first}, effect, pipeline.StatusAccepted, []history.DeadLetter{{Key: key("b"), Sequence: 8, Reason: "invalid"}}, "nobody asked"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := history.Check(history.Run{
				Requests: test.requests, Effects: test.effects, Outcomes: []pipeline.Outcome{final(test.status)},
				DeadLetters: append([]history.DeadLetter{}, test.letters...),
			})
			if r.Held() != (test.breach == "") {
				t.Fatalf("held: %v, violations %v, want breach %q", r.Held(), r.Violations, test.breach)
			}
			if test.breach != "" && !strings.Contains(r.Violations[0].What, test.breach) {
				t.Errorf("violation %q, want %q in it", r.Violations[0].What, test.breach)
			}
			if r.Lost > 1 {
				t.Errorf("lost: %d, want 1 at most", r.Lost)
			}
		})
	}
}

// What nobody has read is not judged.
func TestCheckWithoutDeadLetters(t *testing.T) {
	t.Parallel()
	r := history.Check(history.Run{Requests: []history.Request{{Key: key("a")}}, Outcomes: []pipeline.Outcome{final(pipeline.StatusRejected)}})
	if !r.Held() {
		t.Errorf("violations %v, want none", r.Violations)
	}
}
