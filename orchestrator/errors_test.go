package orchestrator

import (
	"errors"
	"fmt"
	"io"
	"testing"
)

func TestErrorText(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		err  Error
		want string
	}{
		"everything": {
			Error{Op: "start jobs", StatusCode: 409, Code: 1671, Message: "no robot", TraceID: "00-a", Err: io.EOF},
			"start jobs: 409 Conflict: no robot (error code 1671, trace 00-a): EOF",
		},
		"message names the status": {
			Error{Op: "get job", StatusCode: 502, Message: "502 Bad Gateway with text/html instead of JSON"},
			"get job: 502 Bad Gateway with text/html instead of JSON",
		},
		"code alone":     {Error{Op: "get job", StatusCode: 404, Code: 1002}, "get job: 404 Not Found: (error code 1002)"},
		"trace alone":    {Error{Op: "get job", StatusCode: 524, TraceID: "00-a"}, "get job: 524: (trace 00-a)"},
		"cause alone":    {Error{Op: "get job", Err: io.EOF}, "get job: EOF"},
		"status alone":   {Error{Op: "get job", StatusCode: 400}, "get job: 400 Bad Request"},
		"operation only": {Error{Op: "get job"}, "get job"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := test.err.Error(); got != test.want {
				t.Errorf("got  %q\nwant %q", got, test.want)
			}
		})
	}
}

func TestErrorIsAndUnwrap(t *testing.T) {
	t.Parallel()
	err := fmt.Errorf("lane: %w", &Error{Op: "x", Kind: Transient, Err: io.ErrUnexpectedEOF})
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error("the cause is not found")
	}
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrDuplicateReference) {
		t.Error("a transient error counts as not found or duplicate")
	}
}

func TestKindAndClassText(t *testing.T) {
	t.Parallel()
	kinds := fmt.Sprint(Transient, Uncertain, Duplicate, Rejected, Denied, Kind(0))
	if want := "transient uncertain duplicate rejected denied kind 0"; kinds != want {
		t.Errorf("got %q, want %q", kinds, want)
	}
	classes := fmt.Sprint(ListReads, Writes, Reads, Identity, Class(9))
	if want := "list reads writes reads identity class 9"; classes != want {
		t.Errorf("got %q, want %q", classes, want)
	}
}
