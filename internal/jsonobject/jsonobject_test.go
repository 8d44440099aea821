package jsonobject_test

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"waybill/internal/jsonobject"
)

// What is written is what encoding/json writes of the same members.
func TestWriter(t *testing.T) {
	t.Parallel()
	moment := time.Date(2026, 11, 25, 23, 50, 0, 120_000_000, time.FixedZone("", 3600))
	w := jsonobject.Begin([]byte("before "))
	w.Text("text", "a\"\\\n\u2028é")
	w.TextIf("absent", "")
	w.TextIf("present", "x")
	w.Int("int", math.MinInt64)
	w.IntIf("none", 0)
	w.IntIf("some", 7)
	w.Uint("uint", math.MaxUint64)
	w.Bool("bool", true)
	w.Time("time", moment)
	w.RawIf("raw \"name\"", json.RawMessage(`{"a":[1]}`))
	w.RawIf("no raw", nil)
	if err := w.Value("value", struct{ A int }{1}); err != nil {
		t.Error(err)
	}
	if err := w.Value("no value", func() {}); err == nil {
		t.Error("a function has become JSON")
	}
	if got := string(w.Written()); !json.Valid([]byte(got)) {
		t.Errorf("as it stands it is not JSON: %s", got)
	}
	got := w.End()
	var members map[string]any
	if err := json.Unmarshal(got[len("before "):], &members); err != nil {
		t.Fatalf("%s: %v", got, err)
	}
	want := map[string]any{
		"text": "a\"\\\n\u2028é", "present": "x", "int": float64(math.MinInt64), "some": 7.0, "uint": float64(math.MaxUint64),
		"bool": true, "time": moment.Format(time.RFC3339Nano), `raw "name"`: map[string]any{"a": []any{1.0}},
		"value": map[string]any{"A": 1.0},
	}
	if diff := cmp.Diff(want, members); diff != "" {
		t.Errorf("written, and read back (-want +got):\n%s", diff)
	}
}

func TestEmpty(t *testing.T) {
	t.Parallel()
	w := jsonobject.Begin(nil)
	if got := string(w.End()); got != "{}" {
		t.Errorf("an object without members is %s", got)
	}
}

// Whatever the text, it is read back as it was, but for what is not UTF-8.
func FuzzAppendText(f *testing.F) {
	for _, text := range []string{"", "plain", "quote \" and \\", "\x00\x1f\x7f", "\xff\xfe", "é\u2028\U0001F600"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		ours, theirs := jsonobject.AppendText(nil, text), ""
		if err := json.Unmarshal(ours, &theirs); err != nil {
			t.Fatalf("%q is written as %s: %v", text, ours, err)
		}
		if want := string([]rune(text)); theirs != want {
			t.Fatalf("%q is read back as %q, want %q", text, theirs, want)
		}
	})
}
