package history

import (
	"slices"

	"waybill/pipeline"
)

// judgeDeadLetters holds the dead letters of a key against its outcome: which
// payload the key stands for is told by that alone, since any of two may have
// been claimed first.
func (c *checker) judgeDeadLetters(s *story) {
	last, ok := s.last()
	if !ok {
		return // there is nothing to hold them against, and it is lost already
	}
	own, complete := ownReasons(last), true
	for _, r := range s.requests {
		if reason := r.buriedAs(last); reason != "" && !s.hasDeadLetter(r.Sequence, reason) {
			complete = complete && !slices.Contains(own, reason) // one that is missing is told once
			c.lost(s, "the request with sequence %d has no dead letter with the reason %s", r.Sequence, reason)
		}
	}
	if complete && len(own) > 0 && !slices.ContainsFunc(own, func(reason string) bool { return s.hasDeadLetter(0, reason) }) {
		c.lost(s, "reported %s, and there is no dead letter", brief(last))
	}
	for _, d := range s.dead {
		if !slices.Contains(own, d.Reason) && !s.explains(d, last) {
			c.contradicts(s, "reported %s, and the request with sequence %d has a dead letter with the reason %s", brief(last), d.Sequence, d.Reason)
		}
	}
}

// buriedAs is the reason of the dead letter that a request must have, whatever
// became of its key; empty if it need not have one.
func (r Request) buriedAs(last pipeline.Outcome) string {
	switch {
	case r.Invalid:
		return pipeline.ReasonInvalid
	case r.Payload != "" && r.Payload != last.PayloadHash:
		return pipeline.ReasonKeyConflict
	}
	return ""
}

// ownReasons are those that the dead letter of an outcome may give; none if it
// has no dead letter.
func ownReasons(o pipeline.Outcome) []string {
	switch o.Status {
	case pipeline.StatusRejected:
		return []string{pipeline.ReasonInvalid, pipeline.ReasonRejected}
	case pipeline.StatusExpired:
		return []string{pipeline.ReasonExpired}
	case pipeline.StatusUnknown:
		return []string{pipeline.ReasonUnknown}
	default:
		return nil
	}
}

// hasDeadLetter looks for a dead letter of the request with this sequence; 0
// is any.
func (s *story) hasDeadLetter(sequence uint64, reason string) bool {
	return slices.ContainsFunc(s.dead, func(d DeadLetter) bool {
		return d.Reason == reason && (sequence == 0 || d.Sequence == sequence)
	})
}

// explains reports whether there is a request that must have this dead letter.
// One that is not known by its sequence may be a copy of any other.
func (s *story) explains(d DeadLetter, last pipeline.Outcome) bool {
	known := slices.IndexFunc(s.requests, func(r Request) bool { return r.Sequence == d.Sequence })
	if known >= 0 {
		return s.requests[known].mayBeBuriedAs(d.Reason, last)
	}
	return slices.ContainsFunc(s.requests, func(r Request) bool { return r.mayBeBuriedAs(d.Reason, last) })
}

// mayBeBuriedAs lets what is not known to ask for the same ask for something
// else.
func (r Request) mayBeBuriedAs(reason string, last pipeline.Outcome) bool {
	return r.buriedAs(last) == reason || !r.Invalid && r.Payload == "" && reason == pipeline.ReasonKeyConflict
}
