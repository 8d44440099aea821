package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Backlog is what waits in one lane.
type Backlog struct {
	Lane    Lane // as its subject says; where that is misspelt, its tokens as they stand
	Subject string
	// Misspelt is why no worker can ever serve it; nil: one can.
	Misspelt *MisspeltError
	// Waiting is how many requests are not settled yet.
	Waiting uint64
	// Consumer is the lane's; empty where no worker has ever served it.
	Consumer string
	Pulls    int // of workers that wait for requests just now
	// Delivered is how many of those that wait a worker was given, and has not
	// settled; the worker may have been killed since.
	Delivered int
	// Active is that a request was delivered or settled no longer ago than a
	// killed worker's are kept for it: a worker with all it can hold pulls none.
	Active bool
	Paused time.Duration // how much longer its consumer is paused; 0: it is not
}

// Taken reports whether some worker takes the lane's requests. One that has been
// at a single call for long does not show.
func (b Backlog) Taken() bool { return b.Pulls > 0 || b.Active }

// Backlogs lists the lanes in which something waits or which are paused, by
// subject. It changes nothing.
func Backlogs(ctx context.Context, js jetstream.JetStream, t Topology) ([]Backlog, error) {
	t = t.withDefaults()
	stream, err := js.Stream(ctx, t.RequestsStream())
	if err != nil {
		return nil, fmt.Errorf("open stream %s: %w", t.RequestsStream(), err)
	}
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(t.subject("requests", ">")))
	if err != nil {
		return nil, fmt.Errorf("list request subjects: %w", err)
	}
	lanes := make(map[string]Backlog)
	for subject, messages := range info.State.Subjects {
		lane, _ := t.laneOfRequest(subject) // one that is misspelt waits too
		lanes[subject] = Backlog{Lane: lane, Subject: subject, Waiting: messages}
	}
	consumers := stream.ListConsumers(ctx)
	for c := range consumers.Info() {
		t.addConsumer(lanes, c)
	}
	if err := consumers.Err(); err != nil && !errors.Is(err, jetstream.ErrEndOfData) {
		return nil, fmt.Errorf("list consumers: %w", err)
	}
	var found []Backlog
	for _, b := range lanes {
		if b.Waiting > 0 || b.Paused > 0 {
			b.Misspelt = t.misspelt(b.Subject)
			found = append(found, b)
		}
	}
	slices.SortFunc(found, func(a, b Backlog) int { return cmp.Compare(a.Subject, b.Subject) })
	return found, nil
}

// addConsumer counts by the lane's consumer what waits: requests that are
// settled stay in the stream for some seconds.
func (t Topology) addConsumer(lanes map[string]Backlog, c *jetstream.ConsumerInfo) {
	subject := c.Config.FilterSubject
	lane, _ := t.laneOfRequest(subject) // a misspelt lane has a consumer too
	if c.Name != consumerName(subject, lane) {
		return // somebody else's, whose acks say nothing of what is settled
	}
	b := lanes[subject]
	b.Lane, b.Subject, b.Consumer, b.Pulls = lane, subject, c.Name, c.NumWaiting
	b.Delivered, b.Active = c.NumAckPending, isActive(c)
	b.Waiting = c.NumPending + uint64(max(c.NumAckPending, 0))
	if c.Paused {
		b.Paused = c.PauseRemaining
	}
	lanes[subject] = b
}

// isActive goes by the server's clock, and by what it remembers: nothing of the
// time before it, or the consumer's leader, was started. What a dead worker has
// held stays pending for as long as nobody pulls.
func isActive(c *jetstream.ConsumerInfo) bool {
	for _, last := range []*time.Time{c.Delivered.Last, c.AckFloor.Last} {
		if last != nil && c.TimeStamp.Sub(*last) <= c.Config.AckWait {
			return true
		}
	}
	return false
}
