package orchestrator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strings"
	"time"

	"waybill/internal/jsonobject"
)

// maxQueueItemsTop is the largest page of queue items that Automation Cloud
// gives since 2024.
const maxQueueItemsTop = 100

// QueueItem is a queue item as Orchestrator tells it. An item that is retried
// keeps its Key and Reference and gets a successor with a new ID and UniqueKey.
type QueueItem struct {
	ID                                 int64                `json:"Id"`
	Key                                string               `json:"Key"`
	UniqueKey                          string               `json:"UniqueKey"`
	QueueDefinitionID                  int64                `json:"QueueDefinitionId"`
	Status                             string               `json:"Status"` // New, InProgress, Failed, Successful, Abandoned, Retried or Deleted
	ReviewStatus                       string               `json:"ReviewStatus"`
	Reference                          string               `json:"Reference"`
	Priority                           string               `json:"Priority"`
	SpecificContent                    json.RawMessage      `json:"SpecificContent"`
	Output                             json.RawMessage      `json:"Output"`
	ProcessingException                *ProcessingException `json:"ProcessingException"`
	ProcessingExceptionType            string               `json:"ProcessingExceptionType"`
	Error                              *QueueItemError      `json:"Error"` // newer versions, beside ProcessingException
	Progress                           string               `json:"Progress"`
	DueDate                            *time.Time           `json:"DueDate"`
	DeferDate                          *time.Time           `json:"DeferDate"`
	RiskSLADate                        *time.Time           `json:"RiskSlaDate"`
	CreationTime                       *time.Time           `json:"CreationTime"`
	StartProcessing                    *time.Time           `json:"StartProcessing"`
	EndProcessing                      *time.Time           `json:"EndProcessing"`
	AncestorID                         *int64               `json:"AncestorId"` // the item this one repeats
	RetryNumber                        int                  `json:"RetryNumber"`
	ExecutorJobKey                     string               `json:"ExecutorJobKey"`
	RowVersion                         string               `json:"RowVersion"`
	OrganizationUnitID                 int64                `json:"OrganizationUnitId"`
	OrganizationUnitFullyQualifiedName string               `json:"OrganizationUnitFullyQualifiedName"` // in listings only
}

func (q *QueueItem) missing() string {
	if q.ID == 0 {
		return "Id"
	}
	return ""
}

// Ended tells whether nothing more will happen to this item by itself. A Retried
// one has not ended: its successor goes on, see QueueItemLastRetry.
func (q *QueueItem) Ended() bool {
	return slices.Contains([]string{"Successful", "Failed", "Abandoned", "Deleted"}, q.Status)
}

// ProcessingException is why a robot failed an item.
type ProcessingException struct {
	Reason       string     `json:"Reason"`
	Details      string     `json:"Details"`
	Type         string     `json:"Type"` // ApplicationException or BusinessException
	CreationTime *time.Time `json:"CreationTime"`
}

// QueueItemError is the newer form of a ProcessingException.
type QueueItemError struct {
	Code      string     `json:"Code"` // for example User.QueueItemBusinessException
	Title     string     `json:"Title"`
	Detail    string     `json:"Detail"`
	Category  string     `json:"Category"`
	Status    int        `json:"Status"`
	Timestamp *time.Time `json:"Timestamp"`
}

// QueueItemData is one item to add.
type QueueItemData struct {
	Name      string // the queue; not needed in a bulk call
	Reference string // at most 128 characters
	Priority  string // High, Normal or Low; empty: Normal
	DeferDate string // RFC 3339, as given
	DueDate   string // RFC 3339, as given
	// SpecificContent is a flat JSON object. It is sent byte for byte, so that
	// numbers keep their digits.
	SpecificContent json.RawMessage
	// Extra are further members by UiPath's names (RiskSlaDate, Progress,
	// Source, ParentOperationId, ...). One that is also a field above is left
	// out where that field is set.
	Extra map[string]json.RawMessage
}

// validate refuses what would make the request something other than JSON, or
// something other than it seems.
func (d QueueItemData) validate() error {
	if len(d.SpecificContent) > 0 && !isJSON(d.SpecificContent) {
		return errors.New("SpecificContent is not valid JSON: give a JSON object")
	}
	return validateExtra(d.Extra)
}

// AppendJSON appends the item as JSON. Unlike encoding/json it spends no
// allocation per item, and it does not check: SpecificContent and Extra have to
// be valid JSON.
func (d QueueItemData) AppendJSON(dst []byte) []byte {
	o := jsonobject.Begin(dst)
	o.TextIf("Name", d.Name)
	o.TextIf("Priority", d.Priority)
	o.RawIf("SpecificContent", d.SpecificContent)
	o.TextIf("DeferDate", d.DeferDate)
	o.TextIf("DueDate", d.DueDate)
	o.TextIf("Reference", d.Reference)
	appendExtra(&o, d.Extra)
	return o.End()
}

// MarshalJSON is AppendJSON for encoding/json.
func (d QueueItemData) MarshalJSON() ([]byte, error) {
	return d.AppendJSON(make([]byte, 0, d.sizeHint())), nil
}

// sizeHint is about how long the item is as JSON.
func (d QueueItemData) sizeHint() int {
	size := 128 + len(d.Name) + len(d.Reference) + len(d.SpecificContent) + len(d.DeferDate) + len(d.DueDate)
	for name, value := range d.Extra {
		size += len(name) + len(value) + 4
	}
	return size
}

// AddQueueItem adds one item. On a queue with unique references a Reference
// that is there already gives an error of kind Duplicate. It follows the page
// "Queue items requests" of UiPath's API guide.
func (c *Client) AddQueueItem(ctx context.Context, folder Folder, item QueueItemData) (QueueItem, error) {
	const op = "add queue item"
	if item.Name == "" {
		return QueueItem{}, rejected(op, Writes, errors.New("empty Name: give the queue's name"), "")
	}
	if err := item.validate(); err != nil {
		return QueueItem{}, rejected(op, Writes, err, "")
	}
	body := append(make([]byte, 0, item.sizeHint()), `{"itemData":`...)
	body = append(item.AppendJSON(body), '}')
	var added QueueItem
	err := c.do(ctx, call{
		op: op, class: Writes, method: http.MethodPost, folder: folder,
		path: "/odata/Queues/UiPathODataSvc.AddQueueItem", body: body, into: &added,
	})
	if err != nil {
		return QueueItem{}, err
	}
	return added, nil
}

// CommitType says what becomes of a bulk call's other items when one fails.
type CommitType string

// The commit types. StopOnFirstFailure keeps what came before the failure.
const (
	ProcessAllIndependently CommitType = "ProcessAllIndependently"
	AllOrNothing            CommitType = "AllOrNothing"
	StopOnFirstFailure      CommitType = "StopOnFirstFailure"
)

// BulkAddQueueItemsRequest is what BulkAddQueueItems sends.
type BulkAddQueueItemsRequest struct {
	QueueName  string
	CommitType CommitType // empty: ProcessAllIndependently
	QueueItems []QueueItemData
}

// AppendJSON appends the request as JSON; see QueueItemData.AppendJSON.
func (r BulkAddQueueItemsRequest) AppendJSON(dst []byte) []byte {
	dst = append(dst, `{"queueName":`...)
	dst = jsonobject.AppendText(dst, r.QueueName)
	dst = append(dst, `,"commitType":`...)
	dst = jsonobject.AppendText(dst, string(r.commitType()))
	dst = append(dst, `,"queueItems":[`...)
	for i, item := range r.QueueItems {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = item.AppendJSON(dst)
	}
	return append(dst, "]}"...)
}

func (r BulkAddQueueItemsRequest) commitType() CommitType {
	if r.CommitType == "" {
		return ProcessAllIndependently
	}
	return r.CommitType
}

func (r BulkAddQueueItemsRequest) validate() error {
	if r.QueueName == "" {
		return errors.New("empty QueueName: give the queue's name")
	}
	if len(r.QueueItems) == 0 {
		return errors.New("no QueueItems: give at least one item")
	}
	for i, item := range r.QueueItems {
		if err := item.validate(); err != nil {
			return fmt.Errorf("item %d: %w", i+1, err)
		}
	}
	return nil
}

func (r BulkAddQueueItemsRequest) sizeHint() int {
	size := 128 + len(r.QueueName)
	for _, item := range r.QueueItems {
		size += item.sizeHint()
	}
	return size
}

// FailedQueueItem is one item that a bulk call did not add.
type FailedQueueItem struct {
	Ordinal      *int   // its place in the request, from 1; nil: Orchestrator does not say which
	ErrorCode    string // a name, for example DuplicateReference
	ErrorMessage string
}

// BulkAddQueueItemsResponse is what became of a bulk call. It holds no ids: the
// Reference is the only handle on an item added so.
type BulkAddQueueItemsResponse struct {
	Success     bool
	Message     string
	FailedItems []FailedQueueItem
}

// BulkAddQueueItems adds many items in one call. Orchestrator answers 200 even
// when items fail; FailedItems tells which. An answer from which that cannot be
// told for certain is an error of kind Uncertain. It follows the page "Queue
// items requests" of UiPath's API guide.
func (c *Client) BulkAddQueueItems(ctx context.Context, folder Folder, req BulkAddQueueItemsRequest) (BulkAddQueueItemsResponse, error) {
	const op = "bulk add queue items"
	if err := req.validate(); err != nil {
		return BulkAddQueueItemsResponse{}, rejected(op, Writes, err, "")
	}
	answer := bulkAnswer{sent: len(req.QueueItems)}
	err := c.do(ctx, call{
		op: op, class: Writes, method: http.MethodPost, folder: folder,
		path: "/odata/Queues/UiPathODataSvc.BulkAddQueueItems",
		body: req.AppendJSON(make([]byte, 0, req.sizeHint())), into: &answer,
	})
	if err != nil {
		return BulkAddQueueItemsResponse{}, err
	}
	return answer.response(), nil
}

// bulkAnswer is the wire form of BulkAddQueueItemsResponse, with room to see
// what is absent.
type bulkAnswer struct {
	Success     *bool           `json:"Success"`
	Message     *string         `json:"Message"`
	FailedItems json.RawMessage `json:"FailedItems"` // null where nothing failed

	sent   int // items in the request
	failed []failedItem
}

type failedItem struct {
	Ordinal      *int      `json:"Ordinal"`
	ErrorCode    looseText `json:"ErrorCode"`
	ErrorMessage string    `json:"ErrorMessage"`
}

// missing also finds what contradicts itself: such an answer does not say which
// items exist.
func (b *bulkAnswer) missing() string {
	switch {
	case b.Success == nil:
		return "Success"
	case b.FailedItems == nil:
		return "FailedItems"
	case json.Unmarshal(b.FailedItems, &b.failed) != nil:
		return "a readable FailedItems"
	case !*b.Success && len(b.failed) == 0:
		return "the items that failed, though Success is false"
	}
	return b.badOrdinal()
}

// badOrdinal names an ordinal that no item has, or that two failures share.
func (b *bulkAnswer) badOrdinal() string {
	seen := make(map[int]bool, len(b.failed))
	for _, item := range b.failed {
		if item.Ordinal == nil {
			continue
		}
		n := *item.Ordinal
		if n < 1 || n > b.sent || seen[n] {
			return fmt.Sprintf("usable ordinals: %d of %d items is out of range or given twice", n, b.sent)
		}
		seen[n] = true
	}
	return ""
}

func (b *bulkAnswer) response() BulkAddQueueItemsResponse {
	r := BulkAddQueueItemsResponse{Success: *b.Success}
	if b.Message != nil {
		r.Message = *b.Message
	}
	for _, item := range b.failed {
		r.FailedItems = append(r.FailedItems, FailedQueueItem{
			Ordinal: item.Ordinal, ErrorCode: string(item.ErrorCode), ErrorMessage: item.ErrorMessage,
		})
	}
	return r
}

// looseText is a name that might come as a number.
type looseText string

// UnmarshalJSON accepts text, and takes anything else as it is written.
func (t *looseText) UnmarshalJSON(data []byte) error {
	var text string
	if json.Unmarshal(data, &text) != nil {
		text = string(data)
	}
	*t = looseText(text)
	return nil
}

// QueueItem reads one item by id, which costs nothing of the list budget.
func (c *Client) QueueItem(ctx context.Context, folder Folder, id int64) (QueueItem, error) {
	return c.readQueueItem(ctx, "get queue item", folder, entity("QueueItems", id))
}

// QueueItemLastRetry reads the newest successor of a Retried item.
func (c *Client) QueueItemLastRetry(ctx context.Context, folder Folder, id int64) (QueueItem, error) {
	return c.readQueueItem(ctx, "get last retry of queue item", folder,
		entity("QueueItems", id)+"/UiPath.Server.Configuration.OData.GetItemLastRetry")
}

func (c *Client) readQueueItem(ctx context.Context, op string, folder Folder, path string) (QueueItem, error) {
	var item QueueItem
	err := c.do(ctx, call{op: op, class: Reads, method: http.MethodGet, path: path, folder: folder, into: &item})
	if err != nil {
		return QueueItem{}, err
	}
	return item, nil
}

// QueueItems lists items of a folder's queues, page by page. Each page is a call
// of the list budget.
func (c *Client) QueueItems(ctx context.Context, folder Folder, q Query) iter.Seq2[QueueItem, error] {
	return list[QueueItem](ctx, c, call{op: "list queue items", class: ListReads, path: "/odata/QueueItems", folder: folder}, q, maxQueueItemsTop)
}

// SameContent tells whether the SpecificContent that Orchestrator gives back is
// the one that was sent. It forgives what Orchestrator does to it: annotations
// ("Name@odata.type") are not echoed, dates lose empty fractions, members come in
// another order, and a member that is null counts as absent. Numbers are
// compared by value, without rounding.
func SameContent(sent, got json.RawMessage) bool {
	a, okA := contentOf(sent)
	b, okB := contentOf(got)
	return okA && okB && sameValue(a, b, sameInstant)
}

// contentOf decodes content and takes the annotations out.
func contentOf(raw json.RawMessage) (any, bool) {
	value, ok := decodeOptional(raw)
	if members, isObject := value.(map[string]any); isObject {
		for name := range members {
			if strings.Contains(name, "@odata.") {
				delete(members, name)
			}
		}
	}
	return value, ok
}

// sameInstant tells whether two texts that differ are one moment, as of
// "2019-12-06T17:00:05.000Z" and "2019-12-06T17:00:05Z". Dates without a zone
// are only compared with their like.
func sameInstant(a, b string) bool {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05"} {
		ta, errA := time.Parse(layout, a)
		tb, errB := time.Parse(layout, b)
		if errA == nil && errB == nil {
			return ta.Equal(tb)
		}
	}
	return false
}
