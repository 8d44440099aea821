package orchestrator

import (
	"context"
	"iter"
	"time"
)

const opQueue = "look up queue"

// QueueDefinition is a queue and its settings.
type QueueDefinition struct {
	ID                                 int64      `json:"Id"`
	Key                                string     `json:"Key"`
	Name                               string     `json:"Name"` // as Orchestrator spells it
	Description                        string     `json:"Description"`
	MaxNumberOfRetries                 int        `json:"MaxNumberOfRetries"`
	AcceptAutomaticallyRetry           bool       `json:"AcceptAutomaticallyRetry"`
	RetryAbandonedItems                bool       `json:"RetryAbandonedItems"`
	EnforceUniqueReference             bool       `json:"EnforceUniqueReference"` // Deleted and Retried items do not count
	Encrypted                          bool       `json:"Encrypted"`
	SpecificDataJSONSchema             string     `json:"SpecificDataJsonSchema"`
	OutputDataJSONSchema               string     `json:"OutputDataJsonSchema"`
	AnalyticsDataJSONSchema            string     `json:"AnalyticsDataJsonSchema"`
	SLAInMinutes                       int        `json:"SlaInMinutes"`
	RiskSLAInMinutes                   int        `json:"RiskSlaInMinutes"`
	FoldersCount                       int        `json:"FoldersCount"`
	OrganizationUnitID                 int64      `json:"OrganizationUnitId"`
	OrganizationUnitFullyQualifiedName string     `json:"OrganizationUnitFullyQualifiedName"`
	CreationTime                       *time.Time `json:"CreationTime"`
}

func (d *QueueDefinition) missing() string {
	if d.ID == 0 {
		return "Id"
	}
	return ""
}

// QueueDefinitionByName finds a folder's queue by its name, which does not
// depend on case, and remembers it for some minutes. A name that nothing has
// gives an error of kind Rejected that is ErrNotFound. It follows the page
// "Queue definitions" of UiPath's API guide.
func (c *Client) QueueDefinitionByName(ctx context.Context, folder Folder, name string) (QueueDefinition, error) {
	return c.queues.get(ctx, opQueue, nameKey(folder, name), func(ctx context.Context) (QueueDefinition, error) {
		queue, err := findByName("Name", opQueue, name, func(d QueueDefinition) string { return d.Name },
			func(q Query) iter.Seq2[QueueDefinition, error] { return c.QueueDefinitions(ctx, folder, q) })
		return queue, namedError(err, opQueue, "queue", name,
			"check the name, that the queue is in this folder, and that the login may read queues (scope OR.Queues)")
	})
}

// ForgetQueue makes the next QueueDefinitionByName ask again.
func (c *Client) ForgetQueue(folder Folder, name string) {
	c.queues.forget(nameKey(folder, name))
}

// QueueDefinitions lists a folder's queues.
func (c *Client) QueueDefinitions(ctx context.Context, folder Folder, q Query) iter.Seq2[QueueDefinition, error] {
	return list[QueueDefinition](ctx, c, call{op: "list queues", class: Reads, path: "/odata/QueueDefinitions", folder: folder}, q, maxTop)
}
