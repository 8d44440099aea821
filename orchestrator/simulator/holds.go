package simulator

import (
	"fmt"
	"slices"
	"sync"
)

// Hold says which call to stop: the next one that matches.
type Hold struct {
	// Operation is the API's name of the call: "AddQueueItem", "BulkAddQueueItems", "StartJobs", "Jobs", ...; or one of
	// the ways in: "Token" (whose effect is that tokens are issued, and what they were issued for is used up),
	// "Authorize" (a code) and "Authenticate".
	Operation string `json:"operation"`
	// When is where it stops: before its effect, or after it and before the answer. Empty: before.
	When HoldPoint `json:"when"`
	// Reference, where not empty, narrows the hold to a call that carries an item or job of this Reference.
	Reference string `json:"reference"`
	// Outlives lets a call held before its effect have it at Release though its caller has gone away meanwhile, as a
	// slow server does. Without it the call dies with its caller.
	Outlives bool `json:"outlives"`
}

// Validate refuses operations that the API does not have and points that are none.
func (h Hold) Validate() error {
	if !slices.Contains(waysIn, h.Operation) {
		if err := validateOperations([]string{h.Operation}); err != nil {
			return err
		}
	}
	if h.When != "" && h.When != Before && h.When != After {
		return fmt.Errorf("hold point %q: give %q or %q", h.When, Before, After)
	}
	return nil
}

// waysIn are the calls to the identity server that can be held.
var waysIn = []string{"Token", "Authorize", "Authenticate"}

// HoldPoint is a place where a call can be stopped.
type HoldPoint string

// The places where a call can be stopped.
const (
	Before HoldPoint = "before"
	After  HoldPoint = "after"
)

// Held is a hold that was placed.
type Held struct {
	hold     Hold
	arrived  chan struct{}
	released chan struct{}
	once     sync.Once
}

// Arrived is closed when a call has run into the hold.
func (h *Held) Arrived() <-chan struct{} { return h.arrived }

// Release lets the held call go on, or takes the hold away if none has come yet. It may be called again.
func (h *Held) Release() { h.once.Do(func() { close(h.released) }) }

func (h *Held) isReleased() bool {
	select {
	case <-h.released:
		return true
	default:
		return false
	}
}

// holdBoard keeps the holds that no call has run into yet, oldest first.
type holdBoard struct {
	mu      sync.Mutex
	waiting []*Held
}

func (b *holdBoard) place(hold Hold) *Held {
	if hold.When == "" {
		hold.When = Before
	}
	held := &Held{hold: hold, arrived: make(chan struct{}), released: make(chan struct{})}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting = append(b.waiting, held)
	return held
}

// claim takes the first hold that fits a call at a point, or nil.
func (b *holdBoard) claim(operation string, when HoldPoint, carries func(reference string) bool) *Held {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting = slices.DeleteFunc(b.waiting, (*Held).isReleased)
	i := slices.IndexFunc(b.waiting, func(h *Held) bool {
		return h.hold.Operation == operation && h.hold.When == when &&
			(h.hold.Reference == "" || carries(h.hold.Reference))
	})
	if i < 0 {
		return nil
	}
	held := b.waiting[i]
	b.waiting = slices.Delete(b.waiting, i, i+1)
	close(held.arrived)
	return held
}

func (b *holdBoard) clear() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, held := range b.waiting {
		held.Release()
	}
	b.waiting = nil
}
