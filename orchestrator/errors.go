package orchestrator

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Kind says what to do next about a call that did not succeed. The set is
// closed: every error of this package that a call returns has one of these.
type Kind int

const (
	// Transient is surely not done, worth another try. A refused connection, an
	// unknown host, 429, a token endpoint that is down; and for reads every
	// network failure, every 5xx and every answer that cannot be understood.
	Transient Kind = iota + 1
	// Uncertain is a write that may or may not have been done. The request was
	// sent and no usable answer came back: a timeout, a cut connection, 408,
	// any 5xx, a redirect, or a 2xx that is not the JSON it should be.
	Uncertain
	// Duplicate says that the queue enforces unique references and has this one already.
	Duplicate
	// Rejected says that this request can never work, others may.
	Rejected
	// Denied says that nobody's request works with this configuration: a refused login,
	// a missing permission, an address behind which there is no Orchestrator.
	Denied
)

// String gives the kind as one lower-case word.
func (k Kind) String() string {
	switch k {
	case Transient:
		return "transient"
	case Uncertain:
		return "uncertain"
	case Duplicate:
		return "duplicate"
	case Rejected:
		return "rejected"
	case Denied:
		return "denied"
	}
	return "kind " + strconv.Itoa(int(k))
}

// Class says which of Orchestrator's budgets a call draws on.
type Class int

const (
	// ListReads are the listings of jobs and of queue items, limited to about
	// 100 calls a minute for the whole tenant.
	ListReads Class = iota + 1
	// Writes are StartJobs, AddQueueItem and BulkAddQueueItems.
	Writes
	// Reads are the reads by id and the small look-ups by name.
	Reads
	// Identity is the token endpoint.
	Identity
)

// String gives the class in lower-case words.
func (c Class) String() string {
	switch c {
	case ListReads:
		return "list reads"
	case Writes:
		return "writes"
	case Reads:
		return "reads"
	case Identity:
		return "identity"
	}
	return "class " + strconv.Itoa(int(c))
}

var (
	// ErrNotFound is what errors.Is finds in a 404 that Orchestrator itself
	// gave, in error code 1002, and in a look-up by name that found nothing. A
	// 404 page of a proxy is not ErrNotFound.
	ErrNotFound = errors.New("not found")
	// ErrDuplicateReference is what errors.Is finds in an error of kind
	// Duplicate: error code 1016.
	ErrDuplicateReference = errors.New("duplicate reference")
)

// The error codes that change what happens next.
const (
	codeInvalidCredentials = 1000
	codeItemNotFound       = 1002
	codeDuplicateReference = 1016
	codeFolderUnknown      = 1100
	codeFolderRequired     = 1101
)

// Error is what every call returns when it did not succeed.
type Error struct {
	Op         string        // what was attempted, for example "start jobs"
	Kind       Kind          // what to do next
	Class      Class         // the budget that the failed exchange draws on
	StatusCode int           // of the HTTP answer, 0 when none came
	Code       int           // UiPath's errorCode, 0 when absent
	Message    string        // UiPath's message, or what came instead of one
	TraceID    string        // UiPath's traceId, for their support
	RetryAfter time.Duration // from Retry-After in both its forms, 0 when absent
	Err        error         // the cause, or what to change
}

// Error tells the operation, the status, the message and the cause. It holds no
// token, secret, query or payload of ours.
func (e *Error) Error() string {
	parts := []string{e.Op}
	if status := statusText(e.StatusCode); e.StatusCode != 0 && !strings.HasPrefix(e.Message, status) {
		parts = append(parts, status)
	}
	if text := e.Message + e.handles(); text != "" {
		parts = append(parts, strings.TrimSpace(text))
	}
	if e.Err != nil {
		parts = append(parts, e.Err.Error())
	}
	return strings.Join(parts, ": ")
}

// handles gives what UiPath's support asks for first.
func (e *Error) handles() string {
	switch {
	case e.Code != 0 && e.TraceID != "":
		return fmt.Sprintf(" (error code %d, trace %s)", e.Code, e.TraceID)
	case e.Code != 0:
		return fmt.Sprintf(" (error code %d)", e.Code)
	case e.TraceID != "":
		return fmt.Sprintf(" (trace %s)", e.TraceID)
	}
	return ""
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// LoginRefused tells a login that nobody accepts, now or any more, from a lack
// of rights: no call of this client will succeed until it is mended.
func (e *Error) LoginRefused() bool {
	return e.Kind == Denied && (e.Class == Identity || e.StatusCode == http.StatusUnauthorized)
}

// Is makes errors.Is find ErrNotFound and ErrDuplicateReference.
func (e *Error) Is(target error) bool {
	switch target {
	case ErrNotFound:
		return e.Kind == Rejected && (e.StatusCode == http.StatusNotFound || e.Code == codeItemNotFound)
	case ErrDuplicateReference:
		return e.Kind == Duplicate
	}
	return false
}

// rejected is the error for what this package refuses to send, and for look-ups
// that prove a request impossible.
func rejected(op string, class Class, err error, format string, args ...any) *Error {
	return &Error{Op: op, Kind: Rejected, Class: class, Message: fmt.Sprintf(format, args...), Err: err}
}

// statusText is "409 Conflict", or the bare number where Go knows no name for
// it (Cloudflare's 520 to 524).
func statusText(code int) string {
	return strings.TrimSpace(strconv.Itoa(code) + " " + http.StatusText(code))
}
