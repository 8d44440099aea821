package pipeline

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// member is one name and value of a JSON object, in the order they stood. The
// value is a part of the text it was read from.
type member struct {
	name   string
	value  json.RawMessage
	fields []member // of a value that is an object
}

// field names the member of an object that is itself called in; empty is the
// outermost. It is put together only for those who are told of a fault.
func (m member) field(in string) string {
	if in == "" {
		return m.name
	}
	return in + "." + m.name
}

func (m member) isNull() bool { return string(m.value) == "null" }

// readObject takes a JSON object apart without interpreting its values. It
// refuses what encoding/json lets pass: a name that stands twice in an object,
// at whatever depth, where two readers could see two requests. Of such a one
// what is clear is returned beside the error.
func readObject(raw []byte) ([]member, error) {
	raw = bytes.Trim(raw, " \t\r\n")
	switch {
	case len(raw) == 0:
		return nil, errors.New("it is empty; publish a JSON object")
	case !isJSON(raw):
		return readAmbiguous(raw), describeJSON(raw)
	case raw[0] != '{':
		return nil, errors.New("it must be a JSON object")
	case isTooDeep(raw):
		return nil, fmt.Errorf("it is nested more than %d levels deep; send flat data, or nested data as a string of JSON", maxDepth)
	}
	return takeApart(raw), nil
}

// readAmbiguous takes an object apart that would be JSON but for a name that
// stands twice somewhere below: what else it says, its key above all, is clear.
func readAmbiguous(raw []byte) []member {
	valid := jsontext.Value(raw).IsValid(jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true))
	if !valid || raw[0] != '{' || isTooDeep(raw) {
		return nil
	}
	members := takeApart(raw)
	seen := make(map[string]bool, len(members))
	for _, m := range members {
		if seen[m.name] {
			return nil
		}
		seen[m.name] = true
	}
	return members
}

// object is readObject for a value of an object that was read.
func (m member) object() ([]member, error) {
	if m.value[0] != '{' {
		return nil, errors.New("it must be a JSON object")
	}
	return m.fields, nil
}

// maxDepth bounds nesting: what is walked level by level must not cost the
// square of its length.
const maxDepth = 100

// isTooDeep reports whether valid JSON is nested deeper than maxDepth.
func isTooDeep(text []byte) bool {
	if bytes.Count(text, []byte{'{'})+bytes.Count(text, []byte{'['}) <= maxDepth {
		return false
	}
	depth, deepest := 0, 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			i = skipString(text, i) - 1
		case '{', '[':
			depth++
			deepest = max(deepest, depth)
		case '}', ']':
			depth--
		}
	}
	return deepest > maxDepth
}

// isJSON reports whether a text is one JSON value in which no object has a name
// twice, at whatever depth.
func isJSON(raw []byte) bool {
	return jsontext.Value(raw).IsValid(jsontext.AllowInvalidUTF8(true))
}

// describeJSON says what isJSON has against a text.
func describeJSON(raw []byte) error {
	dec := jsontext.NewDecoder(bytes.NewReader(raw), jsontext.AllowInvalidUTF8(true))
	_, err := dec.ReadValue()
	if e, ok := errors.AsType[*jsontext.SyntacticError](err); ok && errors.Is(err, jsontext.ErrDuplicateName) {
		return fmt.Errorf("the member %q stands twice; send it once", clip(e.JSONPointer.LastToken(), 40))
	}
	var value json.RawMessage
	std := json.NewDecoder(bytes.NewReader(raw)) // its words are the ones that people know
	switch err = std.Decode(&value); {
	case err == nil:
		return errors.New("something follows the JSON object; publish one object a message")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("it is not JSON: it ends too early")
	}
	return fmt.Errorf("it is not JSON: %w", err)
}

// takeApart walks an object that is known to be valid JSON, to the innermost
// object that is not in an array.
func takeApart(object []byte) []member {
	var room [32]member // members stand here until it is seen how many there are
	members, _ := walkObject(object, string(object), 0, room[:0])
	return members
}

// walkObject takes the object that begins at i apart, and gives its end. Its
// members are collected behind what room holds; their names are parts of all,
// which is the text once more.
func walkObject(text []byte, all string, i int, room []member) (members []member, end int) {
	first := len(room)
	for i = skipBlanks(text, i+1); text[i] != '}'; {
		end = skipString(text, i)
		m := member{name: decodeString(all[i:end])}
		i = skipBlanks(text, skipBlanks(text, end)+1) // past the colon
		if text[i] == '{' {
			m.fields, end = walkObject(text, all, i, room)
		} else {
			end = skipValue(text, i)
		}
		m.value = text[i:end:end]
		room = append(room, m)
		if i = skipBlanks(text, end); text[i] == ',' {
			i = skipBlanks(text, i+1)
		}
	}
	return append([]member{}, room[first:]...), i + 1
}

// elementsOf walks an array that is known to be valid JSON.
func elementsOf(array []byte) []json.RawMessage {
	var elements []json.RawMessage
	for i := skipBlanks(array, 1); array[i] != ']'; {
		end := skipValue(array, i)
		elements = append(elements, array[i:end:end])
		if i = skipBlanks(array, end); array[i] == ',' {
			i = skipBlanks(array, i+1)
		}
	}
	return elements
}

func skipBlanks(text []byte, i int) int {
	for i < len(text) && (text[i] == ' ' || text[i] == '\t' || text[i] == '\n' || text[i] == '\r') {
		i++
	}
	return i
}

// skipValue gives the end of the value that begins at i of valid JSON.
func skipValue(text []byte, i int) int {
	depth := 0
	for ; i < len(text); i++ {
		switch text[i] {
		case '"':
			i = skipString(text, i) - 1
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i
			}
			depth--
		case ',', ':', ' ', '\t', '\n', '\r':
			if depth == 0 {
				return i
			}
			continue
		default:
			continue
		}
		if depth == 0 {
			return i + 1
		}
	}
	return i
}

func skipString(text []byte, i int) int {
	for i++; text[i] != '"'; i++ {
		if text[i] == '\\' {
			i++
		}
	}
	return i + 1
}

// decodeString gives the text of a valid JSON string.
func decodeString(quoted string) string {
	if strings.IndexByte(quoted, '\\') < 0 {
		return quoted[1 : len(quoted)-1]
	}
	var s string
	if err := json.Unmarshal([]byte(quoted), &s); err != nil {
		panic(fmt.Sprintf("pipeline: valid JSON string does not decode: %v", err))
	}
	return s
}

// appendCanonical writes valid JSON so that texts which mean the same are the
// same: members sorted by name, no blanks, strings without needless escapes,
// numbers as they were written.
func appendCanonical(dst []byte, value json.RawMessage) []byte {
	switch value[0] {
	case '{':
		return appendCanonicalObject(dst, takeApart(value))
	case '[':
		dst = append(dst, '[')
		for i, element := range elementsOf(value) {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendCanonical(dst, element)
		}
		return append(dst, ']')
	case '"':
		if bytes.IndexByte(value, '\\') < 0 {
			return append(dst, value...)
		}
		return appendCanonicalString(dst, decodeString(string(value)))
	}
	return append(dst, value...)
}

// appendCanonicalObject sorts the members it is given.
func appendCanonicalObject(dst []byte, members []member) []byte {
	slices.SortFunc(members, func(a, b member) int { return strings.Compare(a.name, b.name) })
	dst = append(dst, '{')
	for i, m := range members {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(appendCanonicalString(dst, m.name), ':')
		if m.fields != nil {
			dst = appendCanonicalObject(dst, m.fields)
		} else {
			dst = appendCanonical(dst, m.value)
		}
	}
	return append(dst, '}')
}

// appendCanonicalString escapes only what JSON must.
func appendCanonicalString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c < ' ':
			dst = fmt.Appendf(dst, `\u%04x`, c)
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}
