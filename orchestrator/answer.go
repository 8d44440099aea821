package orchestrator

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	maxAnswer     = 32 << 20 // of a good answer; 1,000 jobs with full arguments stay below
	maxErrorBody  = 64 << 10 // of an error; what follows is dropped
	maxMessage    = 1000     // runes kept of an error's text
	maxRetryAfter = 24 * time.Hour
)

// answer is an HTTP answer whose body has been read.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// answerBody is a decoded answer that can tell whether it is complete.
type answerBody interface {
	// missing names a required member that the answer lacks, or is empty.
	missing() string
}

// read takes in the whole answer, within limits, so that its connection can be
// used again.
func read(resp *http.Response) (answer, error) {
	a := answer{status: resp.StatusCode, header: resp.Header}
	limit := int64(maxErrorBody)
	if a.ok() {
		limit = maxAnswer
	}
	var buf bytes.Buffer
	if n := resp.ContentLength; n > 0 && n <= limit {
		buf.Grow(int(n) + bytes.MinRead)
	}
	_, err := buf.ReadFrom(io.LimitReader(resp.Body, limit+1))
	a.body = buf.Bytes()
	if err != nil {
		return a, fmt.Errorf("the answer broke off: %w", err)
	}
	if int64(len(a.body)) <= limit {
		return a, nil
	}
	if a.ok() {
		return a, fmt.Errorf("the answer is longer than %d MiB", maxAnswer>>20)
	}
	a.body = a.body[:limit]
	return a, nil
}

func (a answer) ok() bool { return a.status >= 200 && a.status <= 299 }

// decode fills into from a good answer. Its error says what came instead.
func (a answer) decode(into answerBody) error {
	if !a.isJSON() {
		return errors.New(a.instead())
	}
	if err := json.Unmarshal(a.body, into); err != nil {
		return fmt.Errorf("%s with JSON that cannot be read: %w", statusText(a.status), err)
	}
	if name := into.missing(); name != "" {
		return fmt.Errorf("%s with JSON that lacks %s", statusText(a.status), name)
	}
	return nil
}

// mediaType is the content type without its parameters, lower case.
func (a answer) mediaType() string {
	value := a.header.Get("Content-Type")
	if media, _, _ := strings.Cut(value, ";"); media == "application/json" {
		return media // as in nearly all answers, whatever its parameters
	}
	media, _, err := mime.ParseMediaType(value)
	if err != nil {
		media, _, _ = strings.Cut(strings.ToLower(value), ";")
	}
	return strings.TrimSpace(media)
}

// isJSON believes the content type; only where there is none, the first byte.
func (a answer) isJSON() bool {
	media := a.mediaType()
	if media == "" {
		first := bytes.TrimSpace(a.body)
		return len(first) > 0 && (first[0] == '{' || first[0] == '[')
	}
	return media == "application/json" || strings.HasSuffix(media, "+json")
}

// instead says what came where JSON was due.
func (a answer) instead() string {
	if a.status >= 300 && a.status <= 399 {
		return fmt.Sprintf("%s to %s instead of an answer", statusText(a.status), a.target())
	}
	if len(bytes.TrimSpace(a.body)) == 0 {
		return statusText(a.status) + " with an empty body instead of JSON"
	}
	text := fmt.Sprintf("%s with %s instead of JSON", statusText(a.status), cmp.Or(clean(a.mediaType()), "a body without content type"))
	if title := a.title(); title != "" {
		text += fmt.Sprintf(" (a page titled %q)", title)
	}
	return text
}

// target is where a redirect points, without the query, which may carry codes.
func (a answer) target() string {
	location, _, _ := strings.Cut(a.header.Get("Location"), "?")
	return cmp.Or(clean(location), "nowhere")
}

// title is the title of an HTML page: "Sign in" or "502 Bad Gateway" says more
// about who answered than anything else on it.
func (a answer) title() string {
	lower := bytes.ToLower(a.body)
	start := bytes.Index(lower, []byte("<title"))
	if start < 0 || len(lower) != len(a.body) {
		return ""
	}
	open := bytes.IndexByte(lower[start:], '>')
	end := bytes.Index(lower[start:], []byte("</title"))
	if open < 0 || end < open {
		return ""
	}
	return clean(html.UnescapeString(string(a.body[start+open+1 : start+end])))
}

// failure turns an answer that is not a success into the error that says so.
// write tells whether the request could have changed something.
func (a answer) failure(op string, class Class, write bool) *Error {
	said := a.complaint()
	if said.message == "" && said.form != formJSON {
		said.message = a.instead()
	}
	return &Error{
		Op:         op,
		Kind:       a.kind(said, write),
		Class:      class,
		StatusCode: a.status,
		Code:       said.code,
		Message:    said.message,
		TraceID:    said.traceID,
		RetryAfter: a.retryAfter(),
	}
}

// nonsense is the error for a 2xx that is not what was asked for. After a write
// nobody knows what happened; a read may be tried again.
func (a answer) nonsense(op string, class Class, write bool, err error) *Error {
	return &Error{Op: op, Kind: unknownKind(write), Class: class, StatusCode: a.status, Message: err.Error()}
}

// unknownKind is the kind of an outcome that cannot be told.
func unknownKind(write bool) Kind {
	if write {
		return Uncertain
	}
	return Transient
}

// kind sorts an error answer.
func (a answer) kind(said complaint, write bool) Kind {
	client := a.status >= 400 && a.status <= 499
	switch {
	case client && said.code == codeDuplicateReference:
		return Duplicate
	case client && (said.code == codeFolderUnknown || said.code == codeFolderRequired):
		return Rejected // also where a version answers it with 403
	case a.status == http.StatusUnauthorized, a.status == http.StatusForbidden, a.status == http.StatusProxyAuthRequired:
		return Denied
	case said.form != formJSON && (a.status == http.StatusNotFound || a.status == http.StatusMethodNotAllowed):
		// Orchestrator says "not found" in JSON. This is a gateway without a
		// route or another server: no reason to throw a request away, or to
		// believe that an item is gone.
		return Denied
	case a.status == http.StatusTooManyRequests:
		return Transient
	case a.status == http.StatusServiceUnavailable && said.form == formText && said.message == noHealthyUpstream:
		return Transient
	case client && a.status != http.StatusRequestTimeout:
		return Rejected
	}
	// 5xx, redirects, and 408: servers mean by it that the request did not
	// arrive whole, but some gateways say it of a slow service.
	return unknownKind(write)
}

// noHealthyUpstream is the whole body of a 503 with which the gateway before
// Orchestrator says that it had nobody to pass the request to. It is the only
// 5xx that proves a write was not done: every other one may come from a service
// that did it and then failed.
const noHealthyUpstream = "no healthy upstream"

// retryAfter reads Retry-After, as seconds or as a date. The date is taken
// against the answer's own Date where there is one, so that a wrong clock here
// does no harm. Nonsense and the past count as absent; a day is the most.
func (a answer) retryAfter() time.Duration {
	value := strings.TrimSpace(a.header.Get("Retry-After"))
	if value == "" {
		return 0
	}
	if seconds, err := strconv.ParseUint(value, 10, 64); err == nil {
		return time.Duration(min(seconds, uint64(maxRetryAfter/time.Second))) * time.Second
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	now, err := http.ParseTime(a.header.Get("Date"))
	if err != nil {
		now = time.Now()
	}
	return min(max(at.Sub(now), 0), maxRetryAfter)
}
