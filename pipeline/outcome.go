package pipeline

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"waybill/internal/jsonobject"
)

// Status says what became of a request.
type Status string

// The final statuses, and StatusAccepted also as the status of the stage
// accepted.
const (
	StatusAccepted  Status = "accepted"  // Orchestrator holds the item or the job
	StatusSucceeded Status = "succeeded" // the job or the transaction ended well
	StatusFailed    Status = "failed"    // it ended otherwise: faulted, stopped, failed, abandoned, deleted
	StatusRejected  Status = "rejected"  // it can never work, and nothing was done
	StatusExpired   Status = "expired"   // notAfter had passed before anything was done
	StatusCanceled  Status = "canceled"  // taken back before anything was done
	StatusUnknown   Status = "unknown"   // it may have been done, and nobody can tell
)

// Stage tells the news that a request was accepted from its final outcome.
type Stage string

// StageAccepted is published only for requests with until completed.
const (
	StageAccepted Stage = "accepted"
	StageFinal    Stage = "final"
)

// DecidedBy says where an outcome was learnt.
type DecidedBy string

// The sources of an outcome.
const (
	ByAnswer     DecidedBy = "answer"     // Orchestrator's answer to the call
	ByDuplicate  DecidedBy = "duplicate"  // its refusal of a Reference it already has
	ByLookup     DecidedBy = "lookup"     // a look-up after an unclear answer
	ByPoll       DecidedBy = "poll"       // a look at how a job or transaction went on
	ByWebhook    DecidedBy = "webhook"    // a hint of Orchestrator's, confirmed by a read
	ByValidation DecidedBy = "validation" // waybill's own checks
	ByOperator   DecidedBy = "operator"
)

// Outcome is what became of a request. It is published on
// <prefix>.outcomes.<canonical scope>.<key>.<stage> at least once; repeats
// carry the same Nats-Msg-Id. See docs/asyncapi.yaml for the wire form, which
// only ever grows members.
type Outcome struct {
	Key         string        `json:"key"`
	Generation  int           `json:"generation"`
	Kind        Kind          `json:"kind"`
	Tenant      string        `json:"tenant"`
	Folder      string        `json:"folder"`
	Queue       string        `json:"queue,omitempty"`
	Process     string        `json:"process,omitempty"`
	Stage       Stage         `json:"stage"`
	Status      Status        `json:"status"`
	Reference   string        `json:"reference,omitempty"`
	PayloadHash string        `json:"payloadHash,omitempty"`
	Item        *ItemResult   `json:"item,omitempty"`
	Job         *JobResult    `json:"job,omitempty"`
	Error       *OutcomeError `json:"error,omitempty"`

	Attempts         int       `json:"attempts"` // calls made for it, look-ups not counted
	DecidedBy        DecidedBy `json:"decidedBy"`
	RequestedAt      time.Time `json:"requestedAt"`      // when JetStream stored the request, the first of its copies that was claimed
	FirstDeliveredAt time.Time `json:"firstDeliveredAt"` // when a worker first had it in hand
	FinishedAt       time.Time `json:"finishedAt"`
	RequestSequence  uint64    `json:"requestSequence"` // in the requests stream
}

// ItemResult is what is known of the queue item, by UiPath's names. A bulk
// call gives no ids: the Reference is the handle then.
type ItemResult struct {
	ID     int64           `json:"Id,omitempty"`
	Key    string          `json:"Key,omitempty"`
	Status string          `json:"Status,omitempty"`
	Output json.RawMessage `json:"Output,omitempty"`
	// OutputCut says that there is an output, too large for a message.
	OutputCut bool `json:"OutputCut,omitempty"`
}

// JobResult is what is known of the job, by UiPath's names.
type JobResult struct {
	ID              int64  `json:"Id,omitempty"`
	Key             string `json:"Key,omitempty"`
	State           string `json:"State,omitempty"`
	Info            string `json:"Info,omitempty"`
	OutputArguments string `json:"OutputArguments,omitempty"`
	// OutputCut says that there are output arguments, too large for a message.
	OutputCut bool `json:"OutputCut,omitempty"`
}

// OutcomeError says why a request did not come through.
type OutcomeError struct {
	Kind       string `json:"kind"`           // invalid, or an orchestrator.Kind, or in_doubt, expired, faulted, …
	Code       string `json:"code,omitempty"` // UiPath's own, a number or a name
	HTTPStatus int    `json:"httpStatus,omitempty"`
	Message    string `json:"message"`
}

// Lane is the canonical lane the outcome belongs to.
func (o Outcome) Lane() Lane {
	lane := Lane{Tenant: o.Tenant, Folder: o.Folder, Kind: o.Kind, Name: o.Queue}
	if o.Kind == KindJob {
		lane.Name = o.Process
	}
	return lane
}

func (o *Outcome) setLane(lane Lane) {
	o.Kind, o.Tenant, o.Folder = lane.Kind, lane.Tenant, lane.Folder
	if lane.Kind == KindJob {
		o.Process = lane.Name
		return
	}
	o.Queue = lane.Name
}

// messageID is the Nats-Msg-Id by which subscribers drop repeats.
func (o Outcome) messageID() string {
	return o.Lane().scope() + "/" + encodeToken(o.Key) + "/" + strconv.Itoa(o.Generation) + "/" + string(o.Stage)
}

// MarshalJSON writes the body of an outcome message.
func (o Outcome) MarshalJSON() ([]byte, error) {
	w := jsonobject.Begin(make([]byte, 0, 704))
	w.Text("key", o.Key)
	w.Int("generation", int64(o.Generation))
	w.Text("kind", string(o.Kind))
	w.Text("tenant", o.Tenant)
	w.Text("folder", o.Folder)
	w.TextIf("queue", o.Queue)
	w.TextIf("process", o.Process)
	w.Text("stage", string(o.Stage))
	w.Text("status", string(o.Status))
	w.TextIf("reference", o.Reference)
	w.TextIf("payloadHash", o.PayloadHash)
	if err := o.writeResult(&w); err != nil {
		return nil, err
	}
	w.Int("attempts", int64(o.Attempts))
	w.Text("decidedBy", string(o.DecidedBy))
	w.Time("requestedAt", o.RequestedAt)
	w.Time("firstDeliveredAt", o.FirstDeliveredAt)
	w.Time("finishedAt", o.FinishedAt)
	w.Uint("requestSequence", o.RequestSequence)
	return w.End(), nil
}

// writeResult writes what an item that was added in bulk has none of.
func (o Outcome) writeResult(w *jsonobject.Writer) error {
	var faults []error
	if o.Item != nil {
		faults = append(faults, w.Value("item", o.Item))
	}
	if o.Job != nil {
		faults = append(faults, w.Value("job", o.Job))
	}
	if o.Error != nil {
		faults = append(faults, w.Value("error", o.Error))
	}
	return errors.Join(faults...)
}

// DecodeOutcome reads the body of an outcome message. Members of later
// versions are ignored.
func DecodeOutcome(body []byte) (Outcome, error) {
	var o Outcome
	if err := json.Unmarshal(body, &o); err != nil {
		return Outcome{}, fmt.Errorf("decode outcome: %w", err)
	}
	return o, nil
}
