// Package history holds what happened against the promise: what was asked for,
// what Orchestrator has, and what the outcomes say of it.
//
// It knows nothing of how a run came about, so it judges a test, a run with
// faults or a real import alike.
package history

import (
	"cmp"
	"fmt"
	"slices"

	"waybill/pipeline"
)

// Key names a request: its key and the canonical lane it stands in.
type Key struct {
	Lane pipeline.Lane
	Key  string
}

// String gives lane and key as people write them.
func (k Key) String() string { return k.Lane.String() + "/" + k.Key }

// Effect is one queue item or one job that Orchestrator has, found by the
// Reference that a request's key became.
type Effect struct {
	Key Key
	ID  int64
}

// Violation is one breach of the promise.
type Violation struct {
	Key  Key
	What string
}

// Report is the judgement on a history. The promise has held if Violations is
// empty.
type Report struct {
	Requests   int // keys asked for
	Effects    int // items and jobs in Orchestrator
	Duplicates int // effects beyond the first of a key
	Lost       int // keys without a final outcome, or accepted and not there
	Unknown    int // keys whose outcome is unknown, which breaks nothing
	// Contradicting counts keys with two different final outcomes in one
	// generation, and keys reported undone that have an effect.
	Contradicting int
	Statuses      map[pipeline.Status]int
	Violations    []Violation
}

// Held reports whether the promise was kept.
func (r Report) Held() bool { return len(r.Violations) == 0 }

// String is the line a run ends with.
func (r Report) String() string {
	return fmt.Sprintf("effects: %d, duplicates: %d, lost: %d", r.Effects, r.Duplicates, r.Lost)
}

// Check judges a history. Outcomes may repeat, as they may be delivered more
// than once; those of the stage accepted are passed over. Effects and outcomes
// of keys that were not asked for are violations too.
func Check(requested []Key, effects []Effect, outcomes []pipeline.Outcome) Report {
	c := checker{
		effects: make(map[Key][]int64, len(effects)),
		finals:  make(map[Key]map[int]pipeline.Outcome, len(outcomes)),
		Report:  Report{Effects: len(effects), Statuses: make(map[pipeline.Status]int)},
	}
	for _, e := range effects {
		c.effects[e.Key] = append(c.effects[e.Key], e.ID)
	}
	for _, o := range outcomes {
		c.addOutcome(o)
	}
	seen := make(map[Key]bool, len(requested))
	for _, key := range requested {
		if !seen[key] {
			seen[key] = true
			c.check(key)
		}
	}
	c.Requests = len(seen)
	for key, ids := range c.effects {
		if !seen[key] {
			c.violated(key, fmt.Sprintf("nobody asked for it, and Orchestrator has %v", ids))
		}
	}
	slices.SortFunc(c.Violations, func(a, b Violation) int { return cmp.Compare(a.Key.String(), b.Key.String()) })
	return c.Report
}

type checker struct {
	Report
	effects map[Key][]int64
	finals  map[Key]map[int]pipeline.Outcome // by generation
}

func (c *checker) violated(key Key, what string) {
	c.Violations = append(c.Violations, Violation{Key: key, What: what})
}

func (c *checker) addOutcome(o pipeline.Outcome) {
	if o.Stage != pipeline.StageFinal {
		return
	}
	key := Key{Lane: o.Lane(), Key: o.Key}
	if c.finals[key] == nil {
		c.finals[key] = make(map[int]pipeline.Outcome, 1)
	}
	if first, there := c.finals[key][o.Generation]; there && first.Status != o.Status {
		c.Contradicting++
		c.violated(key, fmt.Sprintf("two final outcomes in generation %d: %s, then %s", o.Generation, first.Status, o.Status))
		return
	}
	c.finals[key][o.Generation] = o
}

func (c *checker) check(key Key) {
	ids := c.effects[key]
	if len(ids) > 1 {
		c.Duplicates += len(ids) - 1
		c.violated(key, fmt.Sprintf("%d effects: %v", len(ids), ids))
	}
	last, ok := c.newest(key)
	if !ok {
		c.Lost++
		c.violated(key, "no final outcome")
		return
	}
	c.Statuses[last.Status]++
	switch last.Status {
	case pipeline.StatusAccepted, pipeline.StatusSucceeded, pipeline.StatusFailed:
		if len(ids) == 0 {
			c.Lost++
			c.violated(key, fmt.Sprintf("reported %s (decided by %s), and Orchestrator has nothing", last.Status, last.DecidedBy))
		}
	case pipeline.StatusUnknown:
		c.Unknown++
	default:
		if len(ids) > 0 {
			c.Contradicting++
			c.violated(key, fmt.Sprintf("reported %s (decided by %s), and Orchestrator has %v", last.Status, last.DecidedBy, ids))
		}
	}
}

func (c *checker) newest(key Key) (pipeline.Outcome, bool) {
	var newest pipeline.Outcome
	for generation, o := range c.finals[key] {
		if generation > newest.Generation {
			newest = o
		}
	}
	return newest, len(c.finals[key]) > 0
}
