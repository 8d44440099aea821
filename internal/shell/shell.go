// Package shell writes commands that are printed to be pasted into a shell. What
// they are made of may come from outside: whoever publishes a request chooses
// names that an operator may be shown in a command.
package shell

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Quote makes a text one word of a command that is printed to be pasted,
// whatever it holds. What means nothing to a shell stays as it is.
func Quote(s string) string {
	if strings.IndexFunc(s, func(r rune) bool {
		return !strings.ContainsRune("-_./:@%+=,", r) && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}) < 0 && s != "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// Pastable reports whether a text comes out of a terminal as it went in: no
// quotes keep what a terminal takes for itself, or does not show.
func Pastable(s string) bool {
	return utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}
