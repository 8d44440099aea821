package sheet

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"waybill/pipeline"
)

// request asks for the row's item. Every fault is named by its column.
func (s *Sheet) request(key string, fields []string) (pipeline.Request, error) {
	item, faults := s.item(key, fields)
	r := pipeline.Request{Key: key, Until: s.opts.Until, NotAfter: s.opts.NotAfter, Item: item}
	for _, fault := range Faults(r.Validate(s.opts.Lane)) {
		named := *fault
		named.Field = s.columnOf(fault.Field)
		faults = append(faults, &named)
	}
	return r, errors.Join(faults...)
}

// item writes the row as UiPath's QueueItemDataDto, the columns in their order.
func (s *Sheet) item(key string, fields []string) (json.RawMessage, []error) {
	members := object{}
	content := object{}
	var faults []error
	for i, c := range s.columns {
		name, value, err := s.member(c, fields[i])
		if err != nil {
			faults = append(faults, &pipeline.InvalidError{Field: c.name, Value: fields[i], Mend: err.Error()})
			continue
		}
		switch {
		case c.role == roleContent:
			content.add(name, value)
		case name != "" && (c.role != roleReference || value != key):
			members.add(name, value)
		}
	}
	if s.at(rolePriority) < 0 && s.opts.Priority != "" {
		members.add("Priority", s.opts.Priority)
	}
	members.add("SpecificContent", content.json())
	return members.json(), faults
}

// member gives what a value becomes in the item: no name for nothing.
func (s *Sheet) member(c column, text string) (name string, value any, err error) {
	trimmed := strings.TrimSpace(text)
	switch c.role {
	case roleContent:
		value, err = c.kind.value(text)
		return c.name, value, err
	case rolePriority:
		value, err = priority(trimmed, s.opts.Priority)
		name = "Priority"
	case roleReference:
		name, value = "Reference", trimmed
	case roleDeadline:
		value, err = date(trimmed, s.opts.Location)
		name = "DueDate"
	case rolePostpone:
		value, err = date(trimmed, s.opts.Location)
		name = "DeferDate"
	case roleIgnored:
	}
	if value == "" {
		name = ""
	}
	return name, value, err
}

// value reads a value of content. An empty one of a column that is not text is
// null.
func (t Type) value(text string) (any, error) {
	trimmed := strings.TrimSpace(text)
	switch {
	case t == Text:
		return text, nil
	case trimmed == "":
		return nil, nil //nolint:nilnil // JSON's null
	case t == Boolean && strings.EqualFold(trimmed, "true"):
		return true, nil
	case t == Boolean && strings.EqualFold(trimmed, "false"):
		return false, nil
	case t == Boolean:
		return nil, errors.New("the column's type is boolean; write true or false")
	case strings.ContainsAny(trimmed[:1], "-0123456789") && json.Valid([]byte(trimmed)):
		return json.Number(trimmed), nil
	}
	return nil, errors.New("the column's type is number; write it as 1234.56, with a point and no other separators")
}

// priority takes the words and the numbers that Orchestrator's CSV upload
// takes.
func priority(text, otherwise string) (string, error) {
	switch strings.ToLower(text) {
	case "":
		return otherwise, nil
	case "high", "3":
		return "High", nil
	case "normal", "2":
		return "Normal", nil
	case "low", "1":
		return "Low", nil
	}
	return "", errors.New("use High, Normal or Low (or 3, 2, 1)")
}

// date gives a date with its zone, as RFC 3339. One without a zone, in the
// forms of Orchestrator's CSV upload, is read in the location.
func date(text string, location *time.Location) (string, error) {
	if text == "" {
		return "", nil
	}
	if _, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return text, nil
	}
	for _, day := range []string{"2006-01-02", "2006/01/02", "2006 01 02"} {
		for _, clock := range []string{"", " 15:04", " 15:04:05", "T15:04", "T15:04:05"} {
			t, err := time.Parse(day+clock, text)
			if err != nil {
				continue
			}
			return inZone(t, location)
		}
	}
	return "", errors.New("it is no date that can be read; write it as 2026-12-31T17:30:00+01:00, or as 2026-12-31 17:30 and give --timezone")
}

// inZone reads the clock of t, which has no zone, as one in the location.
func inZone(t time.Time, location *time.Location) (string, error) {
	if location == nil {
		return "", fmt.Errorf("it has no time zone, so it would be another moment elsewhere; write it as %s+01:00, or say --timezone Europe/Vienna for all of them", t.Format("2006-01-02T15:04:05"))
	}
	local := time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), location)
	if !local.Equal(t) && local.Format(time.DateTime) != t.Format(time.DateTime) {
		return "", fmt.Errorf("there is no such time in %s, the clocks are put forward then; choose another", location)
	}
	return local.Format(time.RFC3339Nano), nil
}

// Faults takes joined errors apart.
func Faults(err error) []*pipeline.InvalidError {
	if fault, ok := err.(*pipeline.InvalidError); ok { //nolint:errorlint // taken apart below
		return []*pipeline.InvalidError{fault}
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return nil
	}
	var faults []*pipeline.InvalidError
	for _, e := range joined.Unwrap() {
		faults = append(faults, Faults(e)...)
	}
	return faults
}

// object writes a JSON object whose members stay in order.
type object struct {
	b bytes.Buffer
}

func (o *object) add(name string, value any) {
	separator := byte(',')
	if o.b.Len() == 0 {
		separator = '{'
	}
	o.b.WriteByte(separator)
	o.b.Write(encode(name))
	o.b.WriteByte(':')
	o.b.Write(encode(value))
}

func (o *object) json() json.RawMessage {
	if o.b.Len() == 0 {
		return json.RawMessage("{}")
	}
	o.b.WriteByte('}')
	return o.b.Bytes()
}

func encode(value any) []byte {
	text, err := json.Marshal(value)
	if err != nil {
		panic(fmt.Sprintf("sheet: %T does not encode: %v", value, err))
	}
	return text
}
