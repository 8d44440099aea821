package simulator

import (
	"cmp"
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
