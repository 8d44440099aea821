package pipeline

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"waybill/orchestrator"
)

const (
	// trackedBeside is how many jobs and items a worker asks after at a time.
	trackedBeside = 16
	trackedWait   = time.Minute // AckWait of the tracking consumer
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
			t.log.Warn("tracked requests not followed", "error", err)
			_ = sleep(ctx, time.Second) // the loop looks at the context itself
		}
	}
}

func (w *Worker) followTenant(ctx, work context.Context, t *tenant) error {
	filter := w.cfg.Topology.subject("outcomes", encodeToken(t.Name), "*", "*", "*", "*", string(StageAccepted))
	consumer, err := w.js.CreateOrUpdateConsumer(ctx, w.cfg.Topology.LedgerStream(), jetstream.ConsumerConfig{
		Durable:       "tracking_" + consumerName(filter, Lane{Tenant: t.Name, Name: "accepted"}),
		Description:   "accepted requests whose end is awaited",
		FilterSubject: filter,
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       trackedWait,
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

// askOnce looks how an accepted request goes on. It returns when to look
// again, 0 for never.
func (w *Worker) askOnce(ctx context.Context, t *tenant, msg jetstream.Msg) (time.Duration, error) {
	o, err := DecodeOutcome(msg.Data())
	if err != nil {
		return maxPoll, err
	}
	states, err := w.ledger.read(ctx, o.Lane(), []string{o.Key})
	if err != nil {
		return minPoll, err
	}
	s := states[o.Key]
	if s.outcome != nil && s.outcome.Generation >= o.Generation {
		return 0, w.forgetAccepted(ctx, msg)
	}
	if s.claim == nil || s.claim.State != claimTracked {
		return minPoll, nil // a replica that is behind
	}
	ended, err := w.lookAtEnd(ctx, t, &o)
	t.observe(ctx, orchestrator.Reads, err)
	if err != nil || !ended {
		age := w.clock.now().Sub(o.FinishedAt)
		return min(maxPoll, max(minPoll, age/4)), err
	}
	if err := w.publishEnd(ctx, o, *s.claim, msg); err != nil {
		return minPoll, err
	}
	return 0, w.forgetAccepted(ctx, msg)
}

// lookAtEnd reads the job or the item by its id, which no limit counts, and
// completes the outcome if it has ended.
func (w *Worker) lookAtEnd(ctx context.Context, t *tenant, o *Outcome) (bool, error) {
	folder, err := t.Client.Folder(ctx, orchestrator.FolderRef{Path: o.Folder})
	if err != nil {
		return false, fmt.Errorf("find folder: %w", err)
	}
	o.Stage, o.DecidedBy, o.FinishedAt = StageFinal, ByPoll, w.clock.now()
	if o.Kind == KindJob {
		job, err := t.Client.Job(ctx, folder, o.Job.ID)
		if errors.Is(err, orchestrator.ErrNotFound) {
			vanished(o, fmt.Sprintf("job %d", o.Job.ID))
			return true, nil
		}
		if err != nil {
			return false, fmt.Errorf("look at job: %w", err)
		}
		return endOfJob(o, job), nil
	}
	item, err := t.Client.QueueItem(ctx, folder, o.Item.ID)
	if err == nil && item.Status == "Retried" {
		item, err = t.Client.QueueItemLastRetry(ctx, folder, item.ID)
	}
	if errors.Is(err, orchestrator.ErrNotFound) {
		vanished(o, fmt.Sprintf("queue item %d", o.Item.ID))
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("look at queue item: %w", err)
	}
	return endOfItem(o, item), nil
}

// vanished is the end of what Orchestrator no longer has: it was accepted,
// and how it ended nobody can know.
func vanished(o *Outcome, what string) {
	o.Status = StatusUnknown
	o.Error = &OutcomeError{Kind: "vanished", Message: what + " was accepted and is no longer there: it was removed before its end was seen"}
}

func endOfJob(o *Outcome, job orchestrator.Job) bool {
	o.Job = jobResult(job)
	switch job.State {
	case "Successful":
		o.Status = StatusSucceeded
		return true
	case "Faulted", "Stopped":
		o.Status = StatusFailed
		o.Error = &OutcomeError{Kind: map[string]string{"Faulted": "faulted", "Stopped": "stopped"}[job.State], Code: job.ErrorCode, Message: job.Info}
		return true
	}
	return false
}

func endOfItem(o *Outcome, item orchestrator.QueueItem) bool {
	o.Item = itemResult(item)
	kinds := map[string]string{"Failed": "failed", "Abandoned": "abandoned", "Deleted": "deleted"}
	switch item.Status {
	case "Successful":
		o.Status = StatusSucceeded
		return true
	case "Failed", "Abandoned", "Deleted":
		o.Status = StatusFailed
		o.Error = &OutcomeError{Kind: kinds[item.Status], Message: "the queue item ended as " + item.Status}
		if e := item.ProcessingException; e != nil {
			o.Error.Code, o.Error.Message = e.Type, e.Reason
		}
		return true
	}
	return false
}

// publishEnd writes the final outcome, and takes the key out of tracking,
// together.
func (w *Worker) publishEnd(ctx context.Context, o Outcome, c claim, msg jetstream.Msg) error {
	final, err := w.ledger.putOutcome(o.Lane(), o, c, traceOf(msg))
	if err != nil {
		return err
	}
	c.State = claimSettled
	if err := w.ledger.commitTogether(ctx, []*write{final, w.ledger.changeClaim(o.Lane(), o.Key, c)}); err != nil {
		return fmt.Errorf("publish the end of %s: %w", o.Key, err)
	}
	w.stats.count(&o)
	return nil
}

// forgetAccepted removes the news that a request was accepted once its final
// outcome is there; it was kept without end so as not to lose track.
func (w *Worker) forgetAccepted(ctx context.Context, msg jetstream.Msg) error {
	meta, err := msg.Metadata()
	if err != nil {
		return fmt.Errorf("read message metadata: %w", err)
	}
	stream, err := w.js.Stream(ctx, w.cfg.Topology.LedgerStream())
	if err != nil {
		return fmt.Errorf("open the ledger: %w", err)
	}
	if err := stream.DeleteMsg(ctx, meta.Sequence.Stream); err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
		return fmt.Errorf("remove the news of acceptance: %w", err)
	}
	return nil
}
