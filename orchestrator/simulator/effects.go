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
	Kind              string          `json:"kind"`   // "item" or "job"
	Folder            string          `json:"folder"` // fully qualified name
	Name              string          `json:"name"`   // of the queue or the release
	Reference         string          `json:"reference"`
	BatchExecutionKey string          `json:"batchExecutionKey,omitempty"` // of a job
	ID                int64           `json:"id"`
	Key               string          `json:"key"`
	CreatedAt         time.Time       `json:"createdAt"`
	Content           json.RawMessage `json:"content,omitempty"`        // SpecificContent of an item as stored; nil if there was none
	InputArguments    string          `json:"inputArguments,omitempty"` // of a job
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

// AllEffects is Effects as of now, without holding them all in memory.
func (s *Server) AllEffects() iter.Seq[Effect] {
	return func(yield func(Effect) bool) {
		for _, c := range s.creations() {
			if !yield(c.effect()) {
				return
			}
		}
	}
}

// creations needs the lock for the slice alone: it only grows, and what it holds of an item or job never changes.
func (s *Server) creations() []creation {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.tenant.effects
}

// EffectsOf returns the effects that carry a reference, in order.
func (s *Server) EffectsOf(reference string) []Effect {
	var found []Effect
	for _, c := range s.creations() {
		if c.reference() == reference {
			found = append(found, c.effect())
		}
	}
	return found
}

// EffectCounts sums the effects up.
type EffectCounts struct {
	Effects  int              `json:"effects"`
	Distinct int              `json:"distinct"` // kinds, names and references that differ
	Repeated []RepeatedEffect `json:"repeated"` // those with more than one effect, in order of their first
}

// RepeatedEffect is a reference that has more than one effect in a queue or release, or a BatchExecutionKey that more
// than one job has.
type RepeatedEffect struct {
	Kind              string `json:"kind"`
	Folder            string `json:"folder"`
	Name              string `json:"name"`
	Reference         string `json:"reference,omitempty"`
	BatchExecutionKey string `json:"batchExecutionKey,omitempty"`
	Count             int    `json:"count"`
}

// EffectCounts counts the effects per reference within a queue or release, and the jobs per BatchExecutionKey. Effects
// without a reference are not compared by it.
func (s *Server) EffectCounts() EffectCounts {
	counts := make(map[RepeatedEffect]int)
	var order []RepeatedEffect
	add := func(key RepeatedEffect) {
		if counts[key]++; counts[key] == 2 {
			order = append(order, key)
		}
	}
	all := s.creations()
	distinct := 0
	for _, c := range all {
		e := c.effect()
		key := RepeatedEffect{Kind: e.Kind, Folder: e.Folder, Name: e.Name, Reference: e.Reference}
		if e.Reference == "" || counts[key] == 0 {
			distinct++
		}
		if e.Reference != "" {
			add(key)
		}
		if c.job != nil {
			add(RepeatedEffect{Kind: e.Kind, Folder: e.Folder, Name: e.Name, BatchExecutionKey: e.BatchExecutionKey})
		}
	}
	sum := EffectCounts{Effects: len(all), Distinct: distinct, Repeated: make([]RepeatedEffect, len(order))}
	for i, key := range order {
		sum.Repeated[i] = key
		sum.Repeated[i].Count = counts[key]
	}
	return sum
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
