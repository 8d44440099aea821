package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"waybill/orchestrator"
)

// finding is what a look-up says of one delivery.
type finding int

const (
	foundNothing finding = iota
	foundOurs            // its effect
	foundOthers          // something with its Reference that was there before it
	foundUnclear         // something that may or may not be its effect
)

// sighting is something in Orchestrator that bears on a delivery.
type sighting struct {
	finding finding
	item    *ItemResult
	job     *JobResult
	why     string // of foundUnclear
}

// sightings is the result of a look-up.
type sightings struct {
	found         map[*delivery]sighting
	absenceProven bool
}

func (s sightings) of(d *delivery) sighting { return s.found[d] }

// see adds a sighting. Our own counts most, then the unclear, then others'.
func (s *sightings) see(d *delivery, seen sighting) {
	rank := map[finding]int{foundOurs: 3, foundUnclear: 2, foundOthers: 1}
	if rank[seen.finding] > rank[s.found[d].finding] {
		s.found[d] = seen
	}
}

// errNoReadsLeft says that the budget for list calls is used up for now.
var errNoReadsLeft = errors.New("no list calls left in this minute's budget")

// handlesPerFilter keeps a filter within what Orchestrator takes: 100
// expressions, and a URL of a few kilobytes.
const handlesPerFilter = 20

// find looks for the effects of deliveries: by filter, and where a filter
// cannot be trusted to find everything, by listing what was created since and
// comparing here.
func (r *runner) find(ctx context.Context, t target, batch []*delivery) (sightings, error) {
	s, err := r.findByFilters(ctx, t, batch)
	if err != nil || s.absenceProven {
		return s, err
	}
	missing, _ := split(batch, func(d *delivery) bool { return s.of(d).finding == foundNothing })
	if len(missing) == 0 {
		return s, nil
	}
	return s, r.findByListing(ctx, t, missing, &s)
}

// findByFilters asks for the effects by name, in as many calls as it takes.
func (r *runner) findByFilters(ctx context.Context, t target, batch []*delivery) (sightings, error) {
	s := sightings{found: make(map[*delivery]sighting), absenceProven: true}
	for chunk := range slices.Chunk(batch, handlesPerFilter) {
		if err := r.findByFilter(ctx, t, chunk, &s); err != nil {
			return s, err
		}
	}
	return s, nil
}

// handle is what an effect of the delivery is found by: the Reference of an
// item, the BatchExecutionKey of a job.
func (r *runner) handle(t target, d *delivery) string {
	if t.lane.Kind == KindJob {
		return batchExecutionKey(t.lane, d.key, d.claim.Generation)
	}
	return d.payload.reference
}

// findByFilter asks for the handles themselves. That it finds nothing proves
// absence only if it finds, in the same answer, something that is known to be
// there.
func (r *runner) findByFilter(ctx context.Context, t target, batch []*delivery, s *sightings) error {
	canary := r.knownHandle(ctx, t)
	var terms []string
	byHandle := make(map[string][]*delivery, len(batch))
	for _, d := range batch {
		h := r.handle(t, d)
		if len(byHandle[h]) == 0 {
			terms = append(terms, r.handleFilter(t, h))
		}
		byHandle[h] = append(byHandle[h], d)
	}
	if canary != "" && len(byHandle[canary]) == 0 {
		terms = append(terms, r.handleFilter(t, canary))
	}
	proven := false
	err := r.list(ctx, t, strings.Join(terms, " or "), func(f found) {
		proven = proven || f.handle == canary || len(byHandle[f.handle]) > 0
		for _, d := range byHandle[f.handle] {
			s.see(d, f.judge(d))
		}
	})
	s.absenceProven = s.absenceProven && proven
	if e, ok := errors.AsType[*orchestrator.Error](err); ok && e.Kind == orchestrator.Rejected {
		s.absenceProven = false // this Orchestrator does not take the filter
		return nil
	}
	return err
}

func (r *runner) handleFilter(t target, handle string) string {
	if t.lane.Kind == KindJob {
		return "BatchExecutionKey eq " + handle
	}
	return orchestrator.Eq("Reference", handle)
}

// findByListing reads everything created in the lane since the oldest of the
// requests, all pages, and compares byte for byte.
func (r *runner) findByListing(ctx context.Context, t target, batch []*delivery, s *sightings) error {
	since := r.clock.now()
	candidates := make(map[string][]*delivery, 2*len(batch))
	for _, d := range batch {
		if from := r.createdFrom(d); from.Before(since) {
			since = from
		}
		handle, reference := r.handle(t, d), d.payload.reference
		candidates[handle] = append(candidates[handle], d)
		if reference != handle {
			candidates[reference] = append(candidates[reference], d)
		}
	}
	filter := "CreationTime ge " + since.UTC().Format("2006-01-02T15:04:05.000Z")
	if t.lane.Kind == KindJob {
		filter = orchestrator.Eq("ReleaseName", t.release.Name) + " and " + filter
	}
	err := r.list(ctx, t, filter, func(f found) {
		for _, name := range f.names() {
			for _, d := range candidates[name] {
				s.see(d, f.judge(d))
			}
		}
	})
	if err == nil {
		s.absenceProven = true
	}
	return err
}

// age is what the time at which something was created says of whose it is.
type age int

const (
	ageSince   age = iota // since the request was published
	ageBefore             // before that
	ageUnclear            // nobody can tell: the clocks are too far apart, or the request too old
)

// ageOf compares the time at which something was created, by Orchestrator's
// clock, with when the request was published. What is older than the ledger may
// be the effect of a copy that was published long before.
func (r *runner) ageOf(d *delivery, created *time.Time) age {
	skew, known := r.tenant.skew()
	known = known && created != nil
	published := d.claim.PublishedAt.Add(skew)
	switch {
	case known && !created.Before(published.Add(-clockTolerance)):
		return ageSince
	case known && created.Before(published.Add(-r.clockSpread())) && !r.olderThanLedger(d):
		return ageBefore
	}
	return ageUnclear
}

// createdFrom is the earliest time, by Orchestrator's clock, at which the
// effect of a delivery can have been created.
func (r *runner) createdFrom(d *delivery) time.Time {
	skew, known := r.tenant.skew()
	if !known || r.olderThanLedger(d) {
		return time.Unix(0, 0)
	}
	return d.claim.PublishedAt.Add(skew - r.clockSpread())
}

// clockTolerance covers what Orchestrator's Date header rounds away and how
// far its own servers commonly differ.
const clockTolerance = 5 * time.Second

// clockSpread is how far at most the clocks that a comparison rests on may
// differ: the request was stamped by one NATS server, and Orchestrator's clock
// compared with that of another.
func (r *runner) clockSpread() time.Duration { return clockTolerance + r.cfg.Settle/2 }

// found is an item or a job that a look-up came upon.
type found struct {
	handle    string
	reference string
	judge     func(*delivery) sighting // whose it is
}

// names are what deliveries may know it by.
func (f found) names() []string {
	if f.reference == f.handle {
		return []string{f.handle}
	}
	return []string{f.handle, f.reference}
}

// list reads items or jobs within the budget for list calls.
func (r *runner) list(ctx context.Context, t target, filter string, each func(found)) error {
	if r.tenant.pausedFor(orchestrator.ListReads) > 0 {
		return errNoReadsLeft
	}
	ctx, cancel := context.WithTimeout(ctx, 10*r.cfg.CallTimeout)
	defer cancel()
	err := r.mayList(ctx)
	if err != nil {
		return err
	}
	if t.lane.Kind == KindJob {
		err = r.listJobs(ctx, t, filter, each)
	} else {
		err = r.listItems(ctx, t, filter, each)
	}
	r.tenant.observe(ctx, orchestrator.ListReads, err)
	return err
}

// mayList waits a little for one more list call.
func (r *runner) mayList(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, maxReadWait)
	defer cancel()
	if err := r.tenant.reads.Wait(ctx); err != nil {
		return errNoReadsLeft
	}
	return nil
}

const (
	// pageSize is what one list call gives at most in the cloud.
	pageSize    = 100
	maxReadWait = 5 * time.Second
)

func (r *runner) listItems(ctx context.Context, t target, filter string, each func(found)) error {
	query := orchestrator.Query{Filter: fmt.Sprintf("QueueDefinitionId eq %d and (%s)", t.queue.ID, filter), Top: pageSize}
	n := 0
	for item, err := range r.tenant.Client.QueueItems(ctx, t.folder, query) {
		if err != nil {
			return fmt.Errorf("look for queue items: %w", err)
		}
		if n++; n%pageSize == 0 {
			if err := r.mayList(ctx); err != nil {
				return err
			}
		}
		each(found{item.Reference, item.Reference, func(d *delivery) sighting { return r.judgeItem(d, item) }})
	}
	return nil
}

func (r *runner) listJobs(ctx context.Context, t target, filter string, each func(found)) error {
	n := 0
	for job, err := range r.tenant.Client.Jobs(ctx, t.folder, orchestrator.Query{Filter: filter, Top: pageSize}) {
		if err != nil {
			return fmt.Errorf("look for jobs: %w", err)
		}
		if n++; n%pageSize == 0 {
			if err := r.mayList(ctx); err != nil {
				return err
			}
		}
		each(found{strings.ToLower(job.BatchExecutionKey), job.Reference, func(d *delivery) sighting { return r.judgeJob(t, d, job) }})
	}
	return nil
}

// judgeItem says whose an item with a delivery's Reference is. It is ours only
// if the Reference is the key itself, the content is the same and it was
// created after the request was published; somebody else's only if it surely
// was before.
func (r *runner) judgeItem(d *delivery, item orchestrator.QueueItem) sighting {
	s := sighting{finding: foundOurs, item: itemResult(item)}
	created := r.ageOf(d, item.CreationTime)
	switch {
	case created == ageBefore:
		s.finding = foundOthers
	case !d.payload.ownReference(d.key):
		s.finding = foundUnclear
		s.why = fmt.Sprintf("item %d has the Reference %q, which is not the request's key and so may be another request's", item.ID, item.Reference)
	case !orchestrator.SameContent(d.payload.item.SpecificContent, item.SpecificContent):
		s.finding = foundUnclear
		s.why = fmt.Sprintf("item %d has the request's Reference but other content", item.ID)
	case created == ageUnclear:
		s.finding = foundUnclear
		s.why = fmt.Sprintf("item %d has the request's Reference and content, and whether it was created at %s since the request was published the clocks cannot tell", item.ID, item.CreationTime)
	}
	return s
}

// judgeJob says whose a job is. A BatchExecutionKey that we computed is nobody
// else's. Where Orchestrator gives jobs keys of its own, as old versions do,
// the Reference has to do.
func (r *runner) judgeJob(t target, d *delivery, job orchestrator.Job) sighting {
	ours := sighting{finding: foundOurs, job: jobResult(job)}
	if strings.EqualFold(job.BatchExecutionKey, r.handle(t, d)) {
		return ours
	}
	kept, created := r.tenant.batchKeys.Load(), r.ageOf(d, job.CreationTime)
	switch {
	case kept == batchKeysKept, job.Reference != d.payload.reference, created == ageBefore:
		return sighting{} // another's
	case created == ageSince && kept == batchKeysReplaced && d.payload.ownReference(d.key) && orchestrator.SameArguments(d.payload.job.InputArguments, job.InputArguments):
		return ours
	}
	ours.finding = foundUnclear
	ours.why = fmt.Sprintf("job %d has the request's Reference but another BatchExecutionKey", job.ID)
	return ours
}

// knownHandle is something of this lane that Orchestrator is known to hold:
// the last that this process was told of, or else what the ledger says of the
// lane's newest outcome.
func (r *runner) knownHandle(ctx context.Context, t target) string {
	r.mu.Lock()
	canary := r.canary
	r.mu.Unlock()
	if canary != "" {
		return canary
	}
	m, err := r.ledger.lastFromLeader(ctx, r.cfg.Topology.subject("outcomes", t.lane.scope(), "*", string(StageFinal)))
	if err != nil {
		if !errors.Is(err, jetstream.ErrMsgNotFound) {
			r.log.Info("no known outcome to test the look-up by", "error", err)
		}
		return ""
	}
	o, err := DecodeOutcome(m.Data)
	if err != nil || o.Status != StatusAccepted && o.Status != StatusSucceeded {
		return ""
	}
	if t.lane.Kind == KindJob {
		return batchExecutionKey(t.lane, o.Key, o.Generation)
	}
	return o.Reference
}
