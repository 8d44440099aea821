package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"waybill/orchestrator"
)

// call asks Orchestrator for what a batch wants, inside the time its claims
// leave, and finds each delivery's verdict by the answer. Each call waits for a
// slot of the tenant's. The turn is passed on when none waits any more, or when
// as many have had one as there are: a batch of many calls must not keep
// everybody else from theirs.
func (r *runner) call(ctx context.Context, t target, batch []*delivery, pass func()) {
	var calls sync.WaitGroup
	for i, part := range r.parts(batch) {
		if i == r.tenant.MaxInFlight {
			pass()
		}
		if err := r.tenant.slots.acquire(ctx); err != nil { // the drain time is over
			for _, d := range part {
				d.released(time.Second)
			}
			continue
		}
		calls.Go(func() {
			defer r.tenant.slots.release()
			r.callPart(ctx, t, part)
		})
	}
	pass()
	calls.Wait()
}

// parts splits a batch into what one call asks for.
func (r *runner) parts(batch []*delivery) [][]*delivery {
	// The outcome of a single call carries the item's id, by which it can be
	// followed; a bulk call gives none. And what has got no clear answer twice
	// is asked for alone, lest one of them fails all the others.
	single, bulk := split(batch, func(d *delivery) bool {
		return r.callsSingly() || d.request.Until == UntilCompleted || d.claim.Attempts > 2
	})
	parts := byBytes(bulk, r.cfg.BulkBytes)
	for i := range single {
		parts = append(parts, single[i:i+1])
	}
	return parts
}

func (r *runner) callPart(ctx context.Context, t target, part []*delivery) {
	switch {
	case t.lane.Kind == KindJob:
		r.startJob(ctx, t, part[0])
	case len(part) == 1:
		r.addItem(ctx, t, part[0])
	default:
		r.addInBulk(ctx, t, part)
	}
}

// callsSingly reports whether each request of the lane has a call of its own:
// jobs, and items whose ids are wanted.
func (r *runner) callsSingly() bool {
	return r.published.Kind == KindJob || slices.ContainsFunc(r.tenant.ItemIDs, func(queue string) bool {
		return queue == "*" || strings.EqualFold(queue, r.published.Name)
	})
}

// addAlone adds each item with a call of its own, as many side by side as the
// tenant has slots free beside the one that is held.
func (r *runner) addAlone(ctx context.Context, t target, batch []*delivery) {
	if len(batch) == 0 {
		return
	}
	extra := r.tenant.slots.tryAcquire(len(batch) - 1)
	defer func() {
		for range extra {
			r.tenant.slots.release()
		}
	}()
	var group errgroup.Group
	group.SetLimit(1 + extra)
	for _, d := range batch {
		group.Go(func() error {
			r.addItem(ctx, t, d)
			return nil
		})
	}
	_ = group.Wait() // each delivery carries its own verdict
}

// byBytes cuts a batch so that no part's messages exceed most bytes.
func byBytes(batch []*delivery, most int) [][]*delivery {
	var parts [][]*delivery
	size := 0
	for _, d := range batch {
		size += len(d.msg.Data())
		if len(parts) == 0 || size > most {
			parts = append(parts, nil)
			size = len(d.msg.Data())
		}
		parts[len(parts)-1] = append(parts[len(parts)-1], d)
	}
	return parts
}

// ready keeps the deliveries that a call may be made for now, and counts the
// call. Everything that can forbid it is asked here, as late as possible.
func (r *runner) ready(ctx context.Context, t target, batch []*delivery) []*delivery {
	now := r.clock.now()
	late, batch := split(batch, func(d *delivery) bool { return d.expired(now) })
	for _, d := range late { // while the batch was waiting for its turn
		r.refuse(t, d, now)
	}
	wait := r.tenant.pausedFor(orchestrator.Writes)
	if ctx.Err() != nil {
		wait = time.Second
	}
	if wait > 0 {
		for _, d := range batch {
			d.released(wait)
		}
		return nil
	}
	batch = r.stillHeld(ctx, t.lane, batch)
	for _, d := range batch {
		d.attempt = false
	}
	r.reach.all(PointCalling, len(batch))
	return batch
}

// addInBulk adds items with one call, which decides each on its own. It
// returns with a verdict for every delivery.
func (r *runner) addInBulk(ctx context.Context, t target, batch []*delivery) {
	if batch = r.ready(ctx, t, batch); len(batch) == 0 {
		return
	}
	request := orchestrator.BulkAddQueueItemsRequest{
		QueueName: t.lane.Name, CommitType: orchestrator.ProcessAllIndependently, QueueItems: make([]orchestrator.QueueItemData, 0, len(batch)),
	}
	for _, d := range batch {
		request.QueueItems = append(request.QueueItems, d.payload.item)
	}
	callCtx, cancel := r.callTime(ctx, batch)
	answer, err := r.tenant.Client.BulkAddQueueItems(callCtx, t.folder, request)
	cancel()
	r.answered(ctx, batch, err)
	e, _ := errors.AsType[*orchestrator.Error](err)
	switch {
	case err == nil:
		r.sortBulkAnswer(ctx, t, batch, answer)
	case e != nil && (e.Kind == orchestrator.Rejected || e.Kind == orchestrator.Duplicate) && !isAboutLane(e):
		r.narrow(ctx, t, batch) // somewhere among them is what it does not take
	default:
		r.sortError(ctx, t, batch, err)
	}
}

// isAboutLane tells an error that every item would get: the folder or the
// queue is gone.
func isAboutLane(e *orchestrator.Error) bool {
	const noSuchFolder, noFolder = 1100, 1101
	return errors.Is(e, orchestrator.ErrNotFound) || e.Code == noSuchFolder || e.Code == noFolder
}

// narrow finds the items for which a whole bulk call was refused, by halves.
func (r *runner) narrow(ctx context.Context, t target, batch []*delivery) {
	if len(batch) == 1 {
		r.addItem(ctx, t, batch[0])
		return
	}
	half := len(batch) / 2
	r.addInBulk(ctx, t, batch[:half])
	r.addInBulk(ctx, t, batch[half:])
}

func (r *runner) sortBulkAnswer(ctx context.Context, t target, batch []*delivery, answer orchestrator.BulkAddQueueItemsResponse) {
	failed := make(map[int]orchestrator.FailedQueueItem, len(answer.FailedItems))
	for _, f := range answer.FailedItems {
		if f.Ordinal == nil { // it failed, but which one is not said
			r.inDoubt(ctx, t, batch, errors.New("bulk add queue items: the answer names a failed item without its ordinal"))
			return
		}
		failed[*f.Ordinal] = f
	}
	now := r.clock.now()
	var duplicates, others []*delivery
	for i, d := range batch {
		f, bad := failed[i+1]
		switch {
		case !bad:
			r.remember(d.payload.reference)
			d.decided(d.outcome(t.lane, StatusAccepted, ByAnswer, now))
		case f.ErrorCode == "DuplicateReference":
			duplicates = append(duplicates, d)
		default:
			others = append(others, d)
		}
	}
	r.resolveDuplicates(ctx, t, duplicates)
	// Asked for alone, an item gets an answer that says what is wrong with it.
	r.addAlone(ctx, t, others)
}

func (r *runner) addItem(ctx context.Context, t target, d *delivery) {
	if len(r.ready(ctx, t, []*delivery{d})) == 0 {
		return
	}
	callCtx, cancel := r.callTime(ctx, []*delivery{d})
	item, err := r.tenant.Client.AddQueueItem(callCtx, t.folder, d.payload.item)
	cancel()
	r.answered(ctx, []*delivery{d}, err)
	if err != nil {
		r.sortError(ctx, t, []*delivery{d}, err)
		return
	}
	r.remember(d.payload.reference)
	r.accept(t, d, ByAnswer, itemResult(item), nil)
}

func (r *runner) startJob(ctx context.Context, t target, d *delivery) {
	if len(r.ready(ctx, t, []*delivery{d})) == 0 {
		return
	}
	info := d.payload.job
	info.ReleaseKey = t.release.Key
	info.BatchExecutionKey = r.handle(t, d)
	if info.Strategy == "" {
		info.Strategy = "ModernJobsCount"
		if r.tenant.ClassicFolders {
			info.Strategy = "JobsCount"
		}
	}
	if info.Strategy == "Specific" {
		info.JobsCount = 0 // the robots named are the count
	}
	callCtx, cancel := r.callTime(ctx, []*delivery{d})
	jobs, err := r.tenant.Client.StartJobs(callCtx, t.folder, info)
	cancel()
	r.answered(ctx, []*delivery{d}, err)
	if err == nil && len(jobs) != 1 {
		err = fmt.Errorf("start jobs: the answer has %d jobs for one asked for", len(jobs))
		r.inDoubt(ctx, t, []*delivery{d}, err)
		return
	}
	if errors.Is(err, orchestrator.ErrNotFound) {
		r.tenant.Client.ForgetRelease(t.folder, t.lane.Name)
	}
	if err != nil {
		r.sortError(ctx, t, []*delivery{d}, err)
		return
	}
	r.tenant.learnBatchKeys(strings.EqualFold(jobs[0].BatchExecutionKey, info.BatchExecutionKey))
	r.remember(info.BatchExecutionKey)
	r.accept(t, d, ByAnswer, nil, jobResult(jobs[0]))
}

// batchExecutionKeys is the name space of the BatchExecutionKeys we give to
// jobs; its value has no meaning but must never change.
var batchExecutionKeys = uuid.MustParse("6a7fbb64-6a6c-4c3e-9b0f-0d6c2b8a4f11")

// batchExecutionKey marks a job as the effect of one key in one generation: a
// GUID that any worker computes alike.
func batchExecutionKey(lane Lane, key string, generation int) string {
	name := fmt.Sprintf("%s.%s/%d", lane.scope(), encodeToken(key), generation)
	return uuid.NewSHA1(batchExecutionKeys, []byte(name)).String()
}

// callTime bounds a call by the time it may take and by the claims it is made
// under, whichever is over first: a worker that stood still since it looked at
// its claims must not send it any more. Since a machine that was suspended has
// not counted that time, both its clocks are looked at once more right before
// the call is sent.
func (r *runner) callTime(ctx context.Context, batch []*delivery) (context.Context, context.CancelFunc) {
	ctx = orchestrator.WithLastLook(ctx, func() error {
		now := r.now()
		for _, d := range batch {
			if d.timeLeft(now) < callMargin {
				return errors.New("the claim it was to be made under is over")
			}
		}
		return nil
	})
	end := time.Now().Add(r.cfg.CallTimeout)
	for _, d := range batch {
		if over := d.heldSince.mono.Add(d.claim.Hold - callMargin); over.Before(end) {
			end = over
		}
	}
	return context.WithDeadlineCause(ctx, end, fmt.Errorf("no answer within %s", r.cfg.CallTimeout))
}

// answered learns of the tenant from the end of a call that may take effect.
func (r *runner) answered(ctx context.Context, batch []*delivery, err error) {
	r.reach.all(PointAnswered, len(batch))
	if errors.Is(err, orchestrator.ErrNotSent) {
		return // it says nothing of the tenant
	}
	r.tenant.observe(ctx, orchestrator.Writes, err)
	if r.tenant.pausedFor(orchestrator.Writes) > 0 {
		r.reach.all(PointThrottled, len(batch))
	}
}

// accept settles what Orchestrator holds. Where the producer wants to know how
// it ends, the key is tracked from here on.
func (r *runner) accept(t target, d *delivery, by DecidedBy, item *ItemResult, job *JobResult) {
	o := d.outcome(t.lane, StatusAccepted, by, r.clock.now())
	o.Item, o.Job = item, job
	if d.request.Until == UntilCompleted {
		o.Stage = StageAccepted
	}
	d.decided(o)
}

// What an outcome carries of a result at most, in bytes, so that it always fits
// a message; the rest is read in Orchestrator.
const (
	maxOutput = 256 << 10
	maxInfo   = 16 << 10
)

func itemResult(item orchestrator.QueueItem) *ItemResult {
	r := &ItemResult{ID: item.ID, Key: item.Key, Status: item.Status}
	if r.OutputCut = len(item.Output) > maxOutput; !r.OutputCut {
		r.Output = item.Output
	}
	return r
}

func jobResult(job orchestrator.Job) *JobResult {
	r := &JobResult{ID: job.ID, Key: job.Key, State: job.State, Info: clip(job.Info, maxInfo)}
	if r.OutputCut = len(job.OutputArguments) > maxOutput; !r.OutputCut {
		r.OutputArguments = job.OutputArguments
	}
	return r
}

// sortError finds the verdict by what an error says of the call: surely not
// made, can never work, or may have been made.
func (r *runner) sortError(ctx context.Context, t target, batch []*delivery, err error) {
	e, ok := errors.AsType[*orchestrator.Error](err)
	if !ok {
		r.inDoubt(ctx, t, batch, err)
		return
	}
	if errors.Is(err, orchestrator.ErrNotSent) {
		r.log.Info("call not sent", "requests", len(batch), "error", err)
	}
	switch e.Kind {
	case orchestrator.Transient:
		delay := max(r.tenant.pausedFor(orchestrator.Writes), time.Second)
		for _, d := range batch {
			d.released(delay)
		}
	case orchestrator.Denied:
		delay := max(r.pauseLane(err), time.Second)
		for _, d := range batch {
			d.released(delay)
		}
	case orchestrator.Rejected:
		now := r.clock.now()
		for _, d := range batch {
			o := d.outcome(t.lane, StatusRejected, ByAnswer, now)
			o.Error = errorOf(err)
			d.refused(o, ReasonRejected)
		}
		if errors.Is(err, orchestrator.ErrNotFound) && t.lane.Kind == KindItem {
			r.tenant.Client.ForgetQueue(t.folder, t.lane.Name)
		}
	case orchestrator.Duplicate:
		r.resolveDuplicates(ctx, t, batch)
	default:
		r.inDoubt(ctx, t, batch, err)
	}
}
