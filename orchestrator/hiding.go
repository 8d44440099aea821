package orchestrator

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
)

// hiding gives the error for an answer without secrets in it, which a server may
// repeat: they are taken out of the answer, so that none is cut in two where a
// text is cut short, and out of what was read from it, where escapes are gone.
// What the answer means is read from it as it came, since a short secret may be
// a part of anything, of an error's code too.
func (a answer) hiding(secrets []string, check func(answer) *Error) *Error {
	e := check(a)
	if e == nil {
		return nil
	}
	hide := hider(secrets)
	a.body, a.header = []byte(hide.Replace(string(a.body))), a.header.Clone()
	for _, values := range a.header {
		for i := range values {
			values[i] = hide.Replace(values[i])
		}
	}
	if told := check(a); told != nil { // else what was wrong was the secret
		e.Message, e.TraceID = told.Message, told.TraceID
	}
	e.Message, e.TraceID = hide.Replace(e.Message), hide.Replace(e.TraceID)
	return e
}

// hider takes secrets out of a text, the longest first, so that none leaves a
// part of another.
func hider(secrets []string) *strings.Replacer {
	var all []string
	for _, secret := range secrets {
		all = append(all, spellings(secret)...)
	}
	slices.SortStableFunc(all, func(a, b string) int { return len(b) - len(a) })
	pairs := make([]string, 0, 2*len(all))
	for _, spelling := range all {
		pairs = append(pairs, spelling, hidden)
	}
	return strings.NewReplacer(pairs...)
}

// spellings are how a text may be written in a form, a path, JSON and a header.
func spellings(secret string) []string {
	if secret == "" {
		return nil
	}
	all := []string{
		secret, clean(secret), url.QueryEscape(secret), url.PathEscape(secret), asJSON(secret, true), asJSON(secret, false),
		base64.StdEncoding.EncodeToString([]byte(secret)),
	}
	return slices.DeleteFunc(all, func(s string) bool { return s == "" }) // of blanks nothing is left when cleaned
}

// asJSON is a text as it stands between the quotes of JSON.
func asJSON(text string, escapeHTML bool) string {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(escapeHTML)
	if encoder.Encode(text) != nil {
		return text
	}
	return strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(b.String()), `"`), `"`)
}
