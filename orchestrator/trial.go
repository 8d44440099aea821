package orchestrator

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/google/uuid"
)

// ErrNotTold is in the error of a trial that was answered in a way that says
// nothing of the right.
var ErrNotTold = errors.New("the answer does not say whether the right is there")

// ErrTrialTaken is in the error of a trial that Orchestrator says it has carried
// out, which it cannot have: see TryAddQueueItem.
var ErrTrialTaken = errors.New("the answer says that something was done that cannot be: look for it by the reference " + trialReference)

// trialReference is for whoever should find a trial in a log.
const trialReference = "waybill-doctor"

// TryAddQueueItem finds out whether the login may add items in a folder, and adds
// none. It asks for one in a queue that cannot be: its name is a GUID that was
// made just now, 122 random bits of it. Nothing makes queues by such a call;
// Orchestrator answers 404 with code 1002 (recorded from real callers), and
// before that 403 where scope or permission are missing, since it looks at
// rights before it looks for the queue. Should a proxy or the network repeat the
// call, the answer is the same.
//
// No error means that the right is there. Of kind Denied: it is not. ErrNotTold
// and kind Transient or Uncertain: it is not known.
func (c *Client) TryAddQueueItem(ctx context.Context, folder Folder) error {
	_, err := c.AddQueueItem(ctx, folder, trialItem(uuid.NewString()))
	return judgeTrial(err)
}

// TryBulkAddQueueItems is TryAddQueueItem for the bulk call. An empty list of
// items would be no better: it may be refused, or be taken, before rights are
// looked at.
func (c *Client) TryBulkAddQueueItems(ctx context.Context, folder Folder) error {
	answer, err := c.BulkAddQueueItems(ctx, folder, BulkAddQueueItemsRequest{
		QueueName: uuid.NewString(), CommitType: AllOrNothing, QueueItems: []QueueItemData{trialItem("")},
	})
	if err == nil && !answer.Success {
		return nil // it was let in, and nothing was added
	}
	return judgeTrial(err)
}

// TryStartJobs finds out whether the login may start jobs in a folder, and
// starts none: the release it asks for is a GUID that was made just now, and no
// name is given to fall back on. Orchestrator answers 404, "The job's associated
// process could not be found"; 403 comes before that, as with TryAddQueueItem,
// whose results this has.
func (c *Client) TryStartJobs(ctx context.Context, folder Folder) error {
	_, err := c.StartJobs(ctx, folder, StartInfo{
		ReleaseKey: uuid.NewString(), Strategy: "ModernJobsCount", JobsCount: 1, Reference: trialReference,
	})
	return judgeTrial(err)
}

func trialItem(queue string) QueueItemData {
	return QueueItemData{Name: queue, Reference: trialReference, SpecificContent: json.RawMessage(`{}`)}
}

func judgeTrial(err error) error {
	e, ok := errors.AsType[*Error](err)
	switch {
	case err == nil:
		return ErrTrialTaken
	case !ok:
		return err
	case errors.Is(e, ErrNotFound):
		return nil
	case e.Kind == Rejected && e.Code != codeFolderUnknown && e.Code != codeFolderRequired:
		told := *e
		told.Err = ErrNotTold
		return &told
	}
	return err
}
