package cli

import (
	"bytes"
	"errors"
	"iter"
	"testing"

	"github.com/google/go-cmp/cmp"
)

type record struct {
	Key    string `json:"key"`
	Status string `json:"status"`
}

var recordColumns = []Column[record]{
	{Name: "KEY", Width: 6, Value: func(r record) string { return r.Key }},
	{Name: "STATUS", Value: func(r record) string { return r.Status }},
}

func records(list ...record) iter.Seq2[record, error] {
	return func(yield func(record, error) bool) {
		for _, r := range list {
			if !yield(r, nil) {
				return
			}
		}
	}
}

func TestPrintAll(t *testing.T) {
	t.Parallel()
	two := records(record{"ä", "accepted"}, record{"a-long-key", "two\nlines"})
	tests := []struct {
		name, format string
		records      iter.Seq2[record, error]
		want         string
	}{
		{"table", FormatTable, two, "KEY     STATUS\nä       accepted\na-long-key  two lines\n"},
		{"json", FormatJSON, two, "[\n  {\n    \"key\": \"ä\",\n    \"status\": \"accepted\"\n  },\n  {\n    \"key\": \"a-long-key\",\n    \"status\": \"two\\nlines\"\n  }\n]\n"},
		{"table of nothing", FormatTable, records(), ""},
		{"json of nothing", FormatJSON, records(), "[]\n"},
		{"jsonl", FormatJSONL, two, "{\"key\":\"ä\",\"status\":\"accepted\"}\n{\"key\":\"a-long-key\",\"status\":\"two\\nlines\"}\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var b bytes.Buffer
			if err := PrintAll(&b, tt.format, recordColumns, tt.records); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, b.String()); diff != "" {
				t.Errorf("printed (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPrintAllStopsAtAnError(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for _, format := range []string{FormatTable, FormatJSON, FormatJSONL} {
		var b bytes.Buffer
		err := PrintAll(&b, format, recordColumns, func(yield func(record, error) bool) { yield(record{}, broken) })
		if !errors.Is(err, broken) {
			t.Errorf("%s: error %v, want %v", format, err, broken)
		}
	}
}

// What was printed before an error ends with its line.
func TestPrintAllThatBreaksOff(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	var b bytes.Buffer
	err := PrintAll(&b, FormatJSON, recordColumns, func(yield func(record, error) bool) {
		_ = yield(record{"k", "accepted"}, nil) && yield(record{}, broken)
	})
	if want := "[\n  {\n    \"key\": \"k\",\n    \"status\": \"accepted\"\n  }\n"; b.String() != want || !errors.Is(err, broken) || err.Error() != "broken" {
		t.Errorf("printed %q, %v, want %q", b.String(), err, want)
	}
}

func TestPrintOne(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := PrintOne(&b, FormatJSON, recordColumns, record{"k", "accepted"}); err != nil {
		t.Fatal(err)
	}
	if got, want := b.String(), "{\n  \"key\": \"k\",\n  \"status\": \"accepted\"\n}\n"; got != want {
		t.Errorf("printed %q, want %q", got, want)
	}
}
