package pipeline

import (
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// DifferenceError is a setting of a stream that contradicts what the protocol rests
// on. It is the error that a worker does not start with, too.
type DifferenceError struct {
	Stream  string
	Setting string
	Have    string
	Want    string
}

// Error says what is to be done about it as well.
func (d *DifferenceError) Error() string {
	return fmt.Sprintf("stream %s: %s is %s, it must be %s; change it with the nats CLI or remove the stream", d.Stream, d.Setting, d.Have, d.Want)
}

// contradictions gives the differences as one error, or nil.
func contradictions(have, want jetstream.StreamConfig) error {
	return joined(differences(have, want))
}

func joined(found []*DifferenceError) error {
	var faults []error
	for _, d := range found {
		faults = append(faults, d)
	}
	return errors.Join(faults...)
}

// differences compares only what the protocol rests on.
func differences(have, want jetstream.StreamConfig) []*DifferenceError {
	var found []*DifferenceError
	for _, c := range []struct {
		setting    string
		have, want any
	}{
		{"subjects", strings.Join(have.Subjects, " "), strings.Join(want.Subjects, " ")},
		{"retention", have.Retention, want.Retention},
		{"discard policy", have.Discard, want.Discard},
		{"discard new per subject", have.DiscardNewPerSubject, want.DiscardNewPerSubject},
		{"storage", have.Storage, want.Storage},
		{"max age", have.MaxAge, want.MaxAge},
		{"max messages per subject", max(have.MaxMsgsPerSubject, 0), want.MaxMsgsPerSubject},
		{"duplicate window", have.Duplicates, want.Duplicates},
		{"allow direct get", have.AllowDirect, want.AllowDirect},
		{"allow message TTL", have.AllowMsgTTL, want.AllowMsgTTL},
		{"allow atomic publish", have.AllowAtomicPublish, want.AllowAtomicPublish},
		{"no ack", have.NoAck, want.NoAck},
		{"sealed", have.Sealed, want.Sealed},
	} {
		if c.have != c.want {
			found = append(found, &DifferenceError{Stream: want.Name, Setting: c.setting, Have: fmt.Sprint(c.have), Want: fmt.Sprint(c.want)})
		}
	}
	return found
}
