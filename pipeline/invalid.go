package pipeline

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// InvalidError says what is wrong with a request that can never work: which
// member, what stood there, and what to write instead.
type InvalidError struct {
	Field string // a path such as item.Priority; empty for the body as a whole
	Value string // what was found, cut to something readable
	Mend  string // what to do about it
}

// Error gives field, value and mend in one sentence.
func (e *InvalidError) Error() string {
	var b strings.Builder
	if e.Field != "" {
		b.WriteString(e.Field)
		b.WriteByte(' ')
	}
	if e.Value != "" {
		fmt.Fprintf(&b, "%q", clip(e.Value, 80))
	}
	return strings.TrimSpace(b.String()) + ": " + e.Mend
}

// clip shortens a value to at most n bytes for people to read, never inside a
// character.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}
