package orchestrator

import "testing"

// A secret of blanks, which is none, leaves the rest of a text as it is.
func TestHidingBlanks(t *testing.T) {
	t.Parallel()
	a := newAnswer(400, "application/json", `{"message":"no such thing","errorCode":1}`)
	e := a.hiding([]string{"   ", ""}, func(a answer) *Error { return a.failure("try", Reads, false) })
	if e == nil || e.Message != "no such thing" {
		t.Errorf("got %v", e)
	}
}
