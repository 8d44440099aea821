package pipeline

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Until says how far a request is followed before its final outcome.
type Until string

// Accepted is reached when Orchestrator holds the item or the job; Completed
// when the job or the transaction has ended.
const (
	UntilAccepted  Until = "accepted"
	UntilCompleted Until = "completed"
)

const (
	maxKeyBytes = 128
	// madeUpKeyPrefix opens the keys of requests that came without a readable
	// one: the stream sequence follows. Nobody else may use it.
	madeUpKeyPrefix = "-seq-"
)

// Request is the body of one request message: ask for one queue item or for
// one job. The subject it is published on says in which lane. See
// docs/asyncapi.yaml for the wire form.
//
// Item and Job hold UiPath's own members (QueueItemDataDto and
// StartProcessDto); exactly one of them is set. The last four members may
// repeat what the subject says; where they disagree with it, the request is
// rejected.
type Request struct {
	Key      string          `json:"key,omitempty"`
	Until    Until           `json:"until,omitempty"`
	NotAfter time.Time       `json:"notAfter,omitzero"`
	Item     json.RawMessage `json:"item,omitempty"`
	Job      json.RawMessage `json:"job,omitempty"`

	Tenant  string `json:"tenant,omitempty"`
	Folder  string `json:"folder,omitempty"`
	Queue   string `json:"queue,omitempty"`
	Process string `json:"process,omitempty"`
}

// HeaderKey may carry a request's key in place of the body.
const HeaderKey = "Waybill-Key"

// DecodeRequest reads a request's body strictly: UTF-8, one JSON object, no
// member that is not known, none twice, at whatever depth. The error, an
// *InvalidError, names the member. Whatever could be read is returned beside the
// error, so that a broken request can still be answered under its key.
func DecodeRequest(body []byte) (Request, error) {
	r, _, err := decodeRequest(body)
	return r, err
}

// decodeRequest is DecodeRequest and gives the member item or job as well, taken
// apart.
func decodeRequest(body []byte) (r Request, asked member, err error) {
	if !utf8.Valid(body) {
		return r, asked, &InvalidError{Field: "body", Mend: "it is not UTF-8; publish JSON encoded as UTF-8"}
	}
	var faults []error
	members, err := readObject(body)
	if err != nil {
		faults = append(faults, &InvalidError{Field: "body", Mend: err.Error()})
	}
	for _, m := range members {
		if err := r.set(m); err != nil {
			faults = append(faults, err)
		}
		if !m.isNull() && (m.name == "item" || m.name == "job") {
			asked = m
		}
	}
	return r, asked, joinFaults(faults...)
}

// set takes one member over. A null counts as absent.
func (r *Request) set(m member) error {
	if !slices.Contains(requestMembers, m.name) {
		return &InvalidError{Field: m.name, Mend: "there is no such member of a request; it has key, until, notAfter, item or job, and may repeat tenant, folder, queue or process"}
	}
	switch {
	case m.isNull():
		return nil
	case m.name == "item":
		r.Item = m.value
		return nil
	case m.name == "job":
		r.Job = m.value
		return nil
	}
	text, err := m.text("")
	if err != nil {
		return err
	}
	switch m.name {
	case "key":
		r.Key = text
	case "until":
		r.Until = Until(text)
	case "notAfter":
		r.NotAfter, err = parseDate(m.name, text)
	case "tenant":
		r.Tenant = text
	case "folder":
		r.Folder = text
	case "queue":
		r.Queue = text
	case "process":
		r.Process = text
	}
	return err
}

var requestMembers = []string{"key", "until", "notAfter", "item", "job", "tenant", "folder", "queue", "process"}

// Kind is what the request asks for, by the member it has.
func (r Request) Kind() Kind {
	if r.Job != nil {
		return KindJob
	}
	return KindItem
}

// Validate holds the request against its lane and against what Orchestrator
// can take, and reports everything that is wrong, each fault as an
// *InvalidError, joined.
func (r Request) Validate(lane Lane) error {
	_, err := r.payload(lane, r.read)
	return err
}

// PayloadHash checks the request as Validate does and gives the hash under
// which the ledger knows what it asks for: two requests of one key that differ
// in it are a key conflict.
func (r Request) PayloadHash(lane Lane) (string, error) {
	p, err := r.payload(lane, r.read)
	return p.hash, err
}

// payload checks the request and gives what is to be sent for it. read takes the
// member item or job apart.
func (r Request) payload(lane Lane, read func() ([]member, error)) (payload, error) {
	faults := []error{lane.Validate(), ValidateKey(r.Key), r.validateUntil(), r.validateLane(lane)}
	var p payload
	var err error
	switch {
	case (r.Item == nil) == (r.Job == nil):
		err = &InvalidError{Field: "body", Mend: "give exactly one of the members item and job"}
	case r.Kind() != lane.Kind:
		err = &InvalidError{Field: string(r.Kind()), Mend: fmt.Sprintf("the subject is one for %s; publish it on the subject for %s", lane.Kind.token(), r.Kind().token())}
	default:
		var members []member
		if members, err = read(); err != nil {
			err = &InvalidError{Field: string(lane.Kind), Mend: err.Error()}
			break
		}
		if lane.Kind == KindItem {
			p, err = newItemPayload(r.Key, lane.Name, members)
		} else {
			p, err = newJobPayload(r.Key, lane.Name, members)
		}
	}
	return p, joinFaults(append(faults, err)...)
}

// read takes the member item or job of a request apart that nobody has read.
func (r Request) read() ([]member, error) {
	if r.Job != nil {
		return readObject(r.Job)
	}
	return readObject(r.Item)
}

func (r Request) validateUntil() error {
	switch cmp.Or(r.Until, UntilAccepted) {
	case UntilAccepted, UntilCompleted:
		return nil
	}
	return &InvalidError{Field: "until", Value: string(r.Until), Mend: "use accepted or completed"}
}

// validateLane refuses a body that says another lane than the subject. Queue
// names are compared without regard to case, as Orchestrator does.
func (r Request) validateLane(lane Lane) error {
	var faults []error
	differs := func(field, body, subject string) {
		faults = append(faults, &InvalidError{Field: field, Value: body, Mend: fmt.Sprintf("the subject says %q; leave the member out or publish on the right subject", subject)})
	}
	if r.Tenant != "" && r.Tenant != lane.Tenant {
		differs("tenant", r.Tenant, lane.Tenant)
	}
	if r.Folder != "" && r.Folder != lane.Folder {
		differs("folder", r.Folder, lane.Folder)
	}
	if r.Queue != "" && (lane.Kind != KindItem || !strings.EqualFold(r.Queue, lane.Name)) {
		differs("queue", r.Queue, lane.Name)
	}
	if r.Process != "" && (lane.Kind != KindJob || !strings.EqualFold(r.Process, lane.Name)) {
		differs("process", r.Process, lane.Name)
	}
	return joinFaults(faults...)
}

// ValidateKey refuses keys that are empty, over 128 bytes, not UTF-8, not fit
// for a header, or of the form reserved for requests without a key.
func ValidateKey(key string) error {
	switch {
	case key == "":
		return &InvalidError{Field: "key", Mend: "give the request a key of its own, in the body's member key or in the header " + HeaderKey}
	case len(key) > maxKeyBytes:
		return &InvalidError{Field: "key", Value: key, Mend: fmt.Sprintf("it has %d bytes, %d are allowed", len(key), maxKeyBytes)}
	case !utf8.ValidString(key):
		return &InvalidError{Field: "key", Value: key, Mend: "it is not UTF-8"}
	case !isPlain(key) && (strings.TrimSpace(key) != key || strings.ContainsFunc(key, unicode.IsControl)):
		return &InvalidError{Field: "key", Value: key, Mend: "it has blanks at an end, or control characters, which a header cannot carry; trim it"}
	case strings.HasPrefix(key, madeUpKeyPrefix):
		return &InvalidError{Field: "key", Value: key, Mend: "keys that begin with " + madeUpKeyPrefix + " are reserved; choose another"}
	}
	return nil
}

// mergeKey agrees on the key of a request whose key may stand in the body, in
// the header, or in both. The body's stays where they differ, so that the
// fault can be answered under it.
func (r *Request) mergeKey(header string) error {
	if header == "" || header == r.Key {
		return nil
	}
	if r.Key == "" {
		r.Key = header
		return nil
	}
	return &InvalidError{Field: "key", Value: r.Key, Mend: fmt.Sprintf("the header %s says %q; send one of them, or both alike", HeaderKey, clip(header, maxKeyBytes))}
}

// parseDate reads a date that UiPath will read too: RFC 3339 with a zone. One
// without a zone would mean another moment on every machine.
func parseDate(field, value string) (time.Time, error) {
	var t time.Time
	if err := t.UnmarshalText([]byte(value)); err == nil { // stricter than time.Parse
		return t, nil
	}
	mend := "write it as 2006-01-02T15:04:05Z or with an offset such as +02:00"
	for _, layout := range []string{"2006-01-02T15:04:05.999999999", "2006-01-02T15:04", time.DateTime, time.DateOnly} {
		if _, err := time.Parse(layout, value); err == nil {
			mend = "it has no time zone; " + mend
			break
		}
	}
	return time.Time{}, &InvalidError{Field: field, Value: value, Mend: mend}
}
