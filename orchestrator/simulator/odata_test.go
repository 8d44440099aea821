package simulator

import (
	"strings"
	"testing"
)

func TestParseFilter(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ filter, want string }{
		{"Name eq 'x'", "Name eq 'x'"},
		{"Name eq 'O''Brien'", "Name eq 'O''Brien'"},
		{"Name eq ''''", "Name eq ''''"},
		{"Name eq ''", "Name eq ''"},
		{"  Id   gt\t5 ", "Id gt 5"},
		{"Id eq -5", "Id eq -5"},
		{"A eq 1 or B eq 2 and C eq 3", "(A eq 1 or (B eq 2 and C eq 3))"},
		{"(A eq 1 or B eq 2) and C eq 3", "((A eq 1 or B eq 2) and C eq 3)"},
		{"A eq 1 and B eq 2 and C eq 3", "((A eq 1 and B eq 2) and C eq 3)"},
		{"not A eq 1 and B eq 2", "(not (A eq 1) and B eq 2)"},
		{"not (A eq 1 and B eq 2)", "not ((A eq 1 and B eq 2))"},
		{"((A eq 1))", "A eq 1"},
		{"Id in (1,2, 3)", "Id in (1,2,3)"},
		{"Key in ('a','b')", "Key in ('a','b')"},
		{"Unique", "Unique"},
		{"Unique and not Other", "(Unique and not (Other))"},
		{"Unique eq true", "Unique eq true"},
		{"5 lt Id", "5 lt Id"},
		{"ParentId ne null", "ParentId ne null"},
		{"CreationTime ge 2026-05-14T12:06:46.917Z", "CreationTime ge 2026-05-14T12:06:46.917Z"},
		{"Time ge 2026-05-14T12:06:46+02:00", "Time ge 2026-05-14T12:06:46+02:00"},
		{"Key eq af31127b-1083-4304-930d-ad638022a248", "Key eq af31127b-1083-4304-930d-ad638022a248"},
		{"(reference eq 'R') and queueDefinitionId eq 7", "(reference eq 'R' and queueDefinitionId eq 7)"},
		{"Name eq 'ä (b) and c,d'", "Name eq 'ä (b) and c,d'"},
	} {
		t.Run(tt.filter, func(t *testing.T) {
			t.Parallel()
			n, err := parseFilter(tt.filter)
			if err != nil {
				t.Fatal(err)
			}
			if n.String() != tt.want {
				t.Errorf("got %s, want %s", n, tt.want)
			}
		})
	}
}

func TestParseFilterRefuses(t *testing.T) {
	t.Parallel()
	for _, filter := range []string{
		"", " ", "Name eq", "Name 'x'", "eq 'x'", "Name eq 'x", "Name = 'x'", "Name eq 'x' and", "and", "(Name eq 'x'",
		"Name eq 'x')", "Name eq 'O'Brien'", "Id in", "Id in ()", "Id in (1,)", "Id in (1", "Id in (1 2)", "Id in (Id)",
		"'x' in ('x')", "not", "Name like 'x'", "Name eq \"x\"", "contains(Name,'x')", "Id eq 1;", "Name eq 'x' Name eq 'y'",
		strings.Repeat("(", 200) + "Id eq 1" + strings.Repeat(")", 200), strings.Repeat("not ", 200) + "Id eq 1",
	} {
		t.Run(filter, func(t *testing.T) {
			t.Parallel()
			if n, err := parseFilter(filter); err == nil {
				t.Errorf("got %s, want an error", n)
			}
		})
	}
}

// FuzzParseFilter holds that parsing never panics and that what was parsed, written out, parses to the same.
func FuzzParseFilter(f *testing.F) {
	for _, seed := range []string{
		"Name eq 'O''Brien' and (Id in (1,2) or not Unique)", "CreationTime ge 2026-05-14T12:06:46.917Z", "((((", "'", "not",
		"null eq null", "Key in ('g1','g2')", "a eq b", "\x00 eq 1", "Id eq 1e400",
	} {
		f.Add(seed)
	}
	s := New(Config{})
	f.Cleanup(s.Close)
	set := compiler[*queueItem]{collection: itemSet, left: 1000}
	one := &queueItem{queue: &queue{folder: &folder{}}}
	f.Fuzz(func(t *testing.T, filter string) {
		n, err := parseFilter(filter)
		if err != nil {
			return
		}
		again, err := parseFilter(n.String())
		if err != nil && !strings.Contains(err.Error(), errFilterDepth.Error()) {
			t.Fatalf("%q became %q, which does not parse: %v", filter, n, err)
		}
		if err == nil && again.String() != n.String() {
			t.Fatalf("%q became %q, and that %q", filter, n, again)
		}
		c := set
		if matches, ok := c.compile(n); ok {
			matches(one)
			s.tenant.itemCandidates(one.queue.folder, n)
		}
	})
}
