package pipeline

import (
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/nats-io/nats.go"
)

// Headers of a dead letter, beside those the request came with. Its body is
// the request's, byte for byte.
const (
	HeaderReason           = "Waybill-Reason"
	HeaderError            = "Waybill-Error"
	HeaderGeneration       = "Waybill-Generation"
	HeaderAttempts         = "Waybill-Attempts"
	HeaderRequestSubject   = "Waybill-Request-Subject"
	HeaderRequestSequence  = "Waybill-Request-Sequence"
	HeaderRequestedAt      = "Waybill-Requested-At"
	HeaderFirstDeliveredAt = "Waybill-First-Delivered-At"
	HeaderWorker           = "Waybill-Worker"
	// HeaderCut says what was left out of a request that the server could not
	// store with its dead letter's headers: headers, body, or both.
	HeaderCut = "Waybill-Cut"
)

// The reasons that HeaderReason gives.
const (
	ReasonInvalid     = "invalid"      // it can never work, by our own checks
	ReasonRejected    = "rejected"     // nor by Orchestrator's word
	ReasonKeyConflict = "key_conflict" // its key stands for another payload
	ReasonExpired     = "expired"
	ReasonUnknown     = "unknown" // what became of it nobody can tell
)

const (
	// maxForeignHeaders bounds what is copied of the request's own headers.
	maxForeignHeaders = 16 << 10
	// deadLetterRoom is what a dead letter needs beside the body.
	deadLetterRoom = maxForeignHeaders + 16<<10
)

// deadLetter copies a request, whole unless the server could not store it so,
// with why it came to nothing and what was
// tried, for an operator to judge and to replay.
func (r *runner) deadLetter(lane Lane, d *delivery) *nats.Msg {
	msg := nats.NewMsg(r.cfg.Topology.DeadLetterSubject(lane))
	msg.Data = d.msg.Data()
	var cut []string
	if size := copyHeaders(msg.Header, d.msg.Headers()); size > maxForeignHeaders {
		clear(msg.Header)
		cut = append(cut, "headers")
	}
	if most := int(r.js.Conn().MaxPayload()) - deadLetterRoom; most > 0 && len(msg.Data) > most {
		msg.Data = msg.Data[:most]
		cut = append(cut, "body")
	}
	if len(cut) > 0 {
		msg.Header.Set(HeaderCut, strings.Join(cut, ", "))
	}
	sequence := strconv.FormatUint(d.sequence, 10)
	for name, value := range map[string]string{
		nats.MsgIdHdr:          sequence + "/" + d.verdict.deadLetter,
		HeaderKey:              d.key,
		HeaderReason:           d.verdict.deadLetter,
		HeaderError:            oneLine(d.why()),
		HeaderGeneration:       strconv.Itoa(d.claim.Generation),
		HeaderAttempts:         strconv.Itoa(d.attempts()),
		HeaderRequestSubject:   d.msg.Subject(),
		HeaderRequestSequence:  sequence,
		HeaderRequestedAt:      d.publishedAt.UTC().Format(time.RFC3339Nano),
		HeaderFirstDeliveredAt: d.receivedAt.UTC().Format(time.RFC3339Nano),
		HeaderWorker:           r.cfg.Worker,
	} {
		msg.Header.Set(name, value)
	}
	return msg
}

// copyHeaders copies a request's own headers and gives their size. Those of
// NATS were for the stream it stood in; those named like ours, in whatever
// letters, would be read in place of what we say.
func copyHeaders(to, from nats.Header) (size int) {
	for name, values := range from {
		if lower := strings.ToLower(name); strings.HasPrefix(lower, "nats-") || strings.HasPrefix(lower, "waybill-") {
			continue
		}
		to[name] = values
		for _, value := range values {
			size += len(name) + len(value) + len(": \r\n")
		}
	}
	return size
}

// why is the error in words.
func (d *delivery) why() string {
	switch {
	case d.verdict.outcome != nil && d.verdict.outcome.Error != nil:
		return d.verdict.outcome.Error.Message
	case d.fault != nil:
		return d.fault.Error()
	}
	return "the key stands for another payload already; publish this one under a key of its own"
}

// oneLine makes a text fit for a header: joined faults stand on lines of
// their own.
func oneLine(s string) string {
	const most = 1000
	s = strings.ToValidUTF8(strings.ReplaceAll(s, "\n", "; "), "?")
	return clip(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s), most)
}
