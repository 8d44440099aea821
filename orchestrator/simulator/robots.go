package simulator

import (
	"cmp"
	"math/rand/v2"
	"time"
)

// Robots describes the simulated robots, which run jobs from Pending to Successful or Faulted.
type Robots struct {
	// Count is how many jobs run at the same time. Zero: no robots, jobs stay Pending.
	Count int
	// JobTime is how long a job runs. Zero: one second.
	JobTime time.Duration
	// PickUp is how long a job is Pending at least. Zero: 50 ms.
	PickUp time.Duration
	// FaultShare is the share of jobs that end Faulted, 0 to 1, chosen by the Config's Seed.
	FaultShare float64
	// Output makes the OutputArguments of a successful job out of its InputArguments. Nil: they are the same.
	Output func(inputArguments string) string
}

const (
	robotHost    = "SIM-HOST"
	robotAccount = `SIM\ROBOT`
)

func (r Robots) withDefaults() Robots {
	r.JobTime = cmp.Or(r.JobTime, time.Second)
	r.PickUp = cmp.Or(r.PickUp, 50*time.Millisecond)
	if r.Output == nil {
		r.Output = func(inputArguments string) string { return cmp.Or(inputArguments, "{}") }
	}
	return r
}

// robots runs jobs on timers alone. Its methods want the Server's lock held.
type robots struct {
	Robots
	server  *Server
	idle    int
	waiting []waitingJob // in the order of creation
	chance  *rand.Rand
}

type waitingJob struct {
	job   *job
	ready time.Time // when a robot may take it
}

func newRobots(s *Server) *robots {
	return &robots{
		Robots: s.cfg.Robots, server: s, idle: s.cfg.Robots.Count,
		chance: rand.New(newRand(s.cfg.Seed, "robots")), // #nosec G404 -- repeatable on purpose
	}
}

// offer lets a job wait for a robot.
func (r *robots) offer(j *job) {
	if r.Count <= 0 {
		return
	}
	r.waiting = append(r.waiting, waitingJob{job: j, ready: time.Now().Add(r.PickUp)})
	r.server.alarms.after(r.PickUp, func() {
		r.server.mu.Lock()
		defer r.server.mu.Unlock()
		r.pickUp()
	})
}

// pickUp starts the jobs that are ready, oldest first, as long as there are robots. Timers that go off at the same
// moment may come in any order; the jobs do not.
func (r *robots) pickUp() {
	for r.idle > 0 && len(r.waiting) > 0 && !r.waiting[0].ready.After(time.Now()) {
		j := r.waiting[0].job
		r.waiting = r.waiting[1:]
		if j.state == statePending {
			r.run(j)
		}
	}
}

func (r *robots) run(j *job) {
	r.idle--
	j.release.pending--
	j.state = stateRunning
	j.started = r.server.tenant.stamp(r.server.now())
	j.modified = j.started
	faults := r.chance.Float64() < r.FaultShare
	r.server.alarms.after(r.JobTime, func() {
		r.server.mu.Lock()
		defer r.server.mu.Unlock()
		r.finish(j, faults)
		r.idle++
		r.pickUp()
	})
}

func (r *robots) finish(j *job, faults bool) {
	switch {
	case j.isFinal():
	case faults:
		j.errorCode = "Robot"
		j.end(r.server, stateFaulted, "System.Exception: The simulated robot failed.", "{}")
	default:
		j.end(r.server, stateSuccessful, "Job completed", r.Output(j.input))
	}
}

func (r *robots) stop(j *job) {
	if j.isFinal() {
		return
	}
	if j.state == statePending {
		j.release.pending--
	}
	j.end(r.server, stateStopped, "Job canceled", "")
}

func (r *robots) clear() { r.waiting = nil }

func (j *job) end(s *Server, state, info, output string) {
	j.state, j.info, j.output = state, info, output
	j.ended = s.tenant.stamp(s.now())
	j.modified = j.ended
}
