package pipeline

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"waybill/orchestrator"
)

const (
	// trackedBeside is how many jobs and items a worker asks after at a time.
	trackedBeside = 16
	maxTracked    = 100_000
	// What has just been accepted is asked after soon, and then less and less
	// often, as far as its age makes the news unlikely to be missed.
	minPoll, maxPoll = time.Second, time.Minute
)

// followToTheEnd asks after what producers want to know the end of. The news
// that a request was accepted stays in the ledger until then; a consumer of
// these is the list of what is to be asked after, shared by all workers.
func (w *Worker) followToTheEnd(ctx, work context.Context, t *tenant) {
	for ctx.Err() == nil {
		err := w.followTenant(ctx, work, t)
		if err != nil && ctx.Err() == nil {
			t.log.Log(ctx, w.troubleLevel(), "tracked requests not followed", "error", err)
			_ = sleep(ctx, time.Second) // the loop looks at the context itself
		}
	}
}

func (w *Worker) followTenant(ctx, work context.Context, t *tenant) error {
	filter := w.cfg.Topology.trackingFilter(t.Name)
	consumer, err := w.js.CreateOrUpdateConsumer(ctx, w.cfg.Topology.LedgerStream(), jetstream.ConsumerConfig{
		Durable:       w.cfg.Topology.trackingConsumer(t.Name),
		Description:   "accepted requests whose end is awaited",
		FilterSubject: filter,
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       w.cfg.AckWait + w.cfg.CallTimeout, // nobody says meanwhile that it is in progress
		MaxDeliver:    -1,
		MaxAckPending: maxTracked,
	})
	if err != nil {
		return fmt.Errorf("open the tracking consumer: %w", err)
	}
	for ctx.Err() == nil {
		if wait := t.pausedFor(orchestrator.Reads); wait > 0 {
			_ = sleep(ctx, wait) // the loop looks at the context itself
			continue
		}
		pull, cancel := context.WithTimeout(ctx, idlePull)
		batch, err := consumer.Fetch(trackedBeside, jetstream.FetchContext(pull))
		if err == nil {
			w.askAfter(work, t, batch)
			err = batch.Error()
		}
		cancel()
		if err != nil && !isQuiet(err) {
			return fmt.Errorf("pull tracked requests: %w", err)
		}
	}
	return nil
}

func (w *Worker) askAfter(ctx context.Context, t *tenant, batch jetstream.MessageBatch) {
	var asked sync.WaitGroup
	defer asked.Wait()
	for msg := range batch.Messages() {
		asked.Go(func() {
			next, err := w.askOnce(ctx, t, msg)
			if err != nil {
				t.log.Warn("tracked request not followed", "subject", msg.Subject(), "error", err)
			}
			if next > 0 {
				err = msg.NakWithDelay(next)
			} else {
				err = msg.Ack()
			}
			if err != nil {
				t.log.Info("tracking not answered", "error", err)
			}
		})
	}
}

// tracked is a request that was accepted and whose end is awaited: the news of
// it, as it stands in the ledger.
type tracked struct {
	Outcome
	sequence uint64
	header   nats.Header
}

// askOnce looks how an accepted request goes on. It returns when to look
// again, 0 for never.
func (w *Worker) askOnce(ctx context.Context, t *tenant, msg jetstream.Msg) (time.Duration, error) {
	meta, err := msg.Metadata()
	if err != nil {
		return maxPoll, fmt.Errorf("read message metadata: %w", err)
	}
	o, err := DecodeOutcome(msg.Data())
	if err != nil {
		return maxPoll, err
	}
	open := tracked{Outcome: o, sequence: meta.Sequence.Stream, header: msg.Headers()}
	states, err := w.ledger.read(ctx, o.Lane(), []string{o.Key})
	if err != nil {
		return minPoll, err
	}
	s := states[o.Key]
	if s.outcome != nil && s.outcome.Generation >= o.Generation {
		if err := w.forgetAccepted(ctx, open); err != nil {
			return minPoll, err
		}
		return 0, nil
	}
	if s.claim == nil || s.claim.State != claimTracked {
		return minPoll, nil // a replica that is behind
	}
	ended, err := w.lookAtEnd(ctx, t, &o)
	t.observe(ctx, orchestrator.Reads, err)
	if err != nil || !ended {
		return t.nextPoll(o, w.clock.now()), err
	}
	if err := w.publishEnd(ctx, open, o, *s.claim); err != nil {
		return minPoll, err
	}
	return 0, nil
}

// lookAtEnd reads the job or the item by its id, which no limit counts, and
// completes the outcome if it has ended.
func (w *Worker) lookAtEnd(ctx context.Context, t *tenant, o *Outcome) (bool, error) {
	folder, err := w.folderOf(ctx, t, o.Lane())
	if err != nil {
		return false, fmt.Errorf("find folder: %w", err)
	}
	if o.Kind == KindJob {
		job, err := t.Client.Job(ctx, folder, o.Job.ID)
		if errors.Is(err, orchestrator.ErrNotFound) {
			w.vanished(o, fmt.Sprintf("job %d", o.Job.ID))
			return true, nil
		}
		if err != nil {
			return false, fmt.Errorf("look at job: %w", err)
		}
		return w.endOfJob(o, job), nil
	}
	item, err := t.Client.QueueItem(ctx, folder, o.Item.ID)
	if err == nil && item.Status == "Retried" {
		item, err = t.Client.QueueItemLastRetry(ctx, folder, item.ID)
	}
	if errors.Is(err, orchestrator.ErrNotFound) {
		w.vanished(o, fmt.Sprintf("queue item %d", o.Item.ID))
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("look at queue item: %w", err)
	}
	return w.endOfItem(o, item), nil
}

// folderOf finds a canonical lane's folder, by its key where it has been renamed
// since.
func (w *Worker) folderOf(ctx context.Context, t *tenant, lane Lane) (orchestrator.Folder, error) {
	folder, err := t.Client.Folder(ctx, orchestrator.FolderRef{Path: lane.Folder})
	if e, ok := errors.AsType[*orchestrator.Error](err); !ok || e.Kind != orchestrator.Rejected {
		return folder, err //nolint:wrapcheck // the caller says for what
	}
	for _, published := range []string{lane.Folder, DefaultFolder} {
		b, bindErr := w.control.binding(ctx, Lane{Tenant: lane.Tenant, Folder: published, Kind: lane.Kind, Name: lane.Name})
		if bindErr == nil && b.Lane == lane && b.FolderKey != "" {
			return t.Client.Folder(ctx, orchestrator.FolderRef{Key: b.FolderKey}) //nolint:wrapcheck // the caller says for what
		}
	}
	return folder, err //nolint:wrapcheck // the caller says for what
}

// vanished is the end of what Orchestrator no longer has: it was accepted,
// and how it ended nobody can know.
func (w *Worker) vanished(o *Outcome, what string) {
	w.ended(o, StatusUnknown)
	o.Error = &OutcomeError{Kind: "vanished", Message: what + " was accepted and is no longer there: it was removed before its end was seen"}
}

func (w *Worker) ended(o *Outcome, status Status) {
	o.Stage, o.Status, o.DecidedBy, o.FinishedAt = StageFinal, status, ByPoll, w.clock.now()
}

// endOfJob completes the outcome of a job that has ended, and reports whether
// it has.
func (w *Worker) endOfJob(o *Outcome, job orchestrator.Job) bool {
	kinds := map[string]string{"Successful": "", "Faulted": "faulted", "Stopped": "stopped"}
	kind, end := kinds[job.State]
	if !end {
		return false
	}
	o.Job = jobResult(job)
	w.ended(o, StatusSucceeded)
	if kind != "" {
		o.Status = StatusFailed
		o.Error = &OutcomeError{Kind: kind, Code: job.ErrorCode, Message: job.Info}
	}
	return true
}

// endOfItem completes the outcome of an item whose transaction has ended, and
// reports whether it has.
func (w *Worker) endOfItem(o *Outcome, item orchestrator.QueueItem) bool {
	kinds := map[string]string{"Successful": "", "Failed": "failed", "Abandoned": "abandoned", "Deleted": "deleted"}
	kind, end := kinds[item.Status]
	if !end {
		return false
	}
	o.Item = itemResult(item)
	w.ended(o, StatusSucceeded)
	if kind != "" {
		o.Status = StatusFailed
		o.Error = &OutcomeError{Kind: kind, Message: "the queue item ended as " + item.Status}
		if e := item.ProcessingException; e != nil {
			o.Error.Code, o.Error.Message = e.Type, e.Reason
		}
	}
	return true
}

// publishEnd writes the final outcome and takes the key out of tracking,
// together; then the news of acceptance goes.
func (w *Worker) publishEnd(ctx context.Context, open tracked, end Outcome, c claim) error {
	final, err := w.ledger.putOutcome(end.Lane(), end, c, traceOf(open.header))
	if err != nil {
		return err
	}
	c.State = claimSettled
	if err := w.ledger.commitTogether(ctx, PointEndSeen, []*write{final, w.ledger.changeClaim(end.Lane(), end.Key, c)}); err != nil {
		return fmt.Errorf("publish the end of %s: %w", end.Key, err)
	}
	w.reach.all(PointEndStored, 1)
	w.stats.count(&end)
	return w.forgetAccepted(ctx, open)
}

// forgetAccepted removes the news that a request was accepted once its final
// outcome is there; it was kept without end so as not to lose track.
func (w *Worker) forgetAccepted(ctx context.Context, open tracked) error {
	stream, err := w.js.Stream(ctx, w.cfg.Topology.LedgerStream())
	if err != nil {
		return fmt.Errorf("open the ledger: %w", err)
	}
	if err := stream.DeleteMsg(ctx, open.sequence); err != nil {
		if _, there := stream.GetMsg(ctx, open.sequence); !errors.Is(there, jetstream.ErrMsgNotFound) { // another worker was faster
			return fmt.Errorf("remove the news of acceptance: %w", err)
		}
	}
	w.reach.all(PointEndForgotten, 1)
	return nil
}
