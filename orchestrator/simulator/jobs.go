package simulator

import (
	"cmp"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/google/uuid"
)

// The states of a job that the simulator uses.
const (
	statePending    = "Pending"
	stateRunning    = "Running"
	stateFaulted    = "Faulted"
	stateSuccessful = "Successful"
	stateStopped    = "Stopped"
)

var (
	jobStates = []string{
		statePending, stateRunning, "Stopping", "Terminating", stateFaulted, stateSuccessful, stateStopped,
		"Suspended", "Resumed",
	}
	jobPriorities = []string{"Low", "Normal", "High"}
	jobStrategies = []string{"All", "Specific", "RobotCount", "JobsCount", "ModernJobsCount"}
)

// The value of SpecificPriorityValue that stands for each priority.
const (
	lowPriority    = 25
	normalPriority = 45
	highPriority   = 65
)

type job struct {
	id        int64
	key       uuid.UUID
	batchKey  uuid.UUID
	release   *release
	reference string
	input     string // InputArguments; empty: none
	priority  string
	specific  int // SpecificPriorityValue
	source    string
	runtime   string
	trace     uuid.UUID

	state     string
	info      string
	errorCode string
	output    string // OutputArguments; empty: none
	created   time.Time
	started   time.Time
	ended     time.Time
	modified  time.Time
}

func (j *job) stored() time.Time { return j.created.Truncate(time.Millisecond) }

func (j *job) isFinal() bool {
	return j.state == stateFaulted || j.state == stateSuccessful || j.state == stateStopped
}

func (j *job) effect() Effect {
	return Effect{
		Kind: "job", Folder: j.release.folder.path, Name: j.release.name, Reference: j.reference,
		BatchExecutionKey: j.batchKey.String(), ID: j.id, Key: j.key.String(), CreatedAt: j.created, InputArguments: j.input,
	}
}

// startInfo holds what the simulator heeds of the API's StartProcessDto; the rest is there to be known.
type startInfo struct {
	ReleaseKey            string     `json:"ReleaseKey"`
	ReleaseName           string     `json:"ReleaseName"`
	Strategy              string     `json:"Strategy"`
	RobotIDs              []int64    `json:"RobotIds"`
	NoOfRobots            int        `json:"NoOfRobots"`
	JobsCount             int        `json:"JobsCount"`
	Source                string     `json:"Source"`
	JobPriority           *string    `json:"JobPriority"`
	SpecificPriorityValue int        `json:"SpecificPriorityValue"`
	RuntimeType           string     `json:"RuntimeType"`
	InputArguments        string     `json:"InputArguments"`
	InputFile             *uuid.UUID `json:"InputFile"`
	Reference             string     `json:"Reference"`
	BatchExecutionKey     *uuid.UUID `json:"BatchExecutionKey"`

	unheededStartInfo
}

// unheededStartInfo names the other members, for the switch that refuses unknown ones.
type unheededStartInfo struct {
	MachineSessionIDs      json.RawMessage `json:"MachineSessionIds"`
	EnvironmentVariables   json.RawMessage `json:"EnvironmentVariables"`
	MachineRobots          json.RawMessage `json:"MachineRobots"`
	Attachments            json.RawMessage `json:"Attachments"`
	TargetFramework        json.RawMessage `json:"TargetFramework"`
	ResumeOnSameContext    json.RawMessage `json:"ResumeOnSameContext"`
	RequiresUserInterction json.RawMessage `json:"RequiresUserInteraction"`
	StopProcessExpression  json.RawMessage `json:"StopProcessExpression"`
	StopStrategy           json.RawMessage `json:"StopStrategy"`
	KillProcessExpression  json.RawMessage `json:"KillProcessExpression"`
	RemoteControlAccess    json.RawMessage `json:"RemoteControlAccess"`
	AlertPendingExpression json.RawMessage `json:"AlertPendingExpression"`
	AlertRunningExpression json.RawMessage `json:"AlertRunningExpression"`
	RunAsMe                json.RawMessage `json:"RunAsMe"`
	ParentOperationID      json.RawMessage `json:"ParentOperationId"`
	AutopilotForRobots     json.RawMessage `json:"AutopilotForRobots"`
	ProfilingOptions       json.RawMessage `json:"ProfilingOptions"`
	FpsContext             json.RawMessage `json:"FpsContext"`
	FpsProperties          json.RawMessage `json:"FpsProperties"`
	TraceID                json.RawMessage `json:"TraceId"`
	ParentSpanID           json.RawMessage `json:"ParentSpanId"`
	RootSpanID             json.RawMessage `json:"RootSpanId"`
	EntryPointPath         json.RawMessage `json:"EntryPointPath"`
	VideoRecordingSettings json.RawMessage `json:"VideoRecordingSettings"`
	MachineInfraTarget     json.RawMessage `json:"MachineInfraTarget"`
}

const (
	maxInputArguments = 10_000
	maxJobs           = 10_000
)

func (s *Server) startJobs(c *call) (effect, *refusal) {
	var body struct {
		StartInfo *startInfo `json:"startInfo"`
	}
	if err := s.decode(c, "startInfo", &body); err != nil {
		return effect{}, err
	}
	if body.StartInfo == nil {
		return effect{}, nullParameter("startInfo")
	}
	info := body.StartInfo
	if err := s.checkStart(info); err != nil {
		return effect{}, err
	}
	release, err := s.releaseOf(c, info)
	if err != nil {
		return effect{}, err
	}
	if err := s.checkInput(release, info.InputArguments); err != nil {
		return effect{}, err
	}
	return effect{
		carries: func(reference string) bool { return reference == info.Reference },
		apply:   func() (answer, *refusal) { return s.createJobs(c, release, info) },
	}, nil
}

// checkStart checks what can be checked without knowing the release.
func (s *Server) checkStart(info *startInfo) *refusal {
	switch {
	case info.Strategy != "" && !slices.Contains(jobStrategies, info.Strategy),
		info.JobPriority != nil && !slices.Contains(jobPriorities, *info.JobPriority):
		return nullParameter("startInfo")
	case info.JobPriority != nil && info.SpecificPriorityValue != 0:
		return invalidArgument("Cannot set a specific priority value when a standard job priority setting is selected.")
	case info.SpecificPriorityValue < 0 || info.SpecificPriorityValue > 100:
		return invalidArgument("The field SpecificPriorityValue must be between 1 and 100.")
	case info.InputFile != nil && info.InputArguments != "":
		return invalidArgument("A job cannot have both input file and input arguments.")
	case len([]rune(info.InputArguments)) > maxInputArguments:
		return invalidArgument(fmt.Sprintf("The field InputArguments must be a string with a maximum length of %d.", maxInputArguments))
	case len([]rune(info.Reference)) > maxReference:
		return invalidArgument(fmt.Sprintf("The field Reference must be a string with a maximum length of %d.", maxReference))
	case info.count() < 1 || info.count() > maxJobs:
		return invalidArgument(fmt.Sprintf("The number of jobs must be between 1 and %d.", maxJobs))
	}
	return nil
}

// count is how many jobs a start asks for.
func (i *startInfo) count() int {
	switch i.Strategy {
	case "Specific":
		return len(i.RobotIDs)
	case "RobotCount":
		return cmp.Or(i.NoOfRobots, i.JobsCount)
	case "JobsCount", "ModernJobsCount":
		return i.JobsCount
	default:
		return max(i.JobsCount, 1)
	}
}

func (s *Server) checkInput(r *release, arguments string) *refusal {
	if arguments != "" && !s.cfg.LenientInputArguments && !isJSONObject(arguments) {
		return invalidArgument("The input arguments are not a valid JSON object.")
	}
	if missing := r.missingInput(cmp.Or(arguments, r.InputArguments)); missing != "" {
		return invalidArgument("The required input argument " + missing + " is missing.")
	}
	return nil
}

// releaseOf finds the release that a start names, by its key before its name.
func (s *Server) releaseOf(c *call, info *startInfo) (*release, *refusal) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	key, _ := uuid.Parse(info.ReleaseKey) // no GUID, no release
	i := slices.IndexFunc(c.folder.releases, func(r *release) bool {
		if info.ReleaseKey == "" {
			return r.name == info.ReleaseName
		}
		return r.key == key
	})
	if i < 0 {
		return nil, errProcessMissing
	}
	r := c.folder.releases[i]
	if r.Refuses != nil {
		return nil, &refusal{status: r.Refuses.Status, code: r.Refuses.Code, message: r.Refuses.Message}
	}
	return r, nil
}

func (s *Server) createJobs(c *call, r *release, info *startInfo) (answer, *refusal) {
	if info.BatchExecutionKey != nil && s.cfg.RefuseRepeatedBatchKey && len(s.tenant.batchKeys[*info.BatchExecutionKey]) > 0 {
		return answer{}, &refusal{status: http.StatusConflict, message: "The batch execution key has been used before."}
	}
	if s.cfg.RefusePendingJobs && r.pending > 0 {
		return answer{}, &refusal{
			status: s.cfg.PendingJobsStatus, code: codePendingJobs, name: "PendingJobsAlreadyExist",
			message: "The robots already have pending jobs for this process.",
		}
	}
	template := s.jobTemplate(r, info)
	body := page{Context: c.target.base(c.r) + "/odata/$metadata#Jobs"}
	for range info.count() {
		j := template
		s.tenant.startJob(&j)
		entity := j.entity(nil)
		entity.CreationTime = j.created.Format(tickStamp)
		entity.LastModificationTime = nil
		entity.OrganizationUnitFullyQualifiedName = nil
		body.Value = append(body.Value, encodeEntity(entity))
	}
	return answer{status: http.StatusCreated, body: body}, nil
}

// jobTemplate is what the jobs of one start have in common.
func (s *Server) jobTemplate(r *release, info *startInfo) job {
	j := job{
		release:   r,
		batchKey:  s.mint.guid(),
		reference: info.Reference,
		input:     cmp.Or(info.InputArguments, r.InputArguments),
		priority:  "Normal",
		source:    cmp.Or(info.Source, "Manual"),
		runtime:   cmp.Or(info.RuntimeType, "Unattended"),
		state:     statePending,
		created:   s.tenant.stamp(s.now()),
	}
	if info.BatchExecutionKey != nil {
		j.batchKey = *info.BatchExecutionKey
	}
	if info.JobPriority != nil {
		j.priority = *info.JobPriority
	}
	j.specific = cmp.Or(info.SpecificPriorityValue, map[string]int{"Low": lowPriority, "Normal": normalPriority, "High": highPriority}[j.priority])
	j.modified = j.created
	return j
}

// startJob gives a job its ids and hands it to the robots.
func (t *tenant) startJob(j *job) {
	j.key, j.trace = t.mint.guid(), t.mint.guid()
	t.jobs.add(func(id int64) *job { j.id = id; return j })
	t.jobsByKey[j.key] = j
	t.batchKeys[j.batchKey] = append(t.batchKeys[j.batchKey], j)
	f := j.release.folder
	f.jobs = append(f.jobs, j)
	if j.reference != "" {
		reference := t.collate(j.reference)
		f.jobsByReference[reference] = append(f.jobsByReference[reference], j)
	}
	t.effects = append(t.effects, creation{job: j})
	j.release.pending++
	t.robots.offer(j)
}

type jobErrorEntity struct {
	Code      string  `json:"code"`
	Title     string  `json:"title"`
	Detail    string  `json:"detail"`
	Category  string  `json:"category"`
	Status    *int    `json:"status"`
	Timestamp *string `json:"timestamp"`
}

type jobEntity struct {
	Key                                string          `json:"Key"`
	StartTime                          *string         `json:"StartTime"`
	EndTime                            *string         `json:"EndTime"`
	State                              string          `json:"State"`
	SubState                           *string         `json:"SubState"`
	JobPriority                        string          `json:"JobPriority"`
	SpecificPriorityValue              int             `json:"SpecificPriorityValue"`
	Release                            *releaseEntity  `json:"Release,omitempty"`
	ResourceOverwrites                 *string         `json:"ResourceOverwrites"`
	Source                             string          `json:"Source"`
	SourceType                         string          `json:"SourceType"`
	BatchExecutionKey                  string          `json:"BatchExecutionKey"`
	Info                               *string         `json:"Info"`
	CreationTime                       string          `json:"CreationTime"`
	StartingScheduleID                 *int64          `json:"StartingScheduleId"`
	ReleaseName                        string          `json:"ReleaseName"`
	Type                               string          `json:"Type"`
	InputArguments                     *string         `json:"InputArguments"`
	InputFile                          *string         `json:"InputFile"`
	EnvironmentVariables               string          `json:"EnvironmentVariables"`
	OutputArguments                    *string         `json:"OutputArguments"`
	OutputFile                         *string         `json:"OutputFile"`
	HostMachineName                    *string         `json:"HostMachineName"`
	HasMediaRecorded                   bool            `json:"HasMediaRecorded"`
	HasVideoRecorded                   bool            `json:"HasVideoRecorded"`
	PersistenceID                      *string         `json:"PersistenceId"`
	ResumeVersion                      *int            `json:"ResumeVersion"`
	StopStrategy                       *string         `json:"StopStrategy"`
	RuntimeType                        string          `json:"RuntimeType"`
	RequiresUserInteraction            bool            `json:"RequiresUserInteraction"`
	ReleaseVersionID                   int64           `json:"ReleaseVersionId"`
	EntryPointPath                     *string         `json:"EntryPointPath"`
	OrganizationUnitID                 int64           `json:"OrganizationUnitId"`
	OrganizationUnitFullyQualifiedName *string         `json:"OrganizationUnitFullyQualifiedName"`
	FolderKey                          string          `json:"FolderKey"`
	Reference                          string          `json:"Reference"`
	ProcessType                        string          `json:"ProcessType"`
	ProfilingOptions                   *string         `json:"ProfilingOptions"`
	ResumeOnSameContext                bool            `json:"ResumeOnSameContext"`
	LocalSystemAccount                 string          `json:"LocalSystemAccount"`
	OrchestratorUserIdentity           *string         `json:"OrchestratorUserIdentity"`
	RemoteControlAccess                string          `json:"RemoteControlAccess"`
	StartingTriggerID                  *string         `json:"StartingTriggerId"`
	MaxExpectedRunningTimeSeconds      *int64          `json:"MaxExpectedRunningTimeSeconds"`
	ServerlessJobType                  *string         `json:"ServerlessJobType"`
	ParentJobKey                       *string         `json:"ParentJobKey"`
	ResumeTime                         *string         `json:"ResumeTime"`
	LastModificationTime               *string         `json:"LastModificationTime"`
	JobError                           *jobErrorEntity `json:"JobError"`
	ErrorCode                          *string         `json:"ErrorCode"`
	FpsProperties                      *string         `json:"FpsProperties"`
	TraceID                            string          `json:"TraceId"`
	ParentSpanID                       *string         `json:"ParentSpanId"`
	AutopilotForRobots                 *struct{}       `json:"AutopilotForRobots"`
	FpsContext                         *string         `json:"FpsContext"`
	ID                                 int64           `json:"Id"`
}

func (j *job) entity(expand []string) jobEntity {
	f := j.release.folder
	e := jobEntity{
		Key:                                j.key.String(),
		StartTime:                          stampText(j.started),
		EndTime:                            stampText(j.ended),
		State:                              j.state,
		JobPriority:                        j.priority,
		SpecificPriorityValue:              j.specific,
		Source:                             j.source,
		SourceType:                         j.source,
		BatchExecutionKey:                  j.batchKey.String(),
		Info:                               orNull(j.info),
		CreationTime:                       j.created.Format(storedStamp),
		ReleaseName:                        j.release.name,
		Type:                               "Unattended",
		InputArguments:                     orNull(j.input),
		OutputArguments:                    orNull(j.output),
		RuntimeType:                        j.runtime,
		ReleaseVersionID:                   j.release.versionID,
		OrganizationUnitID:                 f.id,
		OrganizationUnitFullyQualifiedName: &f.path,
		FolderKey:                          f.key.String(),
		Reference:                          j.reference,
		ProcessType:                        "Process",
		RemoteControlAccess:                "None",
		LastModificationTime:               stampText(j.modified),
		ErrorCode:                          orNull(j.errorCode),
		TraceID:                            j.trace.String(),
		ID:                                 j.id,
	}
	if !j.started.IsZero() {
		e.HostMachineName, e.LocalSystemAccount = new(robotHost), robotAccount
	}
	if j.state == stateFaulted {
		e.JobError = &jobErrorEntity{
			Code: j.errorCode, Title: "The job has faulted.", Detail: j.info, Category: "User", Timestamp: e.EndTime,
		}
	}
	if slices.ContainsFunc(expand, func(name string) bool { return strings.HasPrefix(name, "Release") }) {
		e.Release = new(j.release.entity())
	}
	return e
}

var jobSet = collection[*job]{
	name: "Jobs",
	fields: map[string]field[*job]{
		"id":                   numberField(func(j *job) int64 { return j.id }),
		"key":                  guidField(func(j *job) uuid.UUID { return j.key }),
		"batchexecutionkey":    guidField(func(j *job) uuid.UUID { return j.batchKey }),
		"reference":            textField(func(j *job) string { return j.reference }),
		"releasename":          textField(func(j *job) string { return j.release.name }),
		"state":                enumField(jobStates, func(j *job) string { return j.state }),
		"jobpriority":          enumField(jobPriorities, func(j *job) string { return j.priority }),
		"creationtime":         momentField((*job).stored),
		"starttime":            momentField(func(j *job) time.Time { return j.started.Truncate(time.Millisecond) }),
		"endtime":              momentField(func(j *job) time.Time { return j.ended.Truncate(time.Millisecond) }),
		"lastmodificationtime": momentField(func(j *job) time.Time { return j.modified.Truncate(time.Millisecond) }),
		"source":               textField(func(j *job) string { return j.source }),
		"errorcode":            textField(func(j *job) string { return j.errorCode }),
		"organizationunitid":   numberField(func(j *job) int64 { return j.release.folder.id }),
	},
	expand: []string{"Release", "Robot", "Machine"},
	entity: func(j *job, expand []string) any { return j.entity(expand) },
	rules:  jobRules,
}

func jobRules(cfg *Config) collectionRules {
	rules := collectionRules{maxTop: cfg.MaxTopJobs}
	for name, mode := range map[string]FilterMode{
		"reference": cfg.FilterByReference, "batchexecutionkey": cfg.FilterByBatchExecutionKey,
	} {
		switch mode {
		case FilterRefused:
			rules.refused = append(rules.refused, name)
		case FilterBlind:
			rules.blind = append(rules.blind, name)
		case FilterWorks:
		}
	}
	return rules
}

func (s *Server) listJobs(c *call) (answer, *refusal) {
	return list(s, c, jobSet, func(filter node) iter.Seq[*job] {
		newest := s.now().Add(-s.cfg.ReadDelay)
		return func(yield func(*job) bool) {
			for _, j := range s.tenant.jobCandidates(c.folder, filter) {
				if j.release.folder != c.folder || (s.cfg.ReadDelay > 0 && j.created.After(newest)) {
					continue
				}
				if !yield(j) {
					return
				}
			}
		}
	})
}

// jobCandidates narrows a list call by the best index that its filter allows.
func (t *tenant) jobCandidates(f *folder, filter node) []*job {
	if ids, ok := pinnedBy(filter, "Id", parseID); ok {
		return inOrder(ids, func(id int64) []*job { return found(t.jobs.get(id)) })
	}
	if keys, ok := pinnedBy(filter, "Key", uuid.Parse); ok {
		return inOrder(keys, func(key uuid.UUID) []*job { j, ok := t.jobsByKey[key]; return found(j, ok) })
	}
	if keys, ok := pinnedBy(filter, "BatchExecutionKey", uuid.Parse); ok {
		return inOrder(keys, func(key uuid.UUID) []*job { return t.batchKeys[key] })
	}
	if references, ok := pinned(filter, "Reference"); ok {
		return inOrder(references, func(l literal) []*job { return f.jobsByReference[t.collate(l.text)] })
	}
	from := since(filter, "CreationTime")
	return f.jobs[sort.Search(len(f.jobs), func(i int) bool { return !f.jobs[i].stored().Before(from) }):]
}

func found(j *job, ok bool) []*job {
	if !ok {
		return nil
	}
	return []*job{j}
}

// inOrder looks keys up and returns each job once, in the order of creation.
func inOrder[K any](keys []K, lookUp func(K) []*job) []*job {
	var jobs []*job
	for _, key := range keys {
		jobs = append(jobs, lookUp(key)...)
	}
	slices.SortFunc(jobs, func(a, b *job) int { return cmp.Compare(a.id, b.id) })
	return slices.Compact(jobs)
}

// jobOf finds a job by id in a folder.
func (t *tenant) jobOf(f *folder, id int64) (*job, *refusal) {
	j, ok := t.jobs.get(id)
	if !ok || j.release.folder != f {
		return nil, errJobMissing
	}
	return j, nil
}

func (s *Server) getJob(c *call) (answer, *refusal) {
	id, _ := parseID(c.argument) // no number, no job
	j, err := s.tenant.jobOf(c.folder, id)
	if err != nil {
		return answer{}, err
	}
	return single(s, c, jobSet, j)
}

func (s *Server) getJobByKey(c *call) (answer, *refusal) {
	key, _ := uuid.Parse(strings.TrimPrefix(c.argument, "identifier=")) // no GUID, no job
	j, ok := s.tenant.jobsByKey[key]
	if !ok || j.release.folder != c.folder {
		return answer{}, errJobMissing
	}
	return single(s, c, jobSet, j)
}

// stopJobs cancels jobs at once, whatever the strategy. Jobs that have ended are left alone.
func (s *Server) stopJobs(c *call) (effect, *refusal) {
	var body struct {
		JobIDs   []int64 `json:"jobIds"`
		Strategy string  `json:"strategy"`
	}
	if err := s.decode(c, "stopJobsParameters", &body); err != nil {
		return effect{}, err
	}
	if body.Strategy != "SoftStop" && body.Strategy != "Kill" {
		return effect{}, nullParameter("stopJobsParameters")
	}
	return effect{carries: neverCarries, apply: func() (answer, *refusal) {
		jobs := make([]*job, len(body.JobIDs))
		for i, id := range body.JobIDs {
			j, err := s.tenant.jobOf(c.folder, id)
			if err != nil {
				return answer{}, err
			}
			jobs[i] = j
		}
		for _, j := range jobs {
			s.tenant.robots.stop(j)
		}
		return answer{status: http.StatusOK}, nil
	}}, nil
}
