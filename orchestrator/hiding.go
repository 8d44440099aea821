package orchestrator

import (
	"encoding/base64"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf16"
)

// hiding gives the error for an answer without secrets in it, which a server may
// repeat: they are taken out of the answer, as it may be written there, and out of
// what was read from it, where escapes are gone. Only then is a text cut short.
// What the answer means is read from it as it came, since a short secret may be
// a part of anything, of an error's code too.
func (a answer) hiding(secrets []string, check func(answer) *Error) *Error {
	e := check(a)
	if e == nil {
		return nil
	}
	hide := hider(a.repeated(secrets, e))
	a.body, a.header = []byte(hide(string(a.body))), a.header.Clone()
	for _, values := range a.header {
		for i := range values {
			values[i] = hide(values[i])
		}
	}
	if told := check(a); told != nil { // else what was wrong was the secret
		e.Message, e.TraceID = told.Message, told.TraceID
	}
	e.Message, e.TraceID = short(hide(e.Message)), short(hide(e.TraceID))
	return e
}

// repeated are those of the secrets that the answer, or what was read from it,
// may have in it. Hardly ever is there one, and the others cost much to look for.
func (a answer) repeated(secrets []string, e *Error) []string {
	texts := []string{string(a.body), e.Message, e.TraceID}
	for _, values := range a.header {
		texts = append(texts, values...)
	}
	said := strings.Join(texts, "\n")
	return slices.DeleteFunc(slices.Clone(secrets), func(s string) bool {
		return clean(s) == "" || !strings.Contains(said, longestPlain(s)) && !strings.Contains(said, inBase64(s))
	})
}

// longestPlain is the longest part of a text that nobody escapes.
func longestPlain(text string) string {
	longest := ""
	for part := range strings.FieldsFuncSeq(text, func(r rune) bool { return !isPlainRune(r) }) {
		if len(part) > len(longest) {
			longest = part
		}
	}
	return longest
}

// hider takes secrets out of a text, the longest first, so that none leaves a
// part of another.
func hider(secrets []string) func(string) string {
	if len(secrets) == 0 {
		return func(text string) string { return text }
	}
	slices.SortStableFunc(secrets, func(a, b string) int { return len(b) - len(a) })
	if len(secrets[0]) > longestToken { // no secret is, and of more no expression can be made
		return func(string) string { return hidden }
	}
	var all []string
	for _, secret := range secrets {
		all = append(all, spelled(secret), regexp.QuoteMeta(inBase64(secret)))
	}
	secret := regexp.MustCompile(strings.Join(all, "|"))
	return func(text string) string { return secret.ReplaceAllLiteralString(text, hidden) }
}

func inBase64(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

// spelled is an expression for a text however it is written: in a form, a path,
// JSON, HTML or a header, whichever characters the writer chose to escape.
func spelled(text string) string {
	var b strings.Builder
	blank := false
	for _, r := range strings.TrimFunc(text, isBlankRune) {
		wasBlank := blank
		blank = isBlankRune(r)
		switch {
		case blank && wasBlank:
		case blank:
			b.WriteString(`(?:[\s\pC\pZ]|\+|%[0-9A-Fa-f]{2}|\\[bfnrt]|\\u[0-9A-Fa-f]{4}|&#x?[0-9A-Fa-f]+;)+`)
		case isPlainRune(r):
			b.WriteRune(r)
		default:
			b.WriteString(`(?:` + strings.Join(escapes(r), "|") + `)`)
		}
	}
	return b.String()
}

// isPlainRune tells letters and digits, which nobody escapes.
func isPlainRune(r rune) bool {
	return r <= unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r))
}

func isBlankRune(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }

// escapes are expressions for a character as it is, behind a backslash, as
// bytes, as units of UTF-16, and as an entity.
func escapes(r rune) []string {
	var bytes, units strings.Builder
	for _, b := range []byte(string(r)) {
		fmt.Fprintf(&bytes, "%%%02x", b)
	}
	for _, unit := range utf16.Encode([]rune{r}) {
		fmt.Fprintf(&units, `\\u%04x`, unit)
	}
	all := []string{`\\?` + regexp.QuoteMeta(string(r)), "(?i:" + bytes.String() + ")", "(?i:" + units.String() + ")", fmt.Sprintf("(?i:&#0*%d;|&#x0*%x;)", r, r)}
	if name := map[rune]string{'&': "amp", '<': "lt", '>': "gt", '"': "quot", '\'': "apos"}[r]; name != "" {
		all = append(all, "&"+name+";")
	}
	return all
}
