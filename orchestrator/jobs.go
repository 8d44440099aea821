package orchestrator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"time"

	"waybill/internal/jsonobject"
)

// StartInfo says which process to start and how. Empty members are left out.
type StartInfo struct {
	ReleaseKey            string // or ReleaseName
	ReleaseName           string // newer versions only
	Strategy              string // ModernJobsCount in modern folders; JobsCount, Specific, ... in classic ones
	JobsCount             int    // 1 where exactly one job must come of the call
	Source                string
	JobPriority           string // Low, Normal or High; not together with SpecificPriorityValue
	SpecificPriorityValue int    // 1 to 100
	RuntimeType           string
	InputArguments        string // a JSON object as text, at most 10,000 characters
	Reference             string // at most 128 characters; need not be unique
	BatchExecutionKey     string // GUID that all jobs of the call carry
	// Extra are further members by UiPath's names (RobotIds, InputFile, ...).
	// One that is also a field above is left out where that field is set.
	Extra map[string]json.RawMessage
}

// AppendJSON appends the start info as JSON; Extra has to be valid JSON.
func (s StartInfo) AppendJSON(dst []byte) []byte {
	o := jsonobject.Begin(dst)
	o.TextIf("ReleaseKey", s.ReleaseKey)
	o.TextIf("ReleaseName", s.ReleaseName)
	o.TextIf("Strategy", s.Strategy)
	o.IntIf("JobsCount", int64(s.JobsCount))
	o.TextIf("Source", s.Source)
	o.TextIf("JobPriority", s.JobPriority)
	o.IntIf("SpecificPriorityValue", int64(s.SpecificPriorityValue))
	o.TextIf("RuntimeType", s.RuntimeType)
	o.TextIf("InputArguments", s.InputArguments)
	o.TextIf("Reference", s.Reference)
	o.TextIf("BatchExecutionKey", s.BatchExecutionKey)
	appendExtra(&o, s.Extra)
	return o.End()
}

// MarshalJSON is AppendJSON for encoding/json.
func (s StartInfo) MarshalJSON() ([]byte, error) { return s.AppendJSON(nil), nil }

func (s StartInfo) validate() error {
	switch {
	case s.ReleaseKey == "" && s.ReleaseName == "":
		return errors.New("ReleaseKey and ReleaseName are empty: give one, see ReleaseByName")
	case s.BatchExecutionKey != "" && !isGUID(s.BatchExecutionKey):
		return fmt.Errorf("BatchExecutionKey %q is no GUID: give one like db4528cc-7a3d-44f0-9df9-781fc07e9d8d", s.BatchExecutionKey)
	}
	return validateExtra(s.Extra)
}

// Job is one run of a process, as Orchestrator tells it.
type Job struct {
	ID                                 int64      `json:"Id"`
	Key                                string     `json:"Key"`
	State                              string     `json:"State"` // Pending, Running, Stopping, Terminating, Faulted, Successful, Stopped, Suspended or Resumed
	SubState                           string     `json:"SubState"`
	Info                               string     `json:"Info"`            // why it ended
	InputArguments                     string     `json:"InputArguments"`  // JSON text
	OutputArguments                    string     `json:"OutputArguments"` // JSON text; dropped by Orchestrator when too long
	Reference                          string     `json:"Reference"`
	BatchExecutionKey                  string     `json:"BatchExecutionKey"`
	ReleaseName                        string     `json:"ReleaseName"`
	Source                             string     `json:"Source"`
	SourceType                         string     `json:"SourceType"`
	Type                               string     `json:"Type"`
	JobPriority                        string     `json:"JobPriority"`
	RuntimeType                        string     `json:"RuntimeType"`
	HostMachineName                    string     `json:"HostMachineName"`
	ErrorCode                          string     `json:"ErrorCode"` // a word: Robot, Activity, BusinessRuleException, ...
	JobError                           *JobError  `json:"JobError"`
	CreationTime                       *time.Time `json:"CreationTime"`
	StartTime                          *time.Time `json:"StartTime"`
	EndTime                            *time.Time `json:"EndTime"`
	LastModificationTime               *time.Time `json:"LastModificationTime"`
	OrganizationUnitID                 int64      `json:"OrganizationUnitId"`
	OrganizationUnitFullyQualifiedName string     `json:"OrganizationUnitFullyQualifiedName"`
}

// JobError is why a job faulted. Orchestrator also sends it empty.
type JobError struct {
	Code      string     `json:"code"`
	Title     string     `json:"title"`
	Detail    string     `json:"detail"`
	Category  string     `json:"category"`
	Status    int        `json:"status"`
	Timestamp *time.Time `json:"timestamp"`
}

func (j *Job) missing() string {
	if j.ID == 0 {
		return "Id"
	}
	return ""
}

// Ended tells whether the job is over. Suspended and Resumed are not.
func (j *Job) Ended() bool {
	return slices.Contains([]string{"Successful", "Faulted", "Stopped"}, j.State)
}

// startedJobs is the answer to StartJobs.
type startedJobs struct {
	page[Job]
}

func (s *startedJobs) missing() string {
	if s.Value == nil || len(*s.Value) == 0 {
		return "the jobs it started"
	}
	for i := range *s.Value {
		if name := (*s.Value)[i].missing(); name != "" {
			return name + " of a job"
		}
	}
	return ""
}

// StartJobs starts a process and gives the jobs made of it. Orchestrator knows
// no key against repeats: two equal calls start two jobs. After an error of kind
// Uncertain look for the job by its Reference or BatchExecutionKey before
// another try. It follows the page "Jobs requests" of UiPath's API guide.
func (c *Client) StartJobs(ctx context.Context, folder Folder, info StartInfo) ([]Job, error) {
	const op = "start jobs"
	if err := info.validate(); err != nil {
		return nil, rejected(op, Writes, err, "")
	}
	body := append(make([]byte, 0, 512+len(info.InputArguments)), `{"startInfo":`...)
	body = append(info.AppendJSON(body), '}')
	var started startedJobs
	err := c.do(ctx, call{
		op: op, class: Writes, method: http.MethodPost, folder: folder,
		path: "/odata/Jobs/UiPath.Server.Configuration.OData.StartJobs", body: body, into: &started,
	})
	if err != nil {
		return nil, err
	}
	return *started.Value, nil
}

// Job reads one job by id, which costs nothing of the list budget.
func (c *Client) Job(ctx context.Context, folder Folder, id int64) (Job, error) {
	var job Job
	err := c.do(ctx, call{
		op: "get job", class: Reads, method: http.MethodGet, path: entity("Jobs", id), folder: folder, into: &job,
	})
	if err != nil {
		return Job{}, err
	}
	return job, nil
}

// Jobs lists a folder's jobs, page by page. Each page is a call of the list
// budget.
func (c *Client) Jobs(ctx context.Context, folder Folder, q Query) iter.Seq2[Job, error] {
	return list[Job](ctx, c, call{op: "list jobs", class: ListReads, path: "/odata/Jobs", folder: folder}, q, maxTop)
}

// SameArguments tells whether the InputArguments that a job carries are those
// that were sent. Nothing sent matches everything: the process's own defaults
// take its place.
func SameArguments(sent, got string) bool {
	if isBlank([]byte(sent)) || sent == got {
		return true
	}
	a, okA := decodeOptional([]byte(sent))
	b, okB := decodeOptional([]byte(got))
	return okA && okB && sameValue(a, b, func(string, string) bool { return false })
}
