package orchestrator

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// object writes a JSON object member by member, without reflection. Members
// without a value are left out.
type object struct {
	dst   []byte
	start int
}

func beginObject(dst []byte) object {
	return object{dst: append(dst, '{'), start: len(dst)}
}

func (o *object) name(name string) {
	if len(o.dst) > o.start+1 {
		o.dst = append(o.dst, ',')
	}
	o.dst = appendText(o.dst, name)
	o.dst = append(o.dst, ':')
}

func (o *object) text(name, value string) {
	if value != "" {
		o.name(name)
		o.dst = appendText(o.dst, value)
	}
}

func (o *object) number(name string, value int) {
	if value != 0 {
		o.name(name)
		o.dst = strconv.AppendInt(o.dst, int64(value), 10)
	}
}

func (o *object) raw(name string, value json.RawMessage) {
	if len(value) > 0 {
		o.name(name)
		o.dst = append(o.dst, value...)
	}
}

// extra writes further members in a fixed order, but for those that are there
// already: a name given twice would mean two things to two readers.
func (o *object) extra(members map[string]json.RawMessage) {
	if len(members) == 0 {
		return
	}
	written := o.names()
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if !slices.Contains(written, strings.ToLower(name)) {
			o.raw(name, members[name])
		}
	}
}

// names lists the object's members so far, in lower case. Only a request with
// extra members pays for it.
func (o *object) names() []string {
	var members map[string]json.RawMessage
	_ = json.Unmarshal(append(bytes.Clone(o.dst[o.start:]), '}'), &members) // raw values were checked to be JSON
	names := make([]string, 0, len(members))
	for name := range members {
		names = append(names, strings.ToLower(name))
	}
	return names
}

func (o *object) end() []byte { return append(o.dst, '}') }

// validateExtra refuses what would not be one member of an object.
func validateExtra(members map[string]json.RawMessage) error {
	for name, value := range members {
		switch {
		case name == "":
			return errors.New("member without a name in Extra: name it")
		case !json.Valid(value):
			return fmt.Errorf("member %q of Extra is not valid JSON: text needs quotes", name)
		}
	}
	return nil
}

const hexDigits = "0123456789abcdef"

// appendText appends a JSON string. Runs that need no escape, nearly all there
// are, are copied whole; what is not UTF-8 becomes U+FFFD.
func appendText(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		size := 1
		if c >= utf8.RuneSelf {
			var r rune
			if r, size = utf8.DecodeRuneInString(s[i:]); r != utf8.RuneError || size > 1 {
				i += size
				continue
			}
		}
		dst = append(dst, s[start:i]...)
		dst = appendEscape(dst, c)
		i += size
		start = i
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

// appendEscape appends one byte that may not stand in a JSON string as it is.
func appendEscape(dst []byte, c byte) []byte {
	switch {
	case c == '"' || c == '\\':
		return append(dst, '\\', c)
	case c < ' ':
		return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&0xF])
	}
	return append(dst, "\uFFFD"...)
}

// decodeValue decodes exactly one JSON value, numbers as they are written.
func decodeValue(raw []byte) (any, bool) {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var value any
	if decoder.Decode(&value) != nil {
		return nil, false
	}
	_, err := decoder.Token()
	return value, errors.Is(err, io.EOF)
}

// sameValue compares decoded JSON. Members that are null count as absent;
// sameText may forgive texts that differ.
func sameValue(a, b any, sameText func(a, b string) bool) bool {
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		return ok && sameMembers(a, b, sameText)
	case []any:
		b, ok := b.([]any)
		return ok && slices.EqualFunc(a, b, func(a, b any) bool { return sameValue(a, b, sameText) })
	case json.Number:
		b, ok := b.(json.Number)
		return ok && sameNumber(a.String(), b.String())
	case string:
		b, ok := b.(string)
		return ok && (a == b || sameText(a, b))
	}
	return a == b // bool and null
}

func sameMembers(a, b map[string]any, sameText func(a, b string) bool) bool {
	for name := range a {
		if !sameValue(a[name], b[name], sameText) {
			return false
		}
	}
	for name := range b {
		if b[name] != nil && a[name] == nil {
			return false
		}
	}
	return true
}

// sameNumber compares two JSON numbers by value: 1, 1.0 and 10e-1 are the same,
// and no digit is too many.
func sameNumber(a, b string) bool {
	if a == b {
		return true
	}
	signA, digitsA, exponentA, okA := decimal(a)
	signB, digitsB, exponentB, okB := decimal(b)
	if digitsA == "" && digitsB == "" {
		return true // zero has no sign and no exponent
	}
	return okA && okB && signA == signB && digitsA == digitsB && exponentA == exponentB
}

// decimal takes a JSON number apart: digits without zeros at either end, and the
// power of ten of the last one.
func decimal(s string) (negative bool, digits string, exponent int, ok bool) {
	s, negative = strings.CutPrefix(s, "-")
	mantissa, power, found := strings.Cut(strings.ToLower(s), "e")
	if found {
		var err error
		if exponent, err = strconv.Atoi(power); err != nil || exponent > 1<<30 || exponent < -1<<30 {
			return negative, "not comparable", 0, false
		}
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits = strings.TrimLeft(whole+fraction, "0")
	exponent -= len(fraction)
	trimmed := strings.TrimRight(digits, "0")
	return negative, trimmed, exponent + len(digits) - len(trimmed), true
}
