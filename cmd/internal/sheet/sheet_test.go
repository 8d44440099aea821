package sheet

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"waybill/pipeline"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var invoices = pipeline.Lane{Tenant: "Default", Folder: "-", Kind: pipeline.KindItem, Name: "Invoices"}

// read gives all rows of a text and the error that ended them.
func read(t *testing.T, text string, opts Options) ([]Row, error) {
	t.Helper()
	opts.Lane = invoices
	s, err := Open(t.Context(), strings.NewReader(text), opts)
	if err != nil {
		return nil, err
	}
	defer closeSheet(t, s)
	if err := s.Index(t.Context(), nil); err != nil {
		return nil, err
	}
	var rows []Row
	for row, err := range s.Rows() {
		if err != nil {
			return rows, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func closeSheet(t *testing.T, s *Sheet) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

// readOne gives the only row of a text that can be read.
func readOne(t *testing.T, text string, opts Options) Row {
	t.Helper()
	rows, err := read(t, text, opts)
	if err != nil || len(rows) != 1 {
		t.Fatalf("read %d rows, error %v; want one row", len(rows), err)
	}
	return rows[0]
}

func TestItem(t *testing.T) {
	t.Parallel()
	vienna, err := time.LoadLocation("Europe/Vienna")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, text string
		opts       Options
		want       string
	}{
		{"text stays text", "Reference,Number,Empty\nR1,00042,\n", Options{}, `{"SpecificContent":{"Number":"00042","Empty":""}}`},
		{"members", "reference,PRIORITY,Deadline,postpone,A\nR1,high,2026-12-01T08:00:00Z,2026-11-30T08:00:00+01:00,x\n", Options{}, `{"Priority":"High","DueDate":"2026-12-01T08:00:00Z","DeferDate":"2026-11-30T08:00:00+01:00","SpecificContent":{"A":"x"}}`},
		{"empty members", "Reference,Priority,Deadline,Postpone\nR1,,,\n", Options{}, `{"SpecificContent":{}}`},
		{"priority by number", "Reference,Priority\nR1, 1 \n", Options{}, `{"Priority":"Low","SpecificContent":{}}`},
		{"priority for rows without", "Reference,Priority\nR1,\n", Options{Priority: "Low"}, `{"Priority":"Low","SpecificContent":{}}`},
		{"priority without a column", "Reference\nR1\n", Options{Priority: "Low"}, `{"Priority":"Low","SpecificContent":{}}`},
		{"a fraction of a second", "Reference,Deadline\nR1,2026-12-01  08:30:05.75\n", Options{Location: vienna}, `{"DueDate":"2026-12-01T08:30:05.75+01:00","SpecificContent":{}}`},
		{"dates in a zone", "Reference,Deadline,Postpone\nR1,2026/12/01 08:30,2026-07-01\n", Options{Location: vienna}, `{"DueDate":"2026-12-01T08:30:00+01:00","DeferDate":"2026-07-01T00:00:00+02:00","SpecificContent":{}}`},
		{"types", "Reference,Amount,Paid,Open\nR1, -12.50 ,TRUE,\n", Options{Types: map[string]Type{"amount": Number, "Paid": Boolean, "Open": Number}}, `{"SpecificContent":{"Amount":-12.50,"Paid":true,"Open":null}}`},
		{"quotes, separators and lines", "Reference;A\nR1;\"say \"\"hi\"\";\r\nthere\"\n", Options{}, `{"SpecificContent":{"A":"say \"hi\";\nthere"}}`},
		{"a separator line", "\xEF\xBB\xBFsep=;\r\nReference;A\r\nR1;x,y\r\n", Options{}, `{"SpecificContent":{"A":"x,y"}}`},
		{"tabs", "Reference\tA, B\nR1\tx,y\n", Options{Delimiter: '\t'}, ""},
		{"byte order mark and blanks in names", "\xEF\xBB\xBFReference, A \nR1, x \n", Options{}, `{"SpecificContent":{"A":" x "}}`},
		{"key column stays content", "Number,Reference\nN1,N1\n", Options{Key: "number"}, `{"SpecificContent":{"Number":"N1"}}`},
		{"another Reference", "Number,Reference\nN1,R1\n", Options{Key: "Number"}, `{"Reference":"R1","SpecificContent":{"Number":"N1"}}`},
		{"a rejects file", "waybill:row,waybill:reason,Reference,A\n7,bad,R1,x\n", Options{}, `{"SpecificContent":{"A":"x"}}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.want == "" { // refused: the header has a comma
				if _, err := read(t, tt.text, tt.opts); err == nil {
					t.Error("read it, want an error")
				}
				return
			}
			row := readOne(t, tt.text, tt.opts)
			if row.Err != nil {
				t.Fatalf("row is refused: %v", row.Err)
			}
			if diff := cmp.Diff(tt.want, string(row.Request.Item)); diff != "" {
				t.Errorf("item (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRowFaults(t *testing.T) {
	t.Parallel()
	vienna, err := time.LoadLocation("Europe/Vienna")
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", 129)
	tests := []struct {
		name, text string
		opts       Options
		want       string // the beginning of the error
	}{
		{"short", "Reference,A\nR1\n", Options{}, "row: it has 1 values, the header names 2 columns"},
		{"long", "Reference,A\nR1,x,y\n", Options{}, "row: it has 3 values, the header names 2 columns"},
		{"NUL", "Reference,A\nR1,x\x00y\n", Options{}, `A "x\x00y": it contains a NUL byte; remove it`},
		{"quote inside a value", "Reference,A\nR1,5\" pipe\n", Options{}, "A: a quote stands inside a value"},
		{"text behind a quote", "Reference,A\nR1,\"say \"hi\"\"\n", Options{}, "A: a quote stands inside a value"},
		{"priority", "Reference,Priority\nR1,Urgent\n", Options{}, `Priority "Urgent": use High, Normal or Low`},
		{"date without a zone", "Reference,Deadline\nR1,2026-12-01 08:00\n", Options{}, `Deadline "2026-12-01 08:00": it has no time zone, so it would be another moment elsewhere; write it as 2026-12-01T08:00:00+01:00`},
		{"no date", "Reference,Postpone\nR1,01.12.2026\n", Options{}, `Postpone "01.12.2026": it is no date that can be read; write it as`},
		{"a time that the clocks leave out", "Reference,Postpone\nR1,2026-03-29 02:30\n", Options{Location: vienna}, `Postpone "2026-03-29 02:30": there is no such time in Europe/Vienna`},
		{"number", "Reference,Amount\nR1,\"1.234,50\"\n", Options{Types: map[string]Type{"Amount": Number}}, `Amount "1.234,50": the column's type is number; write it as 1234.56`},
		{"number that is a word", "Reference,Amount\nR1,true\n", Options{Types: map[string]Type{"Amount": Number}}, `Amount "true": the column's type is number`},
		{"boolean", "Reference,Paid\nR1,yes\n", Options{Types: map[string]Type{"Paid": Boolean}}, `Paid "yes": the column's type is boolean; write true or false`},
		{"long Reference", "Reference\n" + long + "\n", Options{}, `Reference "` + long[:80] + `…": it has 129 bytes, 128 are allowed`},
		{"long Reference beside a key", "Key,Reference\nk," + long + "\n", Options{Key: "Key"}, `Reference "` + long[:80] + `…": it has 129 characters, 1 to 128 are allowed`},
		{"reserved key", "Reference\n-seq-1\n", Options{}, `Reference "-seq-1": keys that begin with -seq- are reserved`},
		{"empty key", "Key,A\n ,x\n", Options{Key: "Key"}, "Key: it is empty, and the column is to give every row its key"},
		{"too much content", "Reference,A\nR1," + strings.Repeat("x", 512<<10) + "\n", Options{}, "row: it has 524296 bytes"},
		{"two faults", "Reference,Priority,Deadline\nR1,Urgent,soon\n", Options{}, "Priority \"Urgent\": use High, Normal or Low (or 3, 2, 1)\nDeadline \"soon\":"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			row := readOne(t, tt.text, tt.opts)
			if row.Err == nil || !strings.HasPrefix(row.Err.Error(), tt.want) {
				t.Errorf("error %v, want one that begins with %q", row.Err, tt.want)
			}
			if row.Number != 2 || row.Line != 2 {
				t.Errorf("row %d, line %d; want 2 and 2", row.Number, row.Line)
			}
		})
	}
}

func TestFormatErrors(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, text string
		opts       Options
		want       string // the beginning of the error
	}{
		{"empty", "", Options{}, "the file is empty"},
		{"blank", "\n\r\n", Options{}, "the file is empty"},
		{"header alone", "Reference,A\n", Options{}, "the file has a header and no rows below it"},
		{"blank rows alone", "Reference,A\n,\n\n", Options{}, "the file has a header and no rows below it"},
		{"UTF-16", "\xFF\xFEA\x00,\x00", Options{}, "the file is UTF-16"},
		{"UTF-16 without a mark", "A\x00,\x00B\x00", Options{}, "the file is UTF-16"},
		{"an Excel workbook", "PK\x03\x04\x14\x00", Options{}, "this is an Excel workbook; save it as \"CSV UTF-8\""},
		{"a separator that is none", "sep=|\nReference|A\n", Options{}, "line 1: sep=|: use a comma, a semicolon or a tab"},
		{"lines below a separator line", "sep=;\nReference;A\nR1;Stra\xDFe\n", Options{}, "line 3: the file is not UTF-8"},
		{"Windows-1252 header", "Reference,Stra\xDFe\nR1,x\n", Options{}, "line 1: the file is not UTF-8"},
		{"Windows-1252 value", "Reference,A\nR1,x\nR2,Stra\xDFe\n", Options{}, "line 3: the file is not UTF-8"},
		{"two columns of one name", "Reference,A,a\nR1,x,y\n", Options{}, `line 1: column 3 "a": another column has that name already`},
		{"two references", "Reference,REFERENCE\nR1,x\n", Options{}, `line 1: column 2 "REFERENCE": another column`},
		{"a column without a name", "Reference,,B\nR1,x,y\n", Options{}, `line 1: column 2 "": it has no name`},
		{"a name that Orchestrator refuses", "Reference,Amount @ net\nR1,x\n", Options{}, `line 1: column 2 "Amount @ net": Orchestrator's field names have none of`},
		{"carriage returns alone", "Reference\rR1\rR2", Options{}, `line 1: column 1 "Reference\rR1\rR2": its name has a line break`},
		{"a quote in the header", "Reference,A\"B\nR1,x\n", Options{}, "line 1: the header cannot be read: a quote stands inside a value"},
		{"an open quote in the header", "Reference,\"A\nR1,x\n", Options{}, "line 1: the quote that opens here is never closed"},
		{"two separators", "Reference;A,B\nR1;x\n", Options{}, "line 1: the header has commas, semicolons or tabs side by side"},
		{"no such key", "Reference,A\nR1,x\n", Options{Key: "Number"}, `line 1: there is no column "Number" for the keys; there are Reference, A`},
		{"no such column to type", "Reference,A\nR1,x\n", Options{Types: map[string]Type{"B": Number}}, `line 1: there is no column of content "B" to give a type`},
		{"a type for a member", "Reference,A\nR1,x\n", Options{Types: map[string]Type{"Reference": Number}}, `line 1: there is no column of content "Reference" to give a type`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			rows, err := read(t, tt.text, tt.opts)
			if _, ok := errors.AsType[*FormatError](err); !ok || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("error %v, want a FormatError that begins with %q", err, tt.want)
			}
			if len(rows) > 0 {
				t.Errorf("gave %d rows, want none before the whole file is known to be sound", len(rows))
			}
		})
	}
}

// After a quote that is never closed nothing can be told apart; everything
// before it can.
func TestOpenQuote(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, text string
		rows       int
		want       string
	}{
		{"in the middle", "Reference,A,B\nR1,x,y\nR2,\"x,y\nR3,x,y\n", 1, "line 3: column A: the quote that opens here is never closed"},
		{"behind a value of several lines", "Reference,A,B\n\nR1,\"x\r\nx\",\"y\nR3,x,y\n", 0, "line 4: column B: the quote"},
		{"at the end", "Reference,A,B\nR1,x,y\nR2,x,\"", 1, "line 3: column B: the quote"},
		{"below a separator line", "sep=,\nReference,A,B\nR1,x,y\nR2,\"x,y\n", 1, "line 4: column A: the quote"},
		{"first row", "Reference,A,B\n\"R1,x,y\n", 0, "line 2: column Reference: the quote"},
		{"too far away", "Reference,A\nR1,x\n\nR2,\"y\n" + strings.Repeat("R3,x\n", 1<<20), 1, "line 4: column A: the quote"},
		{"no lines at all", "Reference,A\nR1,x\n\nR2," + strings.Repeat("x", maxRowBytes), 1, "line 4: the row is longer than 4 MiB"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			rows, err := read(t, tt.text, Options{})
			broken, ok := errors.AsType[*FormatError](err)
			if !ok || !broken.Rest || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("error %.200v, want one about the rest of the file that begins with %q", err, tt.want)
			}
			if len(rows) != tt.rows {
				t.Errorf("%d rows before it, want %d", len(rows), tt.rows)
			}
		})
	}
}

// A row that is broken by itself costs no other row.
func TestGoesOnBehindABrokenRow(t *testing.T) {
	t.Parallel()
	rows, err := read(t, "Reference,A\nR1,5\" pipe\nR2,\"a\"b\n\nR3\n\"R4\",\"x\ny\"\nR5,z\n", Options{})
	if err != nil {
		t.Fatal(err)
	}
	type place struct {
		Number, Line int
		Key, Text    string
		Bad          bool
	}
	var got []place
	for _, r := range rows {
		got = append(got, place{r.Number, r.Line, r.Request.Key, r.Text, r.Err != nil})
	}
	want := []place{{2, 2, "", `R1,5" pipe`, true}, {3, 3, "", `R2,"a"b`, true}, {4, 5, "", "R3", true}, {5, 6, "R4", "", false}, {6, 8, "R5", "", false}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

func keys(rows []Row) []string {
	var keys []string
	for _, r := range rows {
		key := r.Request.Key
		if r.Err != nil {
			key = "! " + r.Err.Error()
		}
		keys = append(keys, key)
	}
	return keys
}

func TestKeys(t *testing.T) {
	t.Parallel()
	repeated := func(column, value string, first int) string {
		return fmt.Sprintf("! %s %q: row %d has the same; if this row is meant to be an item of its own, import it by itself with --content-keys", column, value, first)
	}
	tests := []struct {
		name, text string
		opts       Options
		want       []string
	}{
		{"Reference", "Reference,A\nR1,x\n R2 ,x\n", Options{}, []string{"R1", "R2"}},
		{"repeated Reference", "Reference,A\nR1,x\nR1,y\nR1,x\n", Options{}, []string{"R1", repeated("Reference", "R1", 2), repeated("Reference", "R1", 2)}},
		{"column", "Number,A\nN1,x\nN2,x\nN1,z\n", Options{Key: "NUMBER"}, []string{"N1", "N2", repeated("Number", "N1", 2)}},
		{"content", "A,B\nx,y\nx,z\nx,y\n", Options{}, []string{"row-d112cdb616799af9d2f4e5e0cf3b228f", "row-x", "row-d112cdb616799af9d2f4e5e0cf3b228f-2"}},
		{"content where there is no Reference", "Reference,A\nR1,x\n,x\n,x\n", Options{}, []string{"R1", "row-x", "row-x-2"}},
		{"content by choice", "Reference,A\nR1,x\nR1,x\nR1,y\n", Options{ContentKeys: true}, []string{"row-x", "row-x-2", "row-y"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			rows, err := read(t, tt.text, tt.opts)
			if err != nil {
				t.Fatal(err)
			}
			got := keys(rows)
			if len(got) != len(tt.want) {
				t.Fatalf("%d keys, want %d", len(got), len(tt.want))
			}
			for i, want := range tt.want {
				if strings.HasPrefix(want, "row-") && len(want) < 10 { // a hash stands for any
					if !strings.HasPrefix(got[i], "row-") || strings.HasSuffix(want, "-2") != strings.HasSuffix(got[i], "-2") {
						t.Errorf("key %d is %q, want a hash like %q", i, got[i], want)
					}
				} else if got[i] != want {
					t.Errorf("key %d is %q, want %q", i, got[i], want)
				}
			}
		})
	}
}

// A file that has grown, or whose columns changed places, gives the rows it
// had the keys they had.
func TestKeysStay(t *testing.T) {
	t.Parallel()
	first, err := read(t, "A,B\nx,y\nx,z\nx,y\n", Options{})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"longer":          "A,B\nx,y\nx,z\nx,y\nq,q\nx,y\n",
		"other columns":   "B,A\ny,x\nz,x\ny,x\n",
		"other separator": "A;B\nx;y\nx;z\nx;y\n",
		"rejects file":    "waybill:row,A,B\n4,x,y\n5,x,z\n6,x,y\n",
		"blank rows":      "A,B\nx,y\n\n,\nx,z\nx,y\n",
	} {
		again, err := read(t, text, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(keys(first), keys(again)[:3]); diff != "" {
			t.Errorf("%s (-first +again):\n%s", name, diff)
		}
	}
}

func TestReferenceBesideKey(t *testing.T) {
	t.Parallel()
	rows, err := read(t, "Number,Reference\nN1,N1\nN2,R2\nN3,\n", Options{Key: "Number"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range rows {
		got = append(got, r.Reference)
	}
	if diff := cmp.Diff([]string{"", "R2", ""}, got); diff != "" {
		t.Errorf("References that are not keys (-want +got):\n%s", diff)
	}
}

func TestOpenFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "items.csv")
	if err := os.WriteFile(path, []byte("A\nx\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // was only read
	s, err := Open(t.Context(), f, Options{Lane: invoices})
	if err != nil {
		t.Fatal(err)
	}
	defer closeSheet(t, s)
	if s.spooled != nil || s.Size() != 4 {
		t.Errorf("size %d, copied %v; a regular file is read where it is", s.Size(), s.spooled != nil)
	}
	if diff := cmp.Diff([]string{"A"}, s.Header()); diff != "" {
		t.Errorf("header (-want +got):\n%s", diff)
	}
}

func TestOpenCanceled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("stopped")
	r, w := io.Pipe() // nobody writes, as at a terminal
	cancel(stopped)
	if _, err := Open(ctx, r, Options{Lane: invoices}); !errors.Is(err, stopped) {
		t.Errorf("error %v, want %v", err, stopped)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}

func FuzzRows(f *testing.F) {
	for _, seed := range []string{
		"Reference,A\nR1,x\n", "A;B\n\"x\";\"y\ny\"\n", "A\n\"", "A\nx\"y\n\"x\"y\n", "A\tB\n\x00\t\xff\n", "\xEF\xBB\xBFA\r\n\r\nx\r\n", "Reference,Priority,Deadline\n,3,2026-01-01\n,3,2026-01-01\n",
	} {
		f.Add(seed, "", false)
		f.Add(seed, "A", true)
	}
	f.Fuzz(func(t *testing.T, text, key string, content bool) {
		rows, err := read(t, text, Options{Key: key, ContentKeys: content, Location: time.UTC})
		again, errAgain := read(t, text+"\n", Options{Key: key, ContentKeys: content, Location: time.UTC})
		if err == nil && errAgain == nil && !cmp.Equal(keys(rows), keys(again)) {
			t.Errorf("a line feed at the end changes the keys: %q, %q", keys(rows), keys(again))
		}
		seen := map[string]bool{}
		for _, r := range rows {
			if r.Err != nil {
				continue
			}
			if seen[r.Request.Key] {
				t.Errorf("two rows have the key %q", r.Request.Key)
			}
			seen[r.Request.Key] = true
			if err := r.Request.Validate(invoices); err != nil {
				t.Errorf("row %d is given as sound: %v", r.Number, err)
			}
			if !json.Valid(r.Request.Item) {
				t.Errorf("row %d asks for %q, which is not JSON", r.Number, r.Request.Item)
			}
		}
		if broken, ok := errors.AsType[*FormatError](err); ok && broken.Rest && broken.Line > 1+bytes.Count([]byte(text), []byte("\n")) {
			t.Errorf("line %d is behind the end of the text", broken.Line)
		}
	})
}

// FuzzValue: a value that is taken becomes JSON, a priority one of the three
// words, and a date one with a zone that says the clock it was read from.
func FuzzValue(f *testing.F) {
	for _, text := range []string{
		"", " ", "007", "-0", "1e400", "1.50", "+1", "0x1", "1 ", "TRUE", "falſe", "\xff", "\u00a01", "-", "1,5", "Infinity", "High", "3",
		"2026-03-29 02:30", "2026-10-25T02:30:00", "2026/02/29", "2026 01 02 15:04", "0000-01-01", "9999-12-31 23:59:59", "2026-12-31T17:30:00+01:00", "2026-12-31T17:30:00Z", "1893-04-01 00:03", "2026  01 02",
	} {
		f.Add(text)
	}
	vienna, err := time.LoadLocation("Europe/Vienna")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, kind := range []Type{Text, Number, Boolean} {
			value, err := kind.value(text)
			if err != nil {
				continue
			}
			if body := encode(value); !json.Valid(body) {
				t.Errorf("%q as %s becomes %s", text, kind, body)
			}
		}
		if word, err := priority(text, "Normal"); err == nil && word != "High" && word != "Normal" && word != "Low" {
			t.Errorf("%q becomes the priority %q", text, word)
		}
		for _, zone := range []*time.Location{nil, time.UTC, vienna} {
			checkDate(t, text, zone)
		}
	})
}

func checkDate(t *testing.T, text string, zone *time.Location) {
	t.Helper()
	got, err := date(text, zone)
	if err != nil || text == "" {
		return
	}
	moment, err := time.Parse(time.RFC3339Nano, got)
	if err != nil {
		t.Fatalf("%q becomes %q, which is no date: %v", text, got, err)
	}
	if _, err := time.Parse(time.RFC3339Nano, text); err == nil {
		if got != text {
			t.Errorf("%q has a zone and becomes %q", text, got)
		}
		return
	}
	if zone == nil {
		t.Errorf("%q has no zone and becomes %q", text, got)
	} else if clock := moment.In(zone).Format("2006-01-02"); !strings.HasPrefix(regexp.MustCompile("/| +").ReplaceAllString(text, "-"), clock) {
		t.Errorf("%q becomes %q, another day in %s", text, got, zone)
	}
}
