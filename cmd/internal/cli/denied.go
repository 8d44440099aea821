package cli

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
)

// DeniedError is something that the NATS server does not let this user do.
type DeniedError struct {
	Subscribe bool // to Subject; otherwise to publish there
	Subject   string
}

// Error names the subject, which is what permissions are about.
func (e *DeniedError) Error() string {
	if e.Subscribe {
		return "NATS does not let this user subscribe to " + e.Subject
	}
	return "NATS does not let this user publish to " + e.Subject
}

// NeedsOr is Needs after what may help a user whose rights are narrowed.
func (e *DeniedError) NeedsOr(role, instead string) error {
	return Errorf(ExitCredentials, "%w: %s give it what `worker permissions %s` prints", e, instead, role)
}

// Needs gives the error its exit code and says which of the roles that `worker
// permissions` prints would allow it.
func (e *DeniedError) Needs(role string) error {
	if e.Subscribe && strings.HasPrefix(e.Subject, "_INBOX") {
		return Errorf(ExitCredentials, "%w, where the server's answers come: set NATS_INBOX_PREFIX to the user's own, as `worker permissions %s` tells", e, role)
	}
	return Errorf(ExitCredentials, "%w: give it what `worker permissions %s` prints", e, role)
}

// A server reports what it denies beside the answers, to no request in
// particular; the request gets none, and times out.
var violation = regexp.MustCompile(`(?i)permissions violation for (publish|subscription) to "([^"]+)"`)

func deniedBy(err error) *DeniedError {
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return nil
	}
	found := violation.FindStringSubmatch(err.Error())
	if found == nil {
		return nil
	}
	return &DeniedError{Subscribe: strings.EqualFold(found[1], "subscription"), Subject: found[2]}
}

// Denials connects what the server denies with what was being done: the zero
// value is ready, nil watches nothing.
type Denials struct {
	mu       sync.Mutex
	watchers []*func(*DeniedError)
}

// Watch gives a context that ends, with a *DeniedError as its cause, when the
// server denies something: what would have waited for an answer ends at once.
// Where one watches within another, only the inner context ends.
func (d *Denials) Watch(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	if d == nil {
		return ctx, func() { cancel(nil) }
	}
	end := func(denied *DeniedError) { cancel(denied) }
	d.mu.Lock()
	defer d.mu.Unlock()
	d.watchers = append(d.watchers, &end)
	return ctx, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		for i, w := range d.watchers {
			if w == &end {
				d.watchers = append(d.watchers[:i:i], d.watchers[i+1:]...)
				break
			}
		}
		cancel(nil)
	}
}

// DeniedIn gives what the server denied while a context of Watch's was used;
// nil if nothing.
func DeniedIn(ctx context.Context) *DeniedError {
	denied, _ := errors.AsType[*DeniedError](context.Cause(ctx))
	return denied
}

// left is the removal of a reader's ordered consumer, which nats.go names so; a
// lane's consumer, which the worker must be able to remove, has more parts.
var left = regexp.MustCompile(`\.CONSUMER\.DELETE\.[^.]+\.[0-9A-Za-z]{22}_\d+$`)

// note is told of what the server reports, and reports whether that is all
// there is to do. The removal of a consumer that follows a stream in order is
// nobody's business: who may not do that leaves it to expire, as it soon does.
// What somebody watches for ends in an error, which says more than a line in
// the log can.
func (d *Denials) note(err error) (done bool) {
	denied := deniedBy(err)
	if denied != nil && left.MatchString(denied.Subject) {
		return true
	}
	if d == nil || denied == nil {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	n := len(d.watchers)
	if n > 0 {
		(*d.watchers[n-1])(denied)
	}
	return n > 0
}
