package pipeline

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Kind is what a request asks for: one queue item or one job.
type Kind string

// The two kinds. As subject tokens they stand in the plural: items, jobs.
const (
	KindItem Kind = "item"
	KindJob  Kind = "job"
)

func (k Kind) token() string { return string(k) + "s" }

// DefaultFolder as a lane's folder stands for the folder the tenant is
// configured with. (A folder that is named so cannot be named in a subject.)
const DefaultFolder = "-"

// Lane names one queue or one process in one folder of one tenant. Everything
// that has to be kept apart is kept apart by lane: consumers, backlog, pauses.
//
// Folder is a path such as "Finance/Invoices" or DefaultFolder. A lane as a
// producer writes it may spell the queue in other letters than Orchestrator
// does; the canonical lane, which the ledger uses, has Orchestrator's spelling
// and never DefaultFolder.
type Lane struct {
	Tenant string
	Folder string
	Kind   Kind
	Name   string // the queue's or the process's name
}

// String gives the lane as people write it: tenant:folder:kind:name.
func (l Lane) String() string {
	return l.Tenant + ":" + l.Folder + ":" + l.Kind.token() + ":" + l.Name
}

// Validate reports, naming the part, whether the lane can be written as a
// subject.
func (l Lane) Validate() error {
	for _, part := range []struct{ field, value string }{
		{"tenant", l.Tenant}, {"folder", l.Folder}, {l.nameField(), l.Name},
	} {
		if err := validateName(part.field, part.value); err != nil {
			return err
		}
	}
	if l.Kind != KindItem && l.Kind != KindJob {
		return &InvalidError{Field: "kind", Value: string(l.Kind), Mend: "use item or job"}
	}
	return nil
}

// nameField is the member a producer knows the lane's name by.
func (l Lane) nameField() string {
	if l.Kind == KindJob {
		return "process"
	}
	return "queue"
}

// scope is the lane's part of every subject: <tenant>.<folder>.<kind>.<name>.
func (l Lane) scope() string {
	return encodeToken(l.Tenant) + "." + encodeToken(l.Folder) + "." + l.Kind.token() + "." + encodeToken(l.Name)
}

// parseScope is scope's inverse. A token that is spelled in another way than
// encodeToken would is refused, since two spellings of one lane would be two
// lanes; the lane is given all the same, with the tokens as they stand, or
// what is bounded of them.
func parseScope(scope string) (Lane, error) {
	tokens := strings.Split(scope, ".")
	if len(tokens) != 4 {
		return Lane{}, &InvalidError{Field: "subject", Value: scope, Mend: "use <tenant>.<folder>.items.<queue> or <tenant>.<folder>.jobs.<process>"}
	}
	lane := Lane{Tenant: bounded(tokens[0]), Folder: bounded(tokens[1]), Kind: Kind(strings.TrimSuffix(tokens[2], "s")), Name: bounded(tokens[3])}
	if lane.Kind.token() != tokens[2] || (lane.Kind != KindItem && lane.Kind != KindJob) {
		return lane, &InvalidError{Field: "subject", Value: scope, Mend: "the third token is items or jobs"}
	}
	decoded := Lane{Kind: lane.Kind}
	for _, part := range []struct {
		field, token string
		into         *string
	}{{"tenant", tokens[0], &decoded.Tenant}, {"folder", tokens[1], &decoded.Folder}, {lane.nameField(), tokens[3], &decoded.Name}} {
		name, err := decodeToken(part.token)
		if err != nil {
			return lane, &InvalidError{Field: part.field, Value: part.token, Mend: err.Error()}
		}
		if err := validateName(part.field, name); err != nil {
			return lane, err
		}
		*part.into = name
	}
	return decoded, nil
}

// respell writes a scope as it must be of one whose tokens are escaped in another
// way; empty where that cannot be told.
func respell(scope string) string {
	tokens := strings.Split(scope, ".")
	for i, token := range tokens {
		name, err := url.PathUnescape(token)
		if err != nil || !utf8.ValidString(name) {
			return ""
		}
		tokens[i] = encodeToken(name)
	}
	respelled := strings.Join(tokens, ".")
	if _, err := parseScope(respelled); err != nil {
		return ""
	}
	return respelled
}

// validateName refuses what cannot be part of a subject even when encoded.
func validateName(field, name string) error {
	switch {
	case name == "":
		return &InvalidError{Field: field, Value: name, Mend: "give it a name, it is empty"}
	case !utf8.ValidString(name):
		return &InvalidError{Field: field, Value: name, Mend: "it is not UTF-8"}
	case len(name) > maxNameBytes:
		return &InvalidError{Field: field, Value: name, Mend: fmt.Sprintf("it has %d bytes, %d are allowed", len(name), maxNameBytes)}
	}
	return nil
}

// maxNameBytes bounds a name, so that no subject outgrows what a NATS server
// takes on one protocol line (4,096 bytes by default) when every byte of it
// has to be escaped.
const maxNameBytes = 256

// bounded shortens a token that is too long to stand in further subjects, when
// each byte of it is escaped again, to one that no other token becomes.
func bounded(token string) string {
	if len(token) <= maxNameBytes {
		return token
	}
	sum := sha256.Sum256([]byte(token))
	return clip(token, 64) + hex.EncodeToString(sum[:8])
}

// encodeToken writes a name as one subject token: the characters that mean
// something in a subject, the escape character, the slash, blanks and control
// characters become %XX with upper-case hex; everything else stays readable.
func encodeToken(name string) string {
	if isPlain(name) {
		return name
	}
	token := make([]byte, 0, len(name)+8)
	for _, r := range name {
		start := len(token)
		token = utf8.AppendRune(token, r)
		if r < utf8.RuneSelf && plain[r] || !mustEscape(r) {
			continue
		}
		var char [utf8.UTFMax]byte
		n := copy(char[:], token[start:])
		token = token[:start]
		for _, c := range char[:n] {
			token = append(token, '%', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return string(token)
}

func mustEscape(r rune) bool {
	return strings.ContainsRune(".*>%/", r) || unicode.IsSpace(r) || unicode.IsControl(r)
}

// isPlain reports whether a name has only characters that nobody need look at
// twice, as nearly all names and keys do: every request's are looked at several
// times.
func isPlain(name string) bool {
	for _, c := range []byte(name) {
		if !plain[c] {
			return false
		}
	}
	return true
}

// plain are the characters of ASCII that are not escaped.
var plain = func() (plain [256]bool) {
	for c := range utf8.RuneSelf {
		plain[c] = !mustEscape(rune(c))
	}
	return plain
}()

// decodeToken is encodeToken's inverse; its errors say how the token is to be
// spelled.
func decodeToken(token string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(token); i++ {
		if token[i] != '%' {
			b.WriteByte(token[i])
			continue
		}
		high, low := -1, -1
		if i+2 < len(token) {
			high, low = hexDigit(token[i+1]), hexDigit(token[i+2])
		}
		if high < 0 || low < 0 {
			return "", errors.New("% must be followed by two upper-case hex digits, a percent sign itself is %25")
		}
		b.WriteByte(byte(high<<4 | low)) //nolint:gosec // G115: both are below 16
		i += 2
	}
	name := b.String()
	if !utf8.ValidString(name) {
		return "", errors.New("it does not decode to UTF-8")
	}
	if want := encodeToken(name); want != token {
		return "", fmt.Errorf("spell it %s", want)
	}
	return name, nil
}

const hexDigits = "0123456789ABCDEF"

func hexDigit(c byte) int {
	return strings.IndexByte(hexDigits, c)
}
