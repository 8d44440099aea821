package simulator

import (
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Queue describes a queue definition.
type Queue struct {
	Name string // at most 50 characters; two names that differ in case alone are the same
	// Unique refuses an item whose Reference another item of the queue has that is neither Deleted nor Retried.
	Unique bool
	// MaxRetries is how often an item that failed with an application exception is tried again. Zero: never.
	MaxRetries int
	// SchemaJSON is the JSON schema that SpecificContent has to satisfy. Empty: none.
	SchemaJSON string
}

type queue struct {
	Queue
	id      int64
	key     uuid.UUID
	folder  *folder
	created time.Time
	schema  *jsonschema.Schema // nil: none

	items       []*queueItem          // in the order of creation
	byReference map[string]*queueItem // the newest; queueItem.older leads to the others
}

const maxQueueName = 50

// AddQueue makes a queue, and its folder if that is missing, and returns its id. It refuses names that are empty, too
// long or taken, and schemas that are none.
func (s *Server) AddQueue(folderPath string, q Queue) (id int64, err error) {
	if q.Name == "" || utf8.RuneCountInString(q.Name) > maxQueueName {
		return 0, fmt.Errorf("queue name %q: give 1 to %d characters", q.Name, maxQueueName)
	}
	schema, err := compileSchema(q.SchemaJSON)
	if err != nil {
		return 0, fmt.Errorf("schema of queue %q: %w", q.Name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.tenant.addFolder(folderPath)
	if f.queue(q.Name) != nil {
		return 0, fmt.Errorf("queue name %q is taken in folder %q: give another", q.Name, folderPath)
	}
	made := &queue{
		Queue: q, id: s.tenant.queueIDs.next(), key: s.mint.guid(), folder: f, created: s.tenant.stamp(s.now()),
		schema: schema, byReference: make(map[string]*queueItem),
	}
	f.queues = append(f.queues, made)
	return made.id, nil
}

func compileSchema(text string) (*jsonschema.Schema, error) {
	if text == "" {
		return nil, nil //nolint:nilnil // no schema is no error
	}
	document, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("parse: %w", err)
	}
	const name = "queue.json"
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource(name, document); err != nil {
		return nil, fmt.Errorf("add: %w", err)
	}
	schema, err := compiler.Compile(name)
	if err != nil {
		return nil, fmt.Errorf("compile: %w", err)
	}
	return schema, nil
}

// queue finds a queue by its name, whatever its case; nil if there is none.
func (f *folder) queue(name string) *queue {
	i := slices.IndexFunc(f.queues, func(q *queue) bool { return strings.EqualFold(q.Name, name) })
	if i < 0 {
		return nil
	}
	return f.queues[i]
}

type queueEntity struct {
	Key                                string            `json:"Key"`
	Name                               string            `json:"Name"`
	Description                        string            `json:"Description"`
	MaxNumberOfRetries                 int               `json:"MaxNumberOfRetries"`
	AcceptAutomaticallyRetry           bool              `json:"AcceptAutomaticallyRetry"`
	RetryAbandonedItems                bool              `json:"RetryAbandonedItems"`
	EnforceUniqueReference             bool              `json:"EnforceUniqueReference"`
	Encrypted                          bool              `json:"Encrypted"`
	SpecificDataJSONSchema             *string           `json:"SpecificDataJsonSchema"`
	OutputDataJSONSchema               *string           `json:"OutputDataJsonSchema"`
	AnalyticsDataJSONSchema            *string           `json:"AnalyticsDataJsonSchema"`
	CreationTime                       *string           `json:"CreationTime"`
	ProcessScheduleID                  *int64            `json:"ProcessScheduleId"`
	SLAInMinutes                       int               `json:"SlaInMinutes"`
	RiskSLAInMinutes                   int               `json:"RiskSlaInMinutes"`
	ReleaseID                          *int64            `json:"ReleaseId"`
	IsProcessInCurrentFolder           *bool             `json:"IsProcessInCurrentFolder"`
	FoldersCount                       int               `json:"FoldersCount"`
	OrganizationUnitID                 int64             `json:"OrganizationUnitId"`
	OrganizationUnitFullyQualifiedName string            `json:"OrganizationUnitFullyQualifiedName"`
	Tags                               []json.RawMessage `json:"Tags"`
	ID                                 int64             `json:"Id"`
}

func (q *queue) entity() queueEntity {
	return queueEntity{
		Key:                                q.key.String(),
		Name:                               q.Name,
		MaxNumberOfRetries:                 q.MaxRetries,
		AcceptAutomaticallyRetry:           q.MaxRetries > 0,
		EnforceUniqueReference:             q.Unique,
		SpecificDataJSONSchema:             orNull(q.SchemaJSON),
		CreationTime:                       stampText(q.created),
		FoldersCount:                       1,
		OrganizationUnitID:                 q.folder.id,
		OrganizationUnitFullyQualifiedName: q.folder.path,
		Tags:                               []json.RawMessage{},
		ID:                                 q.id,
	}
}

var queueSet = collection[*queue]{
	name: "QueueDefinitions",
	fields: map[string]field[*queue]{
		"id":                     numberField(func(q *queue) int64 { return q.id }),
		"key":                    guidField(func(q *queue) uuid.UUID { return q.key }),
		"name":                   foldedField(func(q *queue) string { return q.Name }),
		"enforceuniquereference": boolField(func(q *queue) bool { return q.Unique }),
		"maxnumberofretries":     numberField(func(q *queue) int64 { return int64(q.MaxRetries) }),
		"creationtime":           momentField(func(q *queue) time.Time { return q.created }),
		"organizationunitid":     numberField(func(q *queue) int64 { return q.folder.id }),
	},
	entity: func(q *queue, _ []string) any { return q.entity() },
	rules:  generalRules,
}

func (s *Server) listQueues(c *call) (answer, *refusal) {
	return list(s, c, queueSet, func(node) iter.Seq[*queue] { return slices.Values(c.folder.queues) })
}

func (s *Server) getQueue(c *call) (answer, *refusal) {
	id, _ := strconv.ParseInt(c.argument, 10, 64) // no number, no queue
	return s.oneQueue(c, func(q *queue) bool { return q.id == id })
}

func (s *Server) getQueueByKey(c *call) (answer, *refusal) {
	key, _ := uuid.Parse(strings.TrimPrefix(c.argument, "identifier=")) // no GUID, no queue
	return s.oneQueue(c, func(q *queue) bool { return q.key == key })
}

func (s *Server) oneQueue(c *call, match func(*queue) bool) (answer, *refusal) {
	i := slices.IndexFunc(c.folder.queues, match)
	if i < 0 {
		return answer{}, notFound("QueueDefinition does not exist.")
	}
	return single(s, c, queueSet, c.folder.queues[i])
}
