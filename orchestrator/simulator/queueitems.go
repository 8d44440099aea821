package simulator

import (
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
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

// draft makes an item of the data, without what only its creation gives it.
func (s *Server) draft(q *queue, d *queueItemData) (*queueItem, *refusal) {
	priority, ok := enumMember(itemPriorities, d.Priority, "Normal")
	if !ok {
		return nil, nullParameter("itemData")
	}
	if len([]rune(d.Reference)) > maxReference {
		return nil, invalidArgument(fmt.Sprintf("The field Reference must be a string with a maximum length of %d.", maxReference))
	}
	if d.Reference == "" && q.Unique {
		return nil, &refusal{
			status: s.cfg.MissingReferenceStatus, code: codeReferenceRequired, name: "TransactionReferenceRequired",
			message: "A Reference is required for the items of queue " + q.Name + ".",
		}
	}
	content, err := readContent(d.SpecificContent, &s.cfg.Switches)
	if err != nil {
		err.status = cmp.Or(err.status, s.cfg.OversizeStatus)
		return nil, err
	}
	if err := q.check(content, s.cfg.SchemaViolationStatus); err != nil {
		return nil, err
	}
	item := &queueItem{queue: q, reference: d.Reference, content: content, priority: priority, status: statusNew}
	item.takeDetails(d)
	return item, nil
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
	item, err := s.draft(q, body.ItemData)
	if err != nil {
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

type exceptionEntity struct {
	Reason                  string  `json:"Reason"`
	Details                 *string `json:"Details"`
	Type                    string  `json:"Type"`
	AssociatedImageFilePath *string `json:"AssociatedImageFilePath"`
	CreationTime            *string `json:"CreationTime"`
}

type itemErrorEntity struct {
	Code      string  `json:"Code"`
	Title     string  `json:"Title"`
	Detail    string  `json:"Detail"`
	Category  string  `json:"Category"`
	Status    *int    `json:"Status"`
	Timestamp *string `json:"Timestamp"`
}

type queueItemEntity struct {
	QueueDefinitionID                  int64            `json:"QueueDefinitionId"`
	QueueDefinition                    *queueEntity     `json:"QueueDefinition,omitempty"`
	Encrypted                          bool             `json:"Encrypted"`
	OutputData                         *string          `json:"OutputData"`
	AnalyticsData                      *string          `json:"AnalyticsData"`
	Status                             string           `json:"Status"`
	ReviewStatus                       string           `json:"ReviewStatus"`
	ReviewerUserID                     *int64           `json:"ReviewerUserId"`
	Key                                string           `json:"Key"`
	Reference                          *string          `json:"Reference"`
	ProcessingExceptionType            *string          `json:"ProcessingExceptionType"`
	DueDate                            *string          `json:"DueDate"`
	RiskSLADate                        *string          `json:"RiskSlaDate"`
	Priority                           string           `json:"Priority"`
	RobotID                            *int64           `json:"RobotId"`
	CreatorJobKey                      *string          `json:"CreatorJobKey"`
	ExecutorJobKey                     *string          `json:"ExecutorJobKey"`
	DeferDate                          *string          `json:"DeferDate"`
	StartProcessing                    *string          `json:"StartProcessing"`
	EndProcessing                      *string          `json:"EndProcessing"`
	SecondsInPreviousAttempts          int              `json:"SecondsInPreviousAttempts"`
	AncestorID                         *int64           `json:"AncestorId"`
	AncestorUniqueKey                  *string          `json:"AncestorUniqueKey"`
	RetryNumber                        int              `json:"RetryNumber"`
	ManualAncestorID                   *int64           `json:"ManualAncestorId"`
	ManualAncestorUniqueKey            *string          `json:"ManualAncestorUniqueKey"`
	ManualRetryNumber                  int              `json:"ManualRetryNumber"`
	UniqueKey                          string           `json:"UniqueKey"`
	HasVideoRecorded                   bool             `json:"HasVideoRecorded"`
	SpecificData                       string           `json:"SpecificData"`
	CreationTime                       string           `json:"CreationTime"`
	Progress                           *string          `json:"Progress"`
	RowVersion                         string           `json:"RowVersion"`
	ParentOperationID                  *string          `json:"ParentOperationId"`
	OperationID                        *string          `json:"OperationId"`
	OrganizationUnitID                 int64            `json:"OrganizationUnitId"`
	OrganizationUnitFullyQualifiedName *string          `json:"OrganizationUnitFullyQualifiedName"`
	ID                                 int64            `json:"Id"`
	ProcessingException                *exceptionEntity `json:"ProcessingException"`
	Error                              *itemErrorEntity `json:"Error"`
	SpecificContent                    json.RawMessage  `json:"SpecificContent"`
	Output                             json.RawMessage  `json:"Output"`
	Analytics                          json.RawMessage  `json:"Analytics"`
}

func (i *queueItem) entity(expand []string) queueItemEntity {
	d, f := i.detail(), i.queue.folder
	e := queueItemEntity{
		QueueDefinitionID:                  i.queue.id,
		Status:                             i.status,
		ReviewStatus:                       itemReviews[0],
		Key:                                i.key.String(),
		Reference:                          orNull(i.reference),
		DueDate:                            tickText(d.dueDate),
		RiskSLADate:                        tickText(d.riskDate),
		Priority:                           i.priority,
		DeferDate:                          tickText(d.deferDate),
		StartProcessing:                    stampText(d.started),
		EndProcessing:                      stampText(d.ended),
		SecondsInPreviousAttempts:          d.seconds,
		RetryNumber:                        d.attempt,
		UniqueKey:                          i.unique.String(),
		SpecificData:                       dynamicProperties(i.content.data),
		CreationTime:                       i.created.Format(storedStamp),
		Progress:                           orNull(d.progress),
		RowVersion:                         base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint64(nil, i.row)),
		ParentOperationID:                  orNull(d.parentOperation),
		OrganizationUnitID:                 f.id,
		OrganizationUnitFullyQualifiedName: &f.path,
		ID:                                 i.id,
		SpecificContent:                    rawOrNull(i.content.shown),
		Output:                             rawOrNull(d.output),
	}
	e.addOutcome(d)
	if slices.ContainsFunc(expand, func(name string) bool { return strings.HasPrefix(name, "QueueDefinition") }) {
		e.QueueDefinition = new(i.queue.entity())
	}
	return e
}

// addOutcome fills what only some items have.
func (e *queueItemEntity) addOutcome(d *itemDetails) {
	if d.output != "" {
		e.OutputData = new(dynamicProperties(d.output))
	}
	if d.ancestor != nil {
		e.AncestorID, e.AncestorUniqueKey = &d.ancestor.id, guidOrNull(d.ancestor.unique)
	}
	if d.exception == nil {
		return
	}
	at := stampText(d.ended)
	e.ProcessingExceptionType = &d.exception.Type
	e.ProcessingException = &exceptionEntity{
		Reason: d.exception.Reason, Details: orNull(d.exception.Details), Type: d.exception.Type, CreationTime: at,
	}
	e.Error = &itemErrorEntity{
		Code: "User.QueueItem" + d.exception.Type, Title: d.exception.Reason, Detail: d.exception.Details,
		Category: "User", Timestamp: at,
	}
}

// dynamicProperties wraps an object as SpecificData and OutputData hold it.
func dynamicProperties(object string) string {
	return `{"DynamicProperties":` + cmp.Or(object, "{}") + "}"
}

// tickText is a date that the caller gave, as precise as it was given.
func tickText(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	return new(t.Format(time.RFC3339Nano))
}

func rawOrNull(object string) json.RawMessage {
	if object == "" {
		return nil
	}
	return json.RawMessage(object)
}

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
