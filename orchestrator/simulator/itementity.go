package simulator

import (
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"slices"
	"strings"
	"time"
)

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
