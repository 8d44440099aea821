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

	"github.com/go-json-experiment/json/jsontext"

	"waybill/internal/jsonobject"
)

// appendExtra writes further members in a fixed order, but for those that are
// there already: a name given twice would mean two things to two readers.
func appendExtra(o *jsonobject.Writer, members map[string]json.RawMessage) {
	if len(members) == 0 {
		return
	}
	written := namesOf(o.Written())
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if !slices.Contains(written, strings.ToLower(name)) {
			o.RawIf(name, members[name])
		}
	}
}

// namesOf lists an object's members, in lower case. Only a request with extra
// members pays for it.
func namesOf(object []byte) []string {
	var members map[string]json.RawMessage
	_ = json.Unmarshal(object, &members) // raw values were checked to be JSON
	names := make([]string, 0, len(members))
	for name := range members {
		names = append(names, strings.ToLower(name))
	}
	return names
}

// isJSON is json.Valid in a third of the time.
func isJSON(raw json.RawMessage) bool {
	return jsontext.Value(raw).IsValid(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
}

// validateExtra refuses what would not be one member of an object.
func validateExtra(members map[string]json.RawMessage) error {
	for name, value := range members {
		switch {
		case name == "":
			return errors.New("member without a name in Extra: name it")
		case !isJSON(value):
			return fmt.Errorf("member %q of Extra is not valid JSON: text needs quotes", name)
		}
	}
	return nil
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

// decodeOptional decodes one JSON value. None at all, and null, are {}.
func decodeOptional(raw []byte) (any, bool) {
	if isBlank(raw) {
		return map[string]any{}, true
	}
	value, ok := decodeValue(raw)
	if value == nil {
		value = map[string]any{}
	}
	return value, ok
}

// isBlank tells whether text is empty but for what JSON takes for white space.
// Unicode knows more of it (a vertical tab), which makes JSON invalid.
func isBlank(text []byte) bool { return len(bytes.Trim(text, " \t\r\n")) == 0 }

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
