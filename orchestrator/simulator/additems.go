package simulator

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"
	"unicode/utf8"
)

type queueItemData struct {
	Name              string          `json:"Name"`
	Priority          *string         `json:"Priority"`
	SpecificContent   json.RawMessage `json:"SpecificContent"`
	DeferDate         *time.Time      `json:"DeferDate"`
	DueDate           *time.Time      `json:"DueDate"`
	RiskSLADate       *time.Time      `json:"RiskSlaDate"`
	Reference         string          `json:"Reference"`
	Progress          string          `json:"Progress"`
	Source            string          `json:"Source"`
	ParentOperationID string          `json:"ParentOperationId"`
}

const maxReference = 128

// draft makes an item of the data in the place given, without what only its creation gives it.
func (s *Server) draft(q *queue, d *queueItemData, item *queueItem) *refusal {
	priority, ok := enumMember(itemPriorities, d.Priority, "Normal")
	if !ok {
		return nullParameter("itemData")
	}
	if utf8.RuneCountInString(d.Reference) > maxReference {
		return invalidArgument(fmt.Sprintf("The field Reference must be a string with a maximum length of %d.", maxReference))
	}
	if d.Reference == "" && q.Unique {
		return &refusal{
			status: s.cfg.MissingReferenceStatus, code: codeReferenceRequired, name: "TransactionReferenceRequired",
			message: "A Reference is required for the items of queue " + q.Name + ".",
		}
	}
	content, err := readContent(d.SpecificContent, &s.cfg.Switches)
	if err != nil {
		err.status = cmp.Or(err.status, s.cfg.OversizeStatus)
		return err
	}
	if err := q.check(content, s.cfg.SchemaViolationStatus); err != nil {
		return err
	}
	*item = queueItem{queue: q, reference: d.Reference, content: content, priority: priority, status: statusNew}
	item.takeDetails(d)
	return nil
}

func enumMember(names []string, sent *string, byDefault string) (string, bool) {
	if sent == nil {
		return byDefault, true
	}
	i := slices.Index(names, *sent)
	if i < 0 {
		return "", false
	}
	return names[i], true
}

func (i *queueItem) takeDetails(d *queueItemData) {
	if d.DeferDate == nil && d.DueDate == nil && d.RiskSLADate == nil && d.Progress == "" && d.ParentOperationID == "" {
		return
	}
	details := i.withDetails()
	for target, sent := range map[*time.Time]*time.Time{
		&details.deferDate: d.DeferDate, &details.dueDate: d.DueDate, &details.riskDate: d.RiskSLADate,
	} {
		if sent != nil {
			*target = sent.UTC()
		}
	}
	details.progress, details.parentOperation = d.Progress, d.ParentOperationID
}

// queueOf finds the queue that a call names.
func (s *Server) queueOf(c *call, name string) (*queue, *refusal) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if q := c.folder.queue(name); q != nil {
		return q, nil
	}
	return nil, notFound(name + " does not exist.")
}

func (s *Server) addQueueItem(c *call) (effect, *refusal) {
	var body struct {
		ItemData *queueItemData `json:"itemData"`
	}
	if err := s.decode(c, "itemData", &body); err != nil {
		return effect{}, err
	}
	if body.ItemData == nil {
		return effect{}, nullParameter("itemData")
	}
	q, err := s.queueOf(c, body.ItemData.Name)
	if err != nil {
		return effect{}, err
	}
	item := new(queueItem)
	if err := s.draft(q, body.ItemData, item); err != nil {
		return effect{}, err
	}
	return effect{
		carries: func(reference string) bool { return reference == item.reference },
		apply:   func() (answer, *refusal) { return s.createItem(c, item) },
	}, nil
}

func (s *Server) createItem(c *call, item *queueItem) (answer, *refusal) {
	if s.tenant.isTaken(item.queue, item.reference) {
		return answer{}, errDuplicate
	}
	s.tenant.create(item, s.tenant.stamp(s.now()))
	entity := item.entity(nil)
	entity.CreationTime = item.created.Format(tickStamp)
	entity.OrganizationUnitFullyQualifiedName = nil
	path := fmt.Sprintf("/odata/QueueItems(%d)", item.id)
	context := c.target.base(c.r) + "/odata/$metadata#QueueItems/$entity"
	return answer{status: http.StatusCreated, location: path, body: withContext(encodeEntity(entity), context)}, nil
}

// isTaken says whether a unique queue refuses a reference.
func (t *tenant) isTaken(q *queue, reference string) bool {
	if !q.Unique || t.switches.NoUniqueIndex {
		return false
	}
	for item := q.byReference[t.collate(reference)]; item != nil; item = item.older {
		if item.status == statusRetried || (item.status == statusDeleted && !t.switches.DeletedReferencesStayUsed) {
			continue
		}
		return true
	}
	return false
}

// create gives a drafted item its ids and puts it into its queue.
func (t *tenant) create(item *queueItem, now time.Time) {
	item.key = t.mint.guid()
	item.unique = item.key
	item.created = now
	t.effects = append(t.effects, creation{item: item})
	t.insert(item)
}

func (t *tenant) insert(item *queueItem) {
	t.items.add(func(id int64) *queueItem { item.id = id; return item })
	t.touch(item)
	q := item.queue
	q.items = append(q.items, item)
	if item.reference != "" {
		reference := t.collate(item.reference)
		item.older = q.byReference[reference]
		q.byReference[reference] = item
	}
}

// touch gives an item a new row version.
func (t *tenant) touch(item *queueItem) {
	t.rowStamp++
	item.row = t.rowStamp
}
