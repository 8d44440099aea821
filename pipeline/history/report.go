package history

import (
	"fmt"

	"waybill/pipeline"
)

// Report is the judgement on a run. The promise has held if Violations is
// empty.
type Report struct {
	Requests   int // keys asked for
	Effects    int // items and jobs in Orchestrator
	Duplicates int // effects beyond the first of a key
	// Lost counts keys without a final outcome, keys accepted and not there or
	// accepted more often than they are there, and requests without the dead
	// letter they should have.
	Lost    int
	Unknown int // keys whose outcome is unknown, which breaks nothing
	// Contradicting counts keys of which two things are told that cannot both
	// be true: two different final outcomes in one generation, an outcome for a
	// payload that was not asked for, an effect of what was reported undone, an
	// id that is not an effect's, a dead letter of what was carried out.
	Contradicting int
	DeadLetters   int // repeats included
	Statuses      map[pipeline.Status]int
	Violations    []Violation
	Verdicts      []Verdict `json:"-"` // on each key, in the order of lanes and keys
}

// Held reports whether the promise was kept.
func (r Report) Held() bool { return len(r.Violations) == 0 }

// String is the line a run ends with.
func (r Report) String() string {
	return fmt.Sprintf("effects: %d, duplicates: %d, lost: %d", r.Effects, r.Duplicates, r.Lost)
}
