package simulator

import (
	"encoding/json"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"
)

// Effect is one thing that a call has brought into being: a queue item or a job. The attempts that Orchestrator adds to
// a failed item by itself are no effects.
type Effect struct {
	Kind              string // "item" or "job"
	Folder            string // fully qualified name
	Name              string // of the queue or the release
	Reference         string
	BatchExecutionKey string // of a job
	ID                int64
	Key               string
	CreatedAt         time.Time
	Content           json.RawMessage // SpecificContent of an item, without annotations; nil if there was none
	InputArguments    string          // of a job
}

// creation is an Effect in short.
type creation struct {
	item *queueItem // nil for a job
	job  *job
}

func (c creation) effect() Effect {
	if c.job != nil {
		return c.job.effect()
	}
	i := c.item
	return Effect{
		Kind: "item", Folder: i.queue.folder.path, Name: i.queue.Name, Reference: i.reference, ID: i.id,
		Key: i.key.String(), CreatedAt: i.created, Content: rawOrNull(i.content.data),
	}
}

func (c creation) reference() string {
	if c.job != nil {
		return c.job.reference
	}
	return c.item.reference
}

// Effects returns every item and job that calls have ever created, in order, whatever became of them since.
func (s *Server) Effects() []Effect {
	return slices.Collect(s.AllEffects())
}

// AllEffects is Effects without holding them all in memory. The Server is locked for reading meanwhile.
func (s *Server) AllEffects() iter.Seq[Effect] {
	return func(yield func(Effect) bool) {
		s.mu.RLock()
		defer s.mu.RUnlock()
		for _, c := range s.tenant.effects {
			if !yield(c.effect()) {
				return
			}
		}
	}
}

// EffectsOf returns the effects that carry a reference, in order.
func (s *Server) EffectsOf(reference string) []Effect {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var found []Effect
	for _, c := range s.tenant.effects {
		if c.reference() == reference {
			found = append(found, c.effect())
		}
	}
	return found
}

// callCounts counts calls by operation.
type callCounts struct {
	mu     sync.Mutex
	counts map[string]int
}

func (c *callCounts) count(operation string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.counts == nil {
		c.counts = make(map[string]int)
	}
	c.counts[operation]++
}

func (c *callCounts) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts = nil
}

// Calls returns how many calls have arrived, by the API's name of the operation; "Token" for logins and "Unknown" for
// paths that the API does not have. Calls that were refused or struck count too.
func (s *Server) Calls() map[string]int {
	s.calls.mu.Lock()
	defer s.calls.mu.Unlock()
	return maps.Clone(s.calls.counts)
}
