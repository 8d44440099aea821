package simulator

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"unicode/utf8"

	"github.com/google/uuid"
)

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
	case utf8.RuneCountInString(info.InputArguments) > maxInputArguments:
		return invalidArgument(fmt.Sprintf("The field InputArguments must be a string with a maximum length of %d.", maxInputArguments))
	case utf8.RuneCountInString(info.Reference) > maxReference:
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
