package simulator

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"
)

const typeAnnotation = "@odata.type"

// maxContent is the most that SpecificContent may hold, in bytes.
const maxContent = 500 << 10

// content is the SpecificContent of an item: data as stored and shown in SpecificData, shown as SpecificContent itself
// is read back. They differ in dates only. Both are empty where none was sent.
type content struct{ data, shown string }

// readContent takes SpecificContent as sent, which is valid JSON, into the form it is kept in.
func readContent(sent json.RawMessage, switches *Switches) (content, *refusal) {
	if len(sent) == 0 || string(sent) == "null" {
		return content{}, nil
	}
	if sent[0] != '{' {
		return content{}, nullParameter("itemData")
	}
	isText := typedText(sent)
	data := append(make([]byte, 0, len(sent)), '{')
	var shown []byte // nil until it differs from data
	for name, member := range members(sent) {
		if bytes.HasSuffix(name, []byte(typeAnnotation)) {
			continue
		}
		if member[0] == '{' || member[0] == '[' {
			return content{}, invalidArgument("The value of " + string(name) + " in SpecificContent is not a primitive type.")
		}
		if switches.RefuseBadNames && bytes.ContainsAny(name, `:.,@"#\`) {
			return content{}, invalidArgument("The name " + string(name) + " in SpecificContent contains characters that are not allowed.")
		}
		echo := member
		if !isText[string(name)] {
			echo = echoedDate(member)
		}
		if shown == nil && !bytes.Equal(echo, member) {
			shown = bytes.Clone(data)
		}
		if shown != nil {
			shown = appendMember(shown, name, echo)
		}
		data = appendMember(data, name, member)
	}
	return keptContent(append(data, '}'), shown)
}

func keptContent(data, shown []byte) (content, *refusal) {
	if len(data) > maxContent {
		return content{}, &refusal{
			code: codeInvalidArgument, name: "QueueItemContentSizeExceeded",
			message: "The size of SpecificContent exceeds the limit of 500 KB.",
		}
	}
	c := content{data: string(data)}
	c.shown = c.data
	if shown != nil {
		c.shown = string(append(shown, '}'))
	}
	return c, nil
}

func appendMember(object, name, value []byte) []byte {
	if len(object) > 1 {
		object = append(object, ',')
	}
	object = append(object, '"')
	object = append(object, name...)
	object = append(object, '"', ':')
	return append(object, value...)
}

// typedText returns the names that an annotation declares to be strings, whose values are then not taken for dates.
func typedText(object []byte) map[string]bool {
	if !bytes.Contains(object, []byte(typeAnnotation)) {
		return nil
	}
	typed := make(map[string]bool)
	for name, value := range members(object) {
		if member, ok := bytes.CutSuffix(name, []byte(typeAnnotation)); ok && strings.EqualFold(string(value), `"#String"`) {
			typed[string(member)] = true
		}
	}
	return typed
}

// echoedDate returns a value as SpecificContent gives it back: a date and time loses the zeros that end its fraction.
func echoedDate(value []byte) []byte {
	const shortest = len(`"2006-01-02T15:04:05.0Z"`)
	if len(value) < shortest || value[0] != '"' || value[11] != 'T' {
		return value
	}
	t, err := time.Parse(time.RFC3339Nano, string(value[1:len(value)-1]))
	if err != nil {
		return value
	}
	return []byte(`"` + t.Format(time.RFC3339Nano) + `"`)
}

// check holds the content against the queue's schema.
func (q *queue) check(c content, status int) *refusal {
	if q.schema == nil {
		return nil
	}
	decoder := json.NewDecoder(strings.NewReader(c.data))
	decoder.UseNumber()
	var document any = map[string]any{}
	if c.data != "" && decoder.Decode(&document) != nil {
		return nullParameter("itemData")
	}
	if q.schema.Validate(document) == nil {
		return nil
	}
	return &refusal{
		status: status, code: codeSchemaViolation, name: "QueueItemSchemaViolationException",
		message: "The queue item does not satisfy the schema of queue " + q.Name + ".",
	}
}
