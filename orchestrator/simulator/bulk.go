package simulator

import (
	"fmt"
	"net/http"
	"slices"
)

// The commit types of BulkAddQueueItems.
const (
	allOrNothing            = "AllOrNothing"
	stopOnFirstFailure      = "StopOnFirstFailure"
	processAllIndependently = "ProcessAllIndependently"
)

type bulkRequest struct {
	QueueName  string          `json:"queueName"`
	CommitType string          `json:"commitType"`
	QueueItems []queueItemData `json:"queueItems"`
}

type bulkAnswer struct {
	Context     string       `json:"@odata.context"`
	Success     bool         `json:"Success"`
	Message     *string      `json:"Message"`
	FailedItems []failedItem `json:"FailedItems"`
}

type failedItem struct {
	Ordinal      *int   `json:"Ordinal"`
	ErrorCode    string `json:"ErrorCode"`
	ErrorMessage string `json:"ErrorMessage"`
}

// draftedItem is one item of a bulk call: drafted, or the reason why it cannot be.
type draftedItem struct {
	item *queueItem
	err  *refusal
}

func (s *Server) bulkAddQueueItems(c *call) (effect, *refusal) {
	var body bulkRequest
	if err := s.decode(c, "bulkAddParameters", &body); err != nil {
		return effect{}, err
	}
	if err := s.checkBulk(&body); err != nil {
		return effect{}, err
	}
	q, err := s.queueOf(c, body.QueueName)
	if err != nil {
		return effect{}, err
	}
	drafts := make([]draftedItem, len(body.QueueItems))
	items := make([]queueItem, len(drafts)) // one piece of memory for all of them
	for i := range drafts {
		drafts[i] = draftedItem{item: &items[i], err: s.draft(q, &body.QueueItems[i], &items[i])}
	}
	return effect{
		carries: func(reference string) bool {
			return slices.ContainsFunc(body.QueueItems, func(d queueItemData) bool { return d.Reference == reference })
		},
		apply: func() (answer, *refusal) {
			failed := s.tenant.commit(body.CommitType, drafts, s)
			return answer{status: http.StatusOK, body: s.bulkAnswer(c, failed)}, nil
		},
	}, nil
}

func (s *Server) checkBulk(b *bulkRequest) *refusal {
	if b.QueueName == "" {
		return nullParameter("queueName")
	}
	if !slices.Contains([]string{allOrNothing, stopOnFirstFailure, processAllIndependently}, b.CommitType) {
		return invalidArgument("The value of commitType is not valid.")
	}
	if limit := s.cfg.BulkItemCap; limit > 0 && len(b.QueueItems) > limit {
		return invalidArgument(fmt.Sprintf("The field queueItems must hold at most %d items.", limit))
	}
	return nil
}

// commit adds what the commit type lets through and returns what failed, in order.
func (t *tenant) commit(commitType string, drafts []draftedItem, s *Server) []failedItem {
	if commitType == allOrNothing {
		if failed := t.refusedOf(drafts); len(failed) > 0 {
			return failed
		}
	}
	now := t.stamp(s.now())
	var failed []failedItem
	for i, d := range drafts {
		if d.err == nil && t.isTaken(d.item.queue, d.item.reference) {
			d.err = errDuplicate
		}
		if d.err == nil {
			t.create(d.item, now)
			continue
		}
		failed = append(failed, failure(i, d.err))
		if commitType == stopOnFirstFailure {
			break
		}
	}
	return failed
}

// refusedOf finds what would fail, a reference that comes twice in the same call included.
func (t *tenant) refusedOf(drafts []draftedItem) []failedItem {
	var failed []failedItem
	seen := make(map[string]bool)
	for i, d := range drafts {
		if d.err == nil && !t.switches.NoUniqueIndex && d.item.queue.Unique {
			reference := t.collate(d.item.reference)
			if seen[reference] || t.isTaken(d.item.queue, reference) {
				d.err = errDuplicate
			}
			seen[reference] = true
		}
		if d.err != nil {
			failed = append(failed, failure(i, d.err))
		}
		if len(failed) > 0 && t.switches.BulkFirstOffenderOnly {
			break
		}
	}
	return failed
}

func failure(index int, err *refusal) failedItem {
	name := err.name
	if name == "" {
		name = "InvalidRequest"
	}
	return failedItem{Ordinal: new(index + 1), ErrorCode: name, ErrorMessage: err.message}
}

func (s *Server) bulkAnswer(c *call, failed []failedItem) bulkAnswer {
	body := bulkAnswer{
		Context:     c.target.base(c.r) + "/odata/$metadata#UiPath.Server.Configuration.OData.BulkOperationResponseDtoOfFailedQueueItemDto",
		Success:     len(failed) == 0,
		FailedItems: []failedItem{},
	}
	if len(failed) == 0 {
		return body
	}
	body.Message = new(fmt.Sprintf("%d queue items could not be added.", len(failed)))
	body.FailedItems = failed
	if s.cfg.BulkNullOrdinals {
		for i := range body.FailedItems {
			body.FailedItems[i].Ordinal = nil
		}
	}
	return body
}
