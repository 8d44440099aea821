package pipeline

import (
	"errors"
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
		b.WriteString(clip(e.Field, 80))
		b.WriteByte(' ')
	}
	if e.Value != "" {
		fmt.Fprintf(&b, "%q", clip(e.Value, 80))
	}
	return strings.TrimSpace(b.String()) + ": " + e.Mend
}

// maxFaults is how many faults of one request are told. A producer mends those
// first; a hostile one cannot make the answer larger than what it sent.
const maxFaults = 8

// joinFaults joins the first faults and counts the others.
func joinFaults(faults ...error) error {
	var told []error
	others := 0
	for _, err := range faults {
		for _, fault := range unjoin(err) {
			if len(told) == maxFaults {
				others++
				continue
			}
			told = append(told, fault)
		}
	}
	if others > 0 {
		told = append(told, &InvalidError{Field: "body", Mend: fmt.Sprintf("it has %d more faults", others)})
	}
	return errors.Join(told...)
}

// unjoin gives the errors that were joined, or the error itself.
func unjoin(err error) []error {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
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
