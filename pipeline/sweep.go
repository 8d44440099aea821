package pipeline

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"waybill/orchestrator"
)

const (
	// sweepEvery is how often a folder is asked what has ended in it: four
	// list calls a minute, however much is tracked there.
	sweepEvery = 15 * time.Second
	// sweepOverlap is how far a sweep looks back behind the watermark, for
	// what was written down late.
	sweepOverlap = time.Minute
	// sweptPoll is how often what a sweep should find is asked after by its
	// id all the same.
	sweptPoll = 10 * time.Minute
)

// sweeps is what a tenant's folders were seen to do when they were asked what
// has ended in them.
type sweeps struct {
	mu    sync.Mutex
	lanes map[Lane]*sweep
}

// sweep is one process or queue with something tracked.
type sweep struct {
	asked time.Time // when something of it was last asked after by id
	works bool      // it has found the end of something tracked
}

// tracks notes that something of the lane is tracked, and reports whether
// sweeps find its ends.
func (s *sweeps) tracks(lane Lane, now time.Time) (works bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lanes == nil {
		s.lanes = make(map[Lane]*sweep)
	}
	if s.lanes[lane] == nil {
		s.lanes[lane] = &sweep{}
	}
	s.lanes[lane].asked = now
	return s.lanes[lane].works
}

func (s *sweeps) found(lane Lane, works bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.lanes[lane]; l != nil {
		l.works = works
	}
}

// active gives the lanes with something tracked, and forgets the others.
func (s *sweeps) active(now time.Time) []Lane {
	s.mu.Lock()
	defer s.mu.Unlock()
	var lanes []Lane
	for lane, l := range s.lanes {
		if now.Sub(l.asked) > 2*sweptPoll {
			delete(s.lanes, lane)
			continue
		}
		lanes = append(lanes, lane)
	}
	return lanes
}

// nextPoll is when to ask after something by its id again: the less often the
// older it is, and rarely where sweeps find the ends.
func (t *tenant) nextPoll(o Outcome, now time.Time) time.Duration {
	most := maxPoll
	if t.sweeps.tracks(o.Lane(), now) && o.Reference == o.Key {
		most = sweptPoll
	}
	return min(most, max(minPoll, now.Sub(o.FinishedAt)/4))
}

// sweepTenant asks, for each process and queue with something tracked, what
// has ended since the last time. One worker at a time does it for a tenant.
func (w *Worker) sweepTenant(ctx, work context.Context, t *tenant) {
	for sleep(ctx, sweepEvery) == nil {
		lanes := t.sweeps.active(w.clock.now())
		if len(lanes) == 0 || t.pausedFor(orchestrator.ListReads) > 0 {
			continue
		}
		mine, err := w.control.lease(ctx, "sweep-"+t.Name, w.cfg.Worker, 3*sweepEvery, w.clock.now())
		if err == nil && mine {
			for _, lane := range lanes {
				err = errors.Join(err, w.sweepLane(work, t, lane))
			}
		}
		if err != nil && ctx.Err() == nil {
			t.log.Info("ends of tracked requests not swept", "error", err)
		}
	}
}

// watermark is the record of how far a lane's ends have been seen, by
// Orchestrator's clock.
type watermark struct {
	Until time.Time `json:"until"`
	// Behind is set where the last sweep was cut short: there is more, and the
	// next begins where it ended.
	Behind bool `json:"behind,omitempty"`
}

// believable gives the mark, or the nearest one that a sweep can have left:
// behind one that lies ahead nothing would be found for as long, and the years
// before there were computers make no date of a filter.
func (m watermark) believable(now time.Time) watermark {
	first := time.Unix(0, 0).UTC()
	switch {
	case m.Until.Before(first):
		m.Until = first
	case m.Until.After(now):
		m.Until = now
	}
	return m
}

func (w *Worker) sweepLane(ctx context.Context, t *tenant, lane Lane) error {
	if !t.mayGoOn() {
		return nil // the next sweep looks from the same watermark
	}
	key := controlKey("watermarks", lane.Tenant, lane.Folder, lane.Kind.token(), lane.Name)
	skew, _ := t.skew()
	now := t.clock.now().Add(skew)
	var mark watermark
	if _, err := w.control.get(ctx, key, &mark); errors.Is(err, jetstream.ErrKeyNotFound) {
		mark.Until = now
	} else if err != nil {
		return err
	}
	mark = mark.believable(now)
	since := mark.Until
	if !mark.Behind {
		since = since.Add(-sweepOverlap)
	}
	ends, until, behind, err := w.listEnds(ctx, t, lane, since)
	t.observe(ctx, orchestrator.ListReads, err)
	if err != nil {
		return err
	}
	for keys := range slices.Chunk(slices.Collect(maps.Keys(ends)), keysPerRead) {
		if err := w.publishEnds(ctx, t, lane, keys, ends); err != nil {
			return err
		}
	}
	if !behind {
		until = now // all that had ended when it was asked was seen
	}
	if until.After(mark.Until) {
		mark.Until = until
	}
	mark.Behind = behind
	return w.control.put(ctx, key, mark)
}

// end is something that has ended in Orchestrator: by its Reference the key
// under which it may be tracked, and how it completes the outcome.
type end struct {
	id       int64
	complete func(*Outcome) bool
}

// spareReads is which part of the list calls that may be made at once sweeps
// leave to those who look for something in doubt.
const spareReads = 0.5

// mayGoOn reports whether a sweep may make one more list call now.
func (t *tenant) mayGoOn() bool {
	return t.reads.Tokens() > spareReads*float64(t.reads.Burst()) && t.reads.Allow()
}

// listEnds gives what has ended in a lane since a time, by Reference, the
// earliest first, and the latest end among it; and whether it was cut short,
// since no list calls were left.
func (w *Worker) listEnds(ctx context.Context, t *tenant, lane Lane, since time.Time) (ends map[string]end, until time.Time, behind bool, err error) {
	folder, err := w.folderOf(ctx, t, lane)
	if err != nil {
		return nil, since, false, fmt.Errorf("find folder: %w", err)
	}
	ends, until = make(map[string]end), since
	n := 0
	// add reports whether the next one may be read.
	add := func(reference string, ended *time.Time, e end) bool {
		ends[reference] = e
		if ended != nil && ended.After(until) {
			until = *ended
		}
		n++
		behind = n%pageSize == 0 && !t.mayGoOn()
		return !behind
	}
	if lane.Kind == KindJob {
		query := orchestrator.Query{Filter: orchestrator.And(orchestrator.Eq("ReleaseName", lane.Name), orchestrator.Ge("EndTime", since)), OrderBy: "EndTime", Top: pageSize}
		for job, err := range t.Client.Jobs(ctx, folder, query) {
			if err != nil {
				return nil, since, false, fmt.Errorf("list ended jobs: %w", err)
			}
			if !add(job.Reference, job.EndTime, end{job.ID, func(o *Outcome) bool { return w.endOfJob(o, job) }}) {
				break
			}
		}
		return ends, until, behind, nil
	}
	queue, err := t.Client.QueueDefinitionByName(ctx, folder, lane.Name)
	if err != nil {
		return nil, since, false, fmt.Errorf("find queue: %w", err)
	}
	query := orchestrator.Query{Filter: orchestrator.And(orchestrator.EqInt("QueueDefinitionId", queue.ID), orchestrator.Ge("EndProcessing", since)), OrderBy: "EndProcessing", Top: pageSize}
	for item, err := range t.Client.QueueItems(ctx, folder, query) {
		if err != nil {
			return nil, since, false, fmt.Errorf("list ended queue items: %w", err)
		}
		if !add(item.Reference, item.EndProcessing, end{item.ID, func(o *Outcome) bool { return w.endOfItem(o, item) }}) {
			break
		}
	}
	return ends, until, behind, nil
}

// publishEnds publishes the ends of what is tracked under some of the keys.
func (w *Worker) publishEnds(ctx context.Context, t *tenant, lane Lane, among []string, ends map[string]end) error {
	ctx, cancel := context.WithTimeout(ctx, settleWait)
	defer cancel()
	var subjects, keys []string
	for _, key := range among {
		if ValidateKey(key) == nil {
			keys = append(keys, key)
			subjects = append(subjects, w.cfg.Topology.OutcomeSubject(lane, key, StageAccepted))
		}
	}
	if len(keys) == 0 {
		return nil
	}
	var open []tracked
	err := w.ledger.readSubjects(ctx, subjects, func(m *jetstream.RawStreamMsg) {
		if o, err := DecodeOutcome(m.Data); err == nil {
			open = append(open, tracked{Outcome: o, sequence: m.Sequence, header: m.Header})
		}
	})
	if err != nil || len(open) == 0 {
		return err
	}
	states, err := w.ledger.read(ctx, lane, keys)
	if err != nil {
		return err
	}
	for _, o := range open {
		e, s, final := ends[o.Key], states[o.Key], o.Outcome
		if s.claim == nil || s.claim.State != claimTracked || o.effectID() != e.id || !e.complete(&final) {
			continue
		}
		if err := w.publishEnd(ctx, o, final, *s.claim); err != nil {
			return err
		}
		t.sweeps.found(lane, true)
	}
	return nil
}

// effectID is the id of the job or the item in Orchestrator, 0 if not known.
func (o Outcome) effectID() int64 {
	switch {
	case o.Job != nil:
		return o.Job.ID
	case o.Item != nil:
		return o.Item.ID
	}
	return 0
}
