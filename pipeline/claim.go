package pipeline

import (
	"encoding/json"
	"fmt"
	"time"

	"waybill/internal/jsonobject"
)

// claimState says what a claim holds its key for.
type claimState string

const (
	// claimHeld: a worker is about to call, or has called, or has died since.
	claimHeld claimState = "held"
	// claimFree: the call was surely not made; anyone may take the key on.
	claimFree claimState = "free"
	// claimTracked: Orchestrator has accepted, and the job or transaction is
	// followed to its end.
	claimTracked claimState = "tracked"
	// claimSettled: what was tracked has its final outcome.
	claimSettled claimState = "settled"
)

// claim is the ledger's record of a key, one message on the key's claim
// subject, changed only by compare-and-set on its revision. Its JSON may grow
// members; a reader keeps none that it does not know, since every change
// writes the whole record. The claims of a version that needs more than that
// have another Version, and are refused by older workers.
type claim struct {
	Version int        `json:"v"`
	State   claimState `json:"state"`
	Worker  string     `json:"worker"`
	// Nonce is new for each write, so that a worker whose write was stored but
	// whose answer was lost knows its own.
	Nonce string `json:"nonce"`
	// Hold is how long, from the moment the server stored it, the claim is
	// good for. Readers add it to the server's time stamp, never to a clock of
	// the worker's.
	Hold        time.Duration `json:"holdNanoseconds"`
	PayloadHash string        `json:"payloadHash"`
	Reference   string        `json:"reference"`
	Generation  int           `json:"generation"`
	// Attempts counts calls that may have been made.
	Attempts int `json:"attempts"`
	// EverCalled is set before the first call that may take effect, and stays
	// unless that call was surely not made. Without it nothing can be in
	// Orchestrator for this key.
	EverCalled bool `json:"everCalled"`
	// Strikes counts calls that got no clear answer and had no effect though
	// other calls to the tenant got through: it is the request that fails.
	Strikes int `json:"strikes,omitempty"`
	// Unclear is set when a call made under this claim got no clear answer.
	// Without it the worker may have died, or not have called at all: a
	// look-up needs the claim too.
	Unclear bool `json:"unclear,omitempty"`
	// PatienceUsed is the time spent on look-ups that were answered but could
	// not tell.
	PatienceUsed     time.Duration `json:"patienceUsedNanoseconds,omitempty"`
	PublishedAt      time.Time     `json:"publishedAt"` // of the first request claimed
	FirstDeliveredAt time.Time     `json:"firstDeliveredAt"`
	RequestSequence  uint64        `json:"requestSequence"`

	revision uint64    // stream sequence; 0 for one not stored yet
	storedAt time.Time // by the server's clock
}

const claimVersion = 1

// deadAt is when, by the server's clock, the claim's worker can no longer have
// a call under way whose effect is still to come: its time is over and
// Orchestrator has had the settle time to apply what had reached it.
func (c claim) deadAt(settle time.Duration) time.Time {
	return c.storedAt.Add(c.Hold + settle)
}

func (c claim) encode() []byte {
	w := jsonobject.Begin(make([]byte, 0, 448))
	w.Int("v", int64(c.Version))
	w.Text("state", string(c.State))
	w.Text("worker", c.Worker)
	w.Text("nonce", c.Nonce)
	w.Int("holdNanoseconds", int64(c.Hold))
	w.Text("payloadHash", c.PayloadHash)
	w.Text("reference", c.Reference)
	w.Int("generation", int64(c.Generation))
	w.Int("attempts", int64(c.Attempts))
	w.Bool("everCalled", c.EverCalled)
	w.IntIf("strikes", int64(c.Strikes))
	if c.Unclear {
		w.Bool("unclear", true)
	}
	w.IntIf("patienceUsedNanoseconds", int64(c.PatienceUsed))
	w.Time("publishedAt", c.PublishedAt)
	w.Time("firstDeliveredAt", c.FirstDeliveredAt)
	w.Uint("requestSequence", c.RequestSequence)
	return w.End()
}

func decodeClaim(data []byte, revision uint64, storedAt time.Time) (*claim, error) {
	var c claim
	if err := json.Unmarshal(data, &c); err != nil {
		return nil, fmt.Errorf("decode claim: %w", err)
	}
	if c.Version != claimVersion {
		return nil, fmt.Errorf("claim of version %d: this worker reads version %d; run one version of waybill at a time", c.Version, claimVersion)
	}
	c.revision, c.storedAt = revision, storedAt
	return &c, nil
}
