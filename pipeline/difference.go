package pipeline

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"waybill/internal/shell"
)

// DifferenceError is a setting of a stream that contradicts what the protocol rests
// on. It is the error that a worker does not start with, too.
type DifferenceError struct {
	Role    StreamRole
	Stream  string
	Setting string
	Have    string
	Want    string
	// Permanent is a setting that NATS lets nobody change.
	Permanent bool
	// Flags are those of `nats stream edit` that change it, each quoted for a shell.
	Flags string
}

// Error says what is to be done about it as well.
func (d *DifferenceError) Error() string {
	return fmt.Sprintf("stream %s: %s is %s, it must be %s; %s", d.Stream, d.Setting, d.Have, d.Want, d.Mend())
}

// Mend says what is to be done about it, and what goes with a stream that has to
// be removed for it.
func (d *DifferenceError) Mend() string {
	stream, bucket := shell.Quote(d.Stream), shell.Quote(strings.TrimPrefix(d.Stream, kvStream("")))
	if !d.Permanent {
		return "change it, as an operator with --change-streams: `" + strings.TrimSpace("nats stream edit "+stream+" "+d.Flags) + "`"
	}
	text := "NATS lets nobody change it: stop the workers, "
	switch d.Role {
	case StreamLedger:
		text += "`nats stream backup " + stream + " FOLDER`, remove the stream, and `nats stream restore FOLDER --config FILE`, with the setting changed in FILE"
		if d.Setting == settingSealed {
			text += " (deny_delete and deny_purge too, which sealing has set)"
		}
		return text + "; never just remove it: what it holds keeps requests from being carried out twice, and no worker starts without"
	case StreamRequests:
		text += "and `nats stream rm " + stream + "`, which deletes all requests in it: those that were not carried out must be published again, which their keys make harmless"
	case StreamDeadLetters:
		text += "and `nats stream rm " + stream + "`, which deletes all dead letters: read them first, or keep them with `nats stream backup`"
	case StreamControl:
		text += "and `nats kv del " + bucket + "`, with which all that each lane is bound to is forgotten: lanes are bound anew to where their folders' paths lead then"
	case StreamTokens:
		text += "`nats kv del " + bucket + "`, which deletes the logins in it, and log in anew with `worker login`"
	}
	return text
}

// contradictions gives the differences as one error, or nil.
func contradictions(found []*DifferenceError) error {
	var faults []error
	for _, d := range found {
		faults = append(faults, d)
	}
	return errors.Join(faults...)
}

const settingSealed = "sealed"

// setting is one of a stream's, as it is and as it must be.
type setting struct {
	name       string
	have, want any
	permanent  bool
	flags      []string // of nats stream edit
}

// differences compares only what the protocol rests on.
func differences(role StreamRole, have, want jetstream.StreamConfig) []*DifferenceError {
	settings := kept(have, want)
	if role != StreamControl && role != StreamTokens { // a bucket's other settings are the client's
		settings = append(settings, ruled(have, want)...)
	}
	if role == StreamRequests { // what is settled is purged
		settings = append(settings, setting{"deny purge", have.DenyPurge, false, true, nil})
	}
	if role == StreamLedger {
		settings = append(
			settings,
			setting{"deny delete", have.DenyDelete, false, true, nil},                  // the news of what was accepted is deleted when it has ended
			setting{"sources", len(have.Sources), 0, false, []string{"--interactive"}}, // what is still to come from there is not known yet
		)
	}
	var found []*DifferenceError
	for _, s := range settings {
		if s.have == s.want {
			continue
		}
		d := &DifferenceError{Role: role, Stream: want.Name, Setting: s.name, Have: fmt.Sprint(s.have), Want: fmt.Sprint(s.want), Permanent: s.permanent}
		if !d.Permanent {
			d.Flags = quoteAll(s.flags)
		}
		found = append(found, d)
	}
	return found
}

func quoteAll(words []string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		quoted[i] = shell.Quote(word)
	}
	return strings.Join(quoted, " ")
}

// kept is what says whether an acknowledged write is still there after a crash.
// An asynchronous stream ignores sync_interval.
func kept(have, want jetstream.StreamConfig) []setting {
	return []setting{
		{"storage", have.Storage, want.Storage, true, nil},
		{"persist mode", have.PersistMode, want.PersistMode, true, nil},
		{settingSealed, have.Sealed, want.Sealed, true, nil},
	}
}

// ruled is how a stream takes, drops and gives messages.
func ruled(have, want jetstream.StreamConfig) []setting {
	return []setting{
		{"subjects", strings.Join(have.Subjects, " "), strings.Join(want.Subjects, " "), false, subjectFlags(want.Subjects)},
		{"retention", have.Retention, want.Retention, have.Retention == jetstream.WorkQueuePolicy, []string{"--retention=limits"}},
		{"discard policy", have.Discard, want.Discard, false, []string{"--discard=new"}},
		{"discard new per subject", have.DiscardNewPerSubject, want.DiscardNewPerSubject, false, []string{"--no-discard-per-subject"}},
		{"max age", have.MaxAge, want.MaxAge, false, []string{"--max-age=" + want.MaxAge.String()}},
		{"max messages per subject", max(have.MaxMsgsPerSubject, 0), want.MaxMsgsPerSubject, false, []string{fmt.Sprintf("--max-msgs-per-subject=%d", cmp.Or(want.MaxMsgsPerSubject, -1))}},
		{"duplicate window", have.Duplicates, want.Duplicates, false, []string{"--dupe-window=" + want.Duplicates.String()}},
		{"allow direct get", have.AllowDirect, want.AllowDirect, false, []string{"--allow-direct"}},
		{"allow message TTL", have.AllowMsgTTL, want.AllowMsgTTL, have.AllowMsgTTL, []string{"--allow-msg-ttl"}},
		{"allow atomic publish", have.AllowAtomicPublish, want.AllowAtomicPublish, have.PersistMode == jetstream.AsyncPersistMode, []string{switchFlag("allow-batch", want.AllowAtomicPublish)}},
		{"no ack", have.NoAck, want.NoAck, false, []string{"--ack"}},
	}
}

func subjectFlags(subjects []string) (flags []string) {
	for _, subject := range subjects {
		flags = append(flags, "--subjects="+subject)
	}
	return flags
}

func switchFlag(name string, on bool) string {
	if on {
		return "--" + name
	}
	return "--no-" + name
}
