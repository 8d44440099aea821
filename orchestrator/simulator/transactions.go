package simulator

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Exception says why an item failed.
type Exception struct {
	Type    string // "ApplicationException" or "BusinessException"
	Reason  string
	Details string
}

const (
	applicationException = "ApplicationException"
	businessException    = "BusinessException"
)

var exceptionTypes = []string{applicationException, businessException}

// Result is what FinishQueueItem makes of an item.
type Result struct {
	// Status is InProgress, Successful, Failed, Abandoned or Deleted.
	Status string
	// Output is a JSON object. Empty: none.
	Output json.RawMessage
	// Exception goes with Failed. Nil there: an application exception.
	Exception *Exception
}

// FinishQueueItem moves an item on, as the robot that works on it or an operator would. An item that fails with an
// application exception in a queue with retries left becomes Retried and gets a successor, whose id is returned; else
// the id is 0. It refuses ids that do not exist, results that make no sense, and items that have ended already.
func (s *Server) FinishQueueItem(id int64, r Result) (successor int64, err error) {
	if err := r.validate(); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	item, ok := s.tenant.items.get(id)
	if !ok {
		return 0, fmt.Errorf("queue item %d does not exist: give the id of one that does", id)
	}
	if item.status != statusNew && item.status != statusInProgress && r.Status != statusDeleted {
		return 0, fmt.Errorf("queue item %d is %s already: finish one that is New or InProgress", id, item.status)
	}
	return s.tenant.finish(item, r, s.tenant.stamp(s.now())), nil
}

func (r Result) validate() error {
	statuses := []string{statusInProgress, statusSuccessful, statusFailed, statusAbandoned, statusDeleted}
	if !slices.Contains(statuses, r.Status) {
		return fmt.Errorf("status %q: give one of %v", r.Status, statuses)
	}
	if len(r.Output) > 0 && !isJSONObject(string(r.Output)) {
		return fmt.Errorf("output %q is no JSON object: give one", r.Output)
	}
	if r.Exception != nil && !slices.Contains(exceptionTypes, r.Exception.Type) {
		return fmt.Errorf("exception type %q: give one of %v", r.Exception.Type, exceptionTypes)
	}
	return nil
}

// finish changes the item and returns the id of the next attempt, 0 if there is none.
func (t *tenant) finish(item *queueItem, r Result, now time.Time) int64 {
	item.status = r.Status
	t.touch(item)
	d := item.withDetails()
	if r.Status == statusDeleted {
		return 0
	}
	if d.started.IsZero() {
		d.started = now
	}
	if r.Status == statusInProgress {
		return 0
	}
	d.ended = now
	d.output = string(r.Output)
	if r.Status != statusFailed {
		return 0
	}
	d.exception = r.Exception
	if d.exception == nil {
		d.exception = &Exception{Type: applicationException, Reason: "The simulated robot failed."}
	}
	if d.exception.Type == businessException || d.attempt >= item.queue.MaxRetries {
		return 0
	}
	return t.retry(item, now).id
}

// retry makes the next attempt: same key, same reference, own unique key.
func (t *tenant) retry(item *queueItem, now time.Time) *queueItem {
	item.status = statusRetried
	d := item.details
	next := &queueItem{
		queue: item.queue, key: item.key, unique: t.mint.guid(), reference: item.reference, content: item.content,
		created: now, priority: item.priority, status: statusNew,
		details: &itemDetails{
			dueDate: d.dueDate, riskDate: d.riskDate, parentOperation: d.parentOperation,
			ancestor: item, attempt: d.attempt + 1, seconds: d.seconds + int(d.ended.Sub(d.started)/time.Second),
		},
	}
	d.successor = next
	t.insert(next)
	return next
}
