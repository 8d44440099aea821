package proving

import (
	"testing"

	"waybill/pipeline/history"
)

func TestResultVerdict(t *testing.T) {
	t.Parallel()
	one := []history.Violation{{What: "why"}}
	for _, test := range []struct {
		result Result
		held   bool
		want   string
	}{
		{Result{}, true, "the promise held"},
		{Result{Report: history.Report{Violations: one}}, false, "THE PROMISE WAS BROKEN"},
		{Result{TurnedDown: one}, false, "THE PROMISE WAS BROKEN"},
		{Result{TurnedDown: one, Unknown: one, Unsettled: "2 messages are not settled"}, false, "THE PROMISE WAS BROKEN"},
		{Result{Unknown: one}, false, "not proven: 1 outcomes are unknown, though everything could be known here"},
		{Result{Unsettled: "2 messages are not settled"}, false, "not proven: 2 messages are not settled"},
	} {
		if test.result.Held() != test.held || test.result.Verdict() != test.want {
			t.Errorf("%+v: got %v, %q, want %v, %q", test.result, test.result.Held(), test.result.Verdict(), test.held, test.want)
		}
	}
}
