package pipeline

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestToken(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, token string }{
		{"Invoices", "Invoices"},
		{"Finance/Invoices", "Finance%2FInvoices"},
		{"Pay invoices", "Pay%20invoices"},
		{"a.b*c>d%e", "a%2Eb%2Ac%3Ed%25e"},
		{"Rechnungen_Österreich", "Rechnungen_Österreich"},
		{"tab\tline\n", "tab%09line%0A"},
		{"no-break\u00a0space", "no-break%C2%A0space"},
	} {
		if got := encodeToken(test.name); got != test.token {
			t.Errorf("encodeToken(%q) = %q, want %q", test.name, got, test.token)
		}
		if got, err := decodeToken(test.token); err != nil || got != test.name {
			t.Errorf("decodeToken(%q) = %q, %v, want %q", test.token, got, err, test.name)
		}
	}
}

func TestTokenRefusesOtherSpellings(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ token, mend string }{
		{"Finance%2fInvoices", "two upper-case hex digits"},
		{"100%", "%25"},
		{"%41BC", "spell it ABC"},
		{"a%2", "two upper-case hex digits"},
		{"%FF", "UTF-8"},
		{"a/b", "spell it a%2Fb"},
		{"%2D", "spell it -"},
	} {
		_, err := decodeToken(test.token)
		if err == nil || !strings.Contains(err.Error(), test.mend) {
			t.Errorf("decodeToken(%q): %v, want an error with %q", test.token, err, test.mend)
		}
	}
}

func TestTokenRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.String().Filter(func(s string) bool { return s != "" }).Draw(t, "name")
		token := encodeToken(name)
		if strings.ContainsAny(token, ".*> \t\r\n") {
			t.Fatalf("token %q of %q cannot stand in a subject", token, name)
		}
		got, err := decodeToken(token)
		if err != nil || got != name {
			t.Fatalf("%q became %q and then %q, %v", name, token, got, err)
		}
	})
}

func TestScopeRoundTrip(t *testing.T) {
	t.Parallel()
	for _, lane := range []Lane{
		{"Default", DefaultFolder, KindItem, "Invoices"},
		{"Default", "Finance/Invoices", KindJob, "Pay invoices v1.2"},
	} {
		got, err := parseScope(lane.scope())
		if err != nil || got != lane {
			t.Errorf("parseScope(%q) = %+v, %v, want %+v", lane.scope(), got, err, lane)
		}
	}
	for _, scope := range []string{"a.b.items", "a.b.item.c", "a.b.things.c", "a.b.items.c.d"} {
		if lane, err := parseScope(scope); err == nil {
			t.Errorf("parseScope(%q) = %+v, want an error", scope, lane)
		}
	}
}
