package pipeline

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// held is everything a worker has in hand: the one place that tells JetStream
// that a delivery is still being worked on, and that sees to it that a key is
// in hand once.
//
// AckWait is short, so that a crash is soon over; the lease on a key is the
// claim's, never AckWait, since nobody confirms InProgress.
type held struct {
	log *slog.Logger

	mu         sync.Mutex
	deliveries map[*delivery]struct{}
	keys       map[Lane]map[string]struct{} // by canonical lane
}

func newHeld(log *slog.Logger) *held {
	return &held{log: log, deliveries: make(map[*delivery]struct{}), keys: make(map[Lane]map[string]struct{})}
}

func (h *held) add(batch []*delivery) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, d := range batch {
		h.deliveries[d] = struct{}{}
	}
}

func (h *held) drop(batch []*delivery) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, d := range batch {
		delete(h.deliveries, d)
	}
}

// takeKeys takes the keys of a batch in hand and gives the deliveries whose
// keys are in hand already, in this batch or in another.
func (h *held) takeKeys(lane Lane, batch []*delivery) (taken, copies []*delivery) {
	h.mu.Lock()
	defer h.mu.Unlock()
	keys := h.keys[lane]
	if keys == nil {
		keys = make(map[string]struct{})
		h.keys[lane] = keys
	}
	for _, d := range batch {
		if _, there := keys[d.key]; there {
			copies = append(copies, d)
			continue
		}
		keys[d.key] = struct{}{}
		taken = append(taken, d)
	}
	return taken, copies
}

func (h *held) dropKeys(lane Lane, batch []*delivery) {
	h.mu.Lock()
	defer h.mu.Unlock()
	keys := h.keys[lane]
	for _, d := range batch {
		delete(keys, d.key)
	}
	if len(keys) == 0 {
		delete(h.keys, lane)
	}
}

// beat tells JetStream three times within each AckWait what is still in hand,
// until the context ends.
func (h *held) beat(ctx context.Context, ackWait time.Duration) {
	ticker := time.NewTicker(ackWait / 3)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for _, d := range h.all() {
			if err := d.msg.InProgress(); err != nil {
				h.log.Debug("in progress not sent", "sequence", d.sequence, "error", err)
			}
		}
	}
}

func (h *held) all() []*delivery {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := make([]*delivery, 0, len(h.deliveries))
	for d := range h.deliveries {
		all = append(all, d)
	}
	return all
}
