package history

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"waybill/pipeline"
)

// Check judges a run. What has an effect, an outcome or a dead letter, and was
// not asked for, is a violation too.
func Check(run Run) Report {
	c := checker{
		keys:        make(map[Key]*story, len(run.Requests)),
		deadLetters: run.DeadLetters != nil,
		Report:      Report{Effects: len(run.Effects), DeadLetters: len(run.DeadLetters), Statuses: make(map[pipeline.Status]int)},
	}
	for _, r := range run.Requests {
		s := c.of(r.Key)
		s.requests = append(s.requests, r)
	}
	for _, e := range run.Effects {
		s := c.of(e.Key)
		s.effects = append(s.effects, e.ID)
	}
	for _, o := range run.Outcomes {
		if o.Stage == pipeline.StageFinal {
			c.of(KeyOf(o)).add(o)
		}
	}
	for _, d := range run.DeadLetters {
		s := c.of(d.Key)
		s.dead = append(s.dead, d)
	}
	inOrder := slices.SortedFunc(maps.Keys(c.keys), func(a, b Key) int { return cmp.Compare(a.String(), b.String()) })
	for _, key := range inOrder {
		c.judge(c.keys[key])
	}
	return c.Report
}

type checker struct {
	Report
	keys        map[Key]*story
	deadLetters bool // they are judged too
}

// story is what is known of one key, and what is wrong about it.
type story struct {
	key      Key
	requests []Request
	effects  []int64
	finals   []pipeline.Outcome // those that differ, by when they came
	dead     []DeadLetter
	breaches []string
}

func (c *checker) of(key Key) *story {
	if c.keys[key] == nil {
		c.keys[key] = &story{key: key}
	}
	return c.keys[key]
}

// add keeps an outcome unless it repeats one.
func (s *story) add(o pipeline.Outcome) {
	if !slices.ContainsFunc(s.finals, func(f pipeline.Outcome) bool { return f.Generation == o.Generation && decidedAlike(f, o) }) {
		s.finals = append(s.finals, o)
	}
}

// decidedAlike reports whether two outcomes are one message that came twice.
// Two workers that have decided the same by themselves have still decided twice.
func decidedAlike(a, b pipeline.Outcome) bool {
	return a.Status == b.Status && idOf(a) == idOf(b) && a.PayloadHash == b.PayloadHash && a.DecidedBy == b.DecidedBy &&
		a.Attempts == b.Attempts && a.FinishedAt.Equal(b.FinishedAt) && errorKindOf(a) == errorKindOf(b)
}

func errorKindOf(o pipeline.Outcome) string {
	if o.Error == nil {
		return ""
	}
	return o.Error.Kind
}

// idOf is the id that an outcome gives of its item or job; 0 if it gives none.
func idOf(o pipeline.Outcome) int64 {
	switch {
	case o.Item != nil:
		return o.Item.ID
	case o.Job != nil:
		return o.Job.ID
	}
	return 0
}

// last is the outcome of the newest generation, the first that came of it.
func (s *story) last() (pipeline.Outcome, bool) {
	var newest pipeline.Outcome
	for _, o := range s.finals {
		if o.Generation > newest.Generation {
			newest = o
		}
	}
	return newest, len(s.finals) > 0
}

func (c *checker) judge(s *story) {
	if len(s.requests) == 0 {
		s.violated("nobody asked for it, and there are effects %v, %d outcomes, %d dead letters", s.effects, len(s.finals), len(s.dead))
	} else {
		c.Requests++
		c.countEffects(s)
		c.judgeOutcomes(s)
		if c.deadLetters {
			c.judgeDeadLetters(s)
		}
	}
	for _, what := range s.breaches {
		c.Violations = append(c.Violations, Violation{Key: s.key, What: what})
	}
	c.Verdicts = append(c.Verdicts, s.verdict())
}

func (s *story) violated(format string, args ...any) {
	s.breaches = append(s.breaches, fmt.Sprintf(format, args...))
}

func (c *checker) countEffects(s *story) {
	if len(s.effects) > 1 {
		c.Duplicates += len(s.effects) - 1
		s.violated("%d effects: %v", len(s.effects), s.effects)
	}
}

func (c *checker) lost(s *story, format string, args ...any) {
	c.Lost++
	s.violated(format, args...)
}

func (c *checker) contradicts(s *story, format string, args ...any) {
	c.Contradicting++
	s.violated(format, args...)
}

func (c *checker) judgeOutcomes(s *story) {
	last, ok := s.last()
	if !ok {
		c.lost(s, "no final outcome")
		return
	}
	first := make(map[int]pipeline.Outcome, 1)
	for _, o := range s.finals {
		if f, there := first[o.Generation]; there {
			c.contradicts(s, "two final outcomes in generation %d: %s, then %s", o.Generation, brief(f), brief(o))
			continue
		}
		first[o.Generation] = o
		if !s.mayHavePayload(o) {
			c.contradicts(s, "reported %s for the payload %q, which nobody asked for", brief(o), o.PayloadHash)
		}
	}
	c.Statuses[last.Status]++
	c.judgeStatus(s, last)
	told := saysCarriedOut(last) && len(s.effects) == 0
	if n := carriedOut(first); n > len(s.effects) && !told {
		c.lost(s, "reported as carried out in %d generations, and Orchestrator has %v", n, s.effects)
	}
}

// mayHavePayload reports whether an outcome stands for something that was asked
// for, as far as that is known. What an invalid request asks for never is.
func (s *story) mayHavePayload(o pipeline.Outcome) bool {
	asked := false
	for _, r := range s.requests {
		switch {
		case r.Invalid && o.DecidedBy == pipeline.ByValidation:
			return true
		case r.Invalid:
		case r.Payload == "" || r.Payload == o.PayloadHash:
			return true
		default:
			asked = true
		}
	}
	return !asked
}

// carriedOut counts the generations that say there is an effect.
func carriedOut(first map[int]pipeline.Outcome) (n int) {
	for _, o := range first {
		if saysCarriedOut(o) {
			n++
		}
	}
	return n
}

func saysCarriedOut(o pipeline.Outcome) bool {
	return o.Status == pipeline.StatusAccepted || o.Status == pipeline.StatusSucceeded || o.Status == pipeline.StatusFailed
}

func (c *checker) judgeStatus(s *story, last pipeline.Outcome) {
	switch last.Status {
	case pipeline.StatusAccepted, pipeline.StatusSucceeded, pipeline.StatusFailed:
		switch id := idOf(last); {
		case len(s.effects) == 0:
			c.lost(s, "reported %s, and Orchestrator has nothing", brief(last))
		case id != 0 && !slices.Contains(s.effects, id) && !mayBeRetried(last):
			c.contradicts(s, "reported %s, and Orchestrator has %v", brief(last), s.effects)
		}
		if s.onlyInvalid() {
			c.contradicts(s, "it can never work, and was reported %s", brief(last))
		}
	case pipeline.StatusUnknown:
		c.Unknown++
	default:
		if len(s.effects) > 0 {
			c.contradicts(s, "reported %s, and Orchestrator has %v", brief(last), s.effects)
		}
	}
}

// mayBeRetried reports whether an outcome may tell of the item that
// Orchestrator itself has put in place of a failed one.
func mayBeRetried(o pipeline.Outcome) bool {
	return o.Item != nil && (o.DecidedBy == pipeline.ByPoll || o.DecidedBy == pipeline.ByWebhook)
}

func (s *story) onlyInvalid() bool {
	return !slices.ContainsFunc(s.requests, func(r Request) bool { return !r.Invalid })
}
