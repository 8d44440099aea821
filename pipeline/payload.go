package pipeline

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf16"

	"github.com/go-json-experiment/json/jsontext"

	"waybill/orchestrator"
)

// What UiPath takes at most, by its API guide and its OpenAPI definition.
// Characters are UTF-16 code units there.
const (
	maxReference       = 128
	maxInputArguments  = 10_000
	maxSpecificContent = 500 * 1024 // bytes of JSON
)

// payload is what a request asks Orchestrator for, checked and ready to send:
// an item or the start of a job, with the hash that tells it from another
// payload under the same key.
type payload struct {
	item      orchestrator.QueueItemData
	job       orchestrator.StartInfo
	reference string
	hash      string
}

// ownReference reports whether the Reference is the key itself. Only then does
// finding it in Orchestrator say that the item or job is this request's.
func (p payload) ownReference(key string) bool { return p.reference == key }

// newItemPayload reads the member item: UiPath's QueueItemDataDto. Members it
// does not know are passed on.
func newItemPayload(key, queue string, members []member) (payload, error) {
	item := orchestrator.QueueItemData{Name: queue, Reference: key}
	var faults []error
	for _, m := range members {
		if err := setItemMember(&item, queue, m); err != nil {
			faults = append(faults, err)
		}
	}
	p := payload{item: item, reference: item.Reference, hash: hashPayload(key, members)}
	return p, joinFaults(faults...)
}

func setItemMember(item *orchestrator.QueueItemData, queue string, m member) error {
	const in = "item"
	if m.isNull() {
		return nil
	}
	var err error
	switch m.name {
	case "Name":
		var name string
		if name, err = m.text(in); err == nil && !strings.EqualFold(name, queue) {
			err = &InvalidError{Field: m.field(in), Value: name, Mend: fmt.Sprintf("the subject says queue %q; leave Name out", queue)}
		}
	case "Reference":
		item.Reference, err = m.reference(in)
	case "Priority":
		item.Priority, err = m.oneOf(in, "High", "Normal", "Low")
	case "DeferDate":
		item.DeferDate, err = m.date(in)
	case "DueDate":
		item.DueDate, err = m.date(in)
	case "RiskSlaDate":
		if _, err = m.date(in); err == nil {
			addExtra(&item.Extra, m)
		}
	case "SpecificContent":
		item.SpecificContent, err = m.specificContent(in)
	default:
		err = addFurther(&item.Extra, in, m, itemMembers)
	}
	return err
}

// newJobPayload reads the member job: UiPath's StartProcessDto. What would
// start more than one job, or another process than the subject's, is refused:
// one request is one effect.
func newJobPayload(key, process string, members []member) (payload, error) {
	job := orchestrator.StartInfo{Reference: key, JobsCount: 1}
	var faults []error
	for _, m := range members {
		if err := setJobMember(&job, process, m); err != nil {
			faults = append(faults, err)
		}
	}
	if _, specific := job.Extra["SpecificPriorityValue"]; specific && job.JobPriority != "" {
		faults = append(faults, &InvalidError{Field: "job.JobPriority", Value: job.JobPriority, Mend: "Orchestrator takes either JobPriority or SpecificPriorityValue"})
	}
	if _, file := job.Extra["InputFile"]; file && job.InputArguments != "" {
		faults = append(faults, &InvalidError{Field: "job.InputFile", Mend: "Orchestrator takes either InputFile or InputArguments"})
	}
	p := payload{job: job, reference: job.Reference, hash: hashPayload(key, members)}
	return p, joinFaults(faults...)
}

func setJobMember(job *orchestrator.StartInfo, process string, m member) error {
	const in = "job"
	if m.isNull() {
		return nil
	}
	var err error
	switch m.name {
	case "ReleaseName":
		var name string
		if name, err = m.text(in); err == nil && !strings.EqualFold(name, process) {
			err = &InvalidError{Field: m.field(in), Value: name, Mend: fmt.Sprintf("the subject says process %q; leave ReleaseName out", process)}
		}
	case "ReleaseKey", "BatchExecutionKey", "NoOfRobots":
		err = &InvalidError{Field: m.field(in), Value: string(m.value), Mend: "leave it out, it is set for every request"}
	case "JobsCount":
		if string(m.value) != "1" {
			err = &InvalidError{Field: m.field(in), Value: string(m.value), Mend: "one request starts one job; publish a request for each"}
		}
	case "Strategy":
		job.Strategy, err = m.oneOf(in, "ModernJobsCount", "JobsCount", "Specific")
	case "RobotIds", "MachineRobots", "MachineSessionIds":
		if err = m.atMostOne(in); err == nil {
			addExtra(&job.Extra, m)
		}
	case "Reference":
		job.Reference, err = m.reference(in)
	case "JobPriority":
		job.JobPriority, err = m.oneOf(in, "High", "Normal", "Low")
	case "RuntimeType":
		job.RuntimeType, err = m.text(in)
	case "InputArguments":
		job.InputArguments, err = m.inputArguments(in)
	default:
		err = addFurther(&job.Extra, in, m, jobMembers)
	}
	return err
}

// The members that are checked here, in UiPath's spelling.
var (
	itemMembers = []string{"Name", "Reference", "Priority", "DeferDate", "DueDate", "RiskSlaDate", "SpecificContent"}
	jobMembers  = []string{
		"ReleaseName", "ReleaseKey", "BatchExecutionKey", "NoOfRobots", "JobsCount", "Strategy", "RobotIds", "MachineRobots",
		"MachineSessionIds", "Reference", "JobPriority", "SpecificPriorityValue", "RuntimeType", "InputArguments", "InputFile",
	}
)

// addFurther passes a member on that is not checked here. One that differs from
// a checked one by case alone is refused: whether Orchestrator tells them apart
// or not, it would have gone past the check.
func addFurther(extra *map[string]json.RawMessage, in string, m member, checked []string) error {
	if m.name == "" {
		return &InvalidError{Field: in, Mend: "it has a member without a name; name it"}
	}
	for _, name := range checked {
		if strings.EqualFold(m.name, name) && m.name != name {
			return &InvalidError{Field: m.field(in), Value: string(m.value), Mend: "spell the member " + name}
		}
	}
	addExtra(extra, m)
	return nil
}

func addExtra(extra *map[string]json.RawMessage, m member) {
	if *extra == nil {
		*extra = make(map[string]json.RawMessage)
	}
	(*extra)[m.name] = m.value
}

// hashPayload tells payloads apart: SHA-256 over the members in canonical
// JSON, as appendCanonical writes it. A Reference equal to the key is left
// out, since it is what a request without one gets; so is a null.
func hashPayload(key string, members []member) string {
	kept := make([]member, 0, len(members))
	for _, m := range members {
		if !m.isNull() && (m.name != "Reference" || m.value[0] != '"' || decodeString(string(m.value)) != key) {
			kept = append(kept, m)
		}
	}
	size := 0
	for _, m := range kept {
		size += len(m.name) + len(m.value) + 4
	}
	sum := sha256.Sum256(appendCanonicalObject(make([]byte, 0, size), kept))
	return "sha256:" + hex.EncodeToString(sum[:])
}

func (m member) text(in string) (string, error) {
	if m.value[0] != '"' {
		return "", &InvalidError{Field: m.field(in), Value: string(m.value), Mend: "it must be a string"}
	}
	return decodeString(string(m.value)), nil
}

func (m member) oneOf(in string, allowed ...string) (string, error) {
	s, err := m.text(in)
	if err == nil && !slices.Contains(allowed, s) {
		err = &InvalidError{Field: m.field(in), Value: s, Mend: "use " + strings.Join(allowed, ", ")}
	}
	return s, err
}

// date checks the form and keeps the text, so that Orchestrator sees what the
// producer wrote.
func (m member) date(in string) (string, error) {
	s, err := m.text(in)
	if err != nil {
		return s, err
	}
	if _, err = parseDate("", s); err != nil { // the field is named only where it is told
		_, err = parseDate(m.field(in), s)
	}
	return s, err
}

func (m member) reference(in string) (string, error) {
	s, err := m.text(in)
	if err != nil {
		return "", err
	}
	if n := utf16Len(s); n == 0 || n > maxReference {
		return s, &InvalidError{Field: m.field(in), Value: s, Mend: fmt.Sprintf("it has %d characters, 1 to %d are allowed; leave it out to use the key", n, maxReference)}
	}
	return s, nil
}

func (m member) atMostOne(in string) error {
	if m.value[0] != '[' {
		return &InvalidError{Field: m.field(in), Value: string(m.value), Mend: "it must be a list"}
	}
	if n := len(elementsOf(m.value)); n > 1 {
		return &InvalidError{Field: m.field(in), Value: string(m.value), Mend: fmt.Sprintf("it names %d, which would start a job on each; one request starts one job", n)}
	}
	return nil
}

// specificContent takes the object of an item's own fields: flat, since
// Orchestrator's items hold scalars only.
func (m member) specificContent(in string) (json.RawMessage, error) {
	if len(m.value) > maxSpecificContent {
		return nil, &InvalidError{Field: m.field(in), Mend: fmt.Sprintf("it has %d bytes, Orchestrator takes %d; put the data in a storage bucket and send its name", len(m.value), maxSpecificContent)}
	}
	fields, err := m.object()
	if err != nil {
		return nil, &InvalidError{Field: m.field(in), Mend: err.Error()}
	}
	var faults []error
	for _, f := range fields {
		if c := f.value[0]; c == '{' || c == '[' {
			faults = append(faults, &InvalidError{Field: m.field(in) + "." + f.name, Value: string(f.value), Mend: "queue items hold text, numbers, true, false and null only; send nested data as a string of JSON"})
		}
		if f.name == "" || strings.ContainsAny(strings.TrimSuffix(f.name, "@odata.type"), `:.,@"#`) {
			faults = append(faults, &InvalidError{Field: m.field(in), Value: f.name, Mend: `Orchestrator's field names have none of : . , @ " # and are not empty; rename it`})
		}
	}
	return m.value, joinFaults(faults...)
}

// inputArguments gives the string of JSON that UiPath wants, from an object or
// from that string.
func (m member) inputArguments(in string) (string, error) {
	invalid := func(value, mend string) error {
		return &InvalidError{Field: m.field(in), Value: value, Mend: mend}
	}
	const mend = "it must be a JSON object of the process's arguments, or a string that holds one: "
	var text string
	switch m.value[0] {
	case '{':
		compact := jsontext.Value(bytes.Clone(m.value))
		if err := compact.Compact(); err != nil {
			return "", invalid("", err.Error())
		}
		text = string(compact)
	case '"':
		text = decodeString(string(m.value))
		if _, err := readObject([]byte(text)); err != nil {
			return "", invalid(text, mend+err.Error())
		}
	default:
		return "", invalid(string(m.value), mend+"it is neither")
	}
	if len(text) > maxInputArguments { // no text has more characters than bytes
		if n := utf16Len(text); n > maxInputArguments {
			return "", invalid("", fmt.Sprintf("it has %d characters, Orchestrator takes %d; send the data by queue item or storage bucket", n, maxInputArguments))
		}
	}
	return text, nil
}

// utf16Len counts as UiPath's limits do.
func utf16Len(s string) int {
	n := 0
	for _, r := range s {
		n += max(1, utf16.RuneLen(r))
	}
	return n
}
