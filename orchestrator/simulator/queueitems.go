package simulator

import (
	"cmp"
	"iter"
	"net/http"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// The states of a queue item.
const (
	statusNew        = "New"
	statusInProgress = "InProgress"
	statusFailed     = "Failed"
	statusSuccessful = "Successful"
	statusAbandoned  = "Abandoned"
	statusRetried    = "Retried"
	statusDeleted    = "Deleted"
)

var (
	itemStatuses   = []string{statusNew, statusInProgress, statusFailed, statusSuccessful, statusAbandoned, statusRetried, statusDeleted}
	itemPriorities = []string{"High", "Normal", "Low"}
	itemReviews    = []string{"None", "InReview", "Verified", "Retried"}
)

// queueItem is kept small, since there may be millions: what few items have is in details.
type queueItem struct {
	id        int64
	queue     *queue
	key       uuid.UUID // the same for all attempts
	unique    uuid.UUID // of this attempt
	reference string
	older     *queueItem // the one before with the same reference in the same queue
	content   content
	created   time.Time
	row       uint64 // version
	priority  string // shared text
	status    string // shared text
	details   *itemDetails
}

// itemDetails are the members that most items do not have.
type itemDetails struct {
	deferDate, dueDate, riskDate time.Time
	progress, parentOperation    string

	started, ended time.Time
	output         string // a JSON object, or empty
	exception      *Exception
	seconds        int // in previous attempts

	ancestor, successor *queueItem
	attempt             int // 0 for the first
}

var noDetails itemDetails

func (i *queueItem) detail() *itemDetails {
	if i.details == nil {
		return &noDetails
	}
	return i.details
}

// withDetails makes room for the members that most items do not have.
func (i *queueItem) withDetails() *itemDetails {
	if i.details == nil {
		i.details = &itemDetails{}
	}
	return i.details
}

// stored is the time of creation as reads show it.
func (i *queueItem) stored() time.Time { return i.created.Truncate(time.Millisecond) }

var itemSet = collection[*queueItem]{
	name: "QueueItems",
	fields: map[string]field[*queueItem]{
		"id":                      numberField(func(i *queueItem) int64 { return i.id }),
		"key":                     guidField(func(i *queueItem) uuid.UUID { return i.key }),
		"uniquekey":               guidField(func(i *queueItem) uuid.UUID { return i.unique }),
		"queuedefinitionid":       numberField(func(i *queueItem) int64 { return i.queue.id }),
		"reference":               textField(func(i *queueItem) string { return i.reference }),
		"status":                  enumField(itemStatuses, func(i *queueItem) string { return i.status }),
		"reviewstatus":            enumField(itemReviews, func(*queueItem) string { return itemReviews[0] }),
		"priority":                enumField(itemPriorities, func(i *queueItem) string { return i.priority }),
		"creationtime":            momentField((*queueItem).stored),
		"startprocessing":         momentField(func(i *queueItem) time.Time { return i.detail().started }),
		"endprocessing":           momentField(func(i *queueItem) time.Time { return i.detail().ended }),
		"duedate":                 momentField(func(i *queueItem) time.Time { return i.detail().dueDate }),
		"deferdate":               unsorted(momentField(func(i *queueItem) time.Time { return i.detail().deferDate })),
		"risksladate":             momentField(func(i *queueItem) time.Time { return i.detail().riskDate }),
		"retrynumber":             numberField(func(i *queueItem) int64 { return int64(i.detail().attempt) }),
		"ancestorid":              optionalField((*queueItem).ancestorID),
		"organizationunitid":      numberField(func(i *queueItem) int64 { return i.queue.folder.id }),
		"processingexceptiontype": enumField(exceptionTypes, (*queueItem).exceptionType),
	},
	expand: []string{"QueueDefinition", "Robot", "ReviewerUser"},
	entity: func(i *queueItem, expand []string) any { return i.entity(expand) },
	rules:  func(cfg *Config) collectionRules { return collectionRules{maxTop: cfg.MaxTopQueueItems} },
}

func unsorted[T any](f field[T]) field[T] {
	f.unsorted = true
	return f
}

func (i *queueItem) ancestorID() int64 {
	if ancestor := i.detail().ancestor; ancestor != nil {
		return ancestor.id
	}
	return 0
}

func (i *queueItem) exceptionType() string {
	if exception := i.detail().exception; exception != nil {
		return exception.Type
	}
	return ""
}

func (s *Server) listQueueItems(c *call) (answer, *refusal) {
	return list(s, c, itemSet, func(filter node) iter.Seq[*queueItem] {
		newest := s.now().Add(-s.cfg.ReadDelay)
		return func(yield func(*queueItem) bool) {
			for _, item := range s.tenant.itemCandidates(c.folder, filter) {
				if item.queue.folder != c.folder || (s.cfg.ReadDelay > 0 && item.created.After(newest)) {
					continue
				}
				if !yield(item) {
					return
				}
			}
		}
	})
}

// itemCandidates narrows a list call by the best index that its filter allows.
func (t *tenant) itemCandidates(f *folder, filter node) []*queueItem {
	if ids, ok := pinnedBy(filter, "Id", parseID); ok {
		return t.itemsByID(ids)
	}
	queues := f.queues
	if ids, ok := pinnedBy(filter, "QueueDefinitionId", parseID); ok {
		queues = slices.DeleteFunc(slices.Clone(queues), func(q *queue) bool { return !slices.Contains(ids, q.id) })
	}
	if references, ok := pinned(filter, "Reference"); ok {
		return t.itemsByReference(queues, references)
	}
	items := t.items.rows
	if len(queues) == 1 {
		items = queues[0].items
	}
	from := since(filter, "CreationTime")
	return items[sort.Search(len(items), func(i int) bool { return !items[i].stored().Before(from) }):]
}

func parseID(text string) (int64, error) {
	return strconv.ParseInt(text, 10, 64) //nolint:wrapcheck // it names the text, and hardly anyone looks
}

func (t *tenant) itemsByID(ids []int64) []*queueItem {
	slices.Sort(ids)
	var items []*queueItem
	for _, id := range slices.Compact(ids) {
		if item, ok := t.items.get(id); ok {
			items = append(items, item)
		}
	}
	return items
}

func (t *tenant) itemsByReference(queues []*queue, references []literal) []*queueItem {
	var items []*queueItem
	for _, reference := range references {
		for _, q := range queues {
			for item := q.byReference[t.collate(reference.text)]; item != nil; item = item.older {
				items = append(items, item)
			}
		}
	}
	slices.SortFunc(items, func(a, b *queueItem) int { return cmp.Compare(a.id, b.id) })
	return slices.Compact(items)
}

// itemOf finds the item that a call's path names, in the call's folder.
func (s *Server) itemOf(c *call) (*queueItem, *refusal) {
	id, _ := parseID(c.argument) // no number, no item
	item, ok := s.tenant.items.get(id)
	if !ok || item.queue.folder != c.folder {
		return nil, errItemMissing
	}
	return item, nil
}

func (s *Server) getQueueItem(c *call) (answer, *refusal) {
	item, err := s.itemOf(c)
	if err != nil {
		return answer{}, err
	}
	return single(s, c, itemSet, item)
}

func (s *Server) deleteQueueItem(c *call) (effect, *refusal) {
	return effect{carries: neverCarries, apply: func() (answer, *refusal) {
		item, err := s.itemOf(c)
		if err != nil {
			return answer{}, err
		}
		item.status = statusDeleted
		s.tenant.touch(item)
		return answer{status: http.StatusNoContent}, nil
	}}, nil
}

func (s *Server) getLastRetry(c *call) (answer, *refusal) {
	item, err := s.itemOf(c)
	if err != nil {
		return answer{}, err
	}
	return single(s, c, itemSet, item.lastRetry())
}

func (s *Server) getLastRetryByKey(c *call) (answer, *refusal) {
	key, _ := uuid.Parse(strings.TrimPrefix(c.argument, "key=")) // no GUID, no item
	i := slices.IndexFunc(s.tenant.items.rows, func(i *queueItem) bool { return i.unique == key && i.queue.folder == c.folder })
	if i < 0 {
		return answer{}, errItemMissing
	}
	return single(s, c, itemSet, s.tenant.items.rows[i].lastRetry())
}

// lastRetry follows the attempts to the newest.
func (i *queueItem) lastRetry() *queueItem {
	for i.detail().successor != nil {
		i = i.details.successor
	}
	return i
}
