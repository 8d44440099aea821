package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// result is what one run showed.
type result struct {
	Workload string `json:"workload"`
	Side     side   `json:"side"`
	Round    int    `json:"round"`
	Count    int    `json:"count"`

	Seconds float64 `json:"seconds"` // from the first delivery to the last outcome stored
	Rate    float64 `json:"rate"`    // requests a second in that time

	WorkerCPU float64 `json:"workerCpuSeconds"` // all worker processes, from start to end
	ServerCPU float64 `json:"serverCpuSeconds"` // while the side ran
	APICPU    float64 `json:"apiCpuSeconds"`    // Orchestrator's stand-in
	PeakMiB   float64 `json:"workerPeakMiB"`    // of the largest worker process
	ServerMiB float64 `json:"serverMiB"`        // resident when the run was over

	Calls   uint64  `json:"apiCalls"`
	Verdict verdict `json:"verdict"`

	// Latency is of a paced workload, in milliseconds.
	Latency *latencies `json:"latency,omitempty"`
	// Recovery is, in seconds, from the restart of a worker that was killed to
	// its first outcome.
	Recovery float64 `json:"recoverySeconds,omitempty"`
	// Ready is, in seconds, from the start of waybill's last worker process to
	// when it was ready to pull.
	Ready float64 `json:"readySeconds,omitempty"`
	// Restart is, in seconds, how long the server took to serve again, and
	// RestartedMiB what it was resident in then.
	Restart      float64 `json:"restartSeconds,omitempty"`
	RestartedMiB float64 `json:"restartedMiB,omitempty"`
}

// cpuPer is the worker's CPU time for so many requests.
func (r result) cpuPer(n int) float64 { return r.WorkerCPU * float64(n) / float64(r.Count) }

// callsPer is how many API calls were made for so many requests.
func (r result) callsPer(n int) float64 { return float64(r.Calls) * float64(n) / float64(r.Count) }

// run is one workload on one side, while it lasts.
type run struct {
	*bench

	w      workload
	side   side
	dir    string
	server *natsServer
	api    *api
	js     jetstream.JetStream
	ran    []*process // the side's, also those that have ended

	restarted time.Time // when the worker came back that was killed

	before       stubCounts // calls made before the run's own requests
	fromSequence uint64     // of the outcomes stream
	ready        time.Duration
}

// runTimeout bounds a run: several times what the longest takes.
const runTimeout = 8 * time.Minute

// measure runs a workload on one side and checks what came of it.
func (b *bench) measure(ctx context.Context, w workload, s side) (result, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, runTimeout, errTooLong)
	defer cancel() // which ends every process that still runs
	dir, err := os.MkdirTemp(b.dir, w.name+"-"+string(s)+"-")
	if err != nil {
		return result{}, fmt.Errorf("make the folder of a run: %w", err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // it lies in the folder for temporary files
	r := &run{bench: b, w: w.forSide(s), side: s, dir: dir}
	res, err := r.measure(ctx)
	if err != nil {
		err = fmt.Errorf("%s, %s: %w", w.name, s, err)
	}
	return res, errors.Join(err, r.end(ctx))
}

func (r *run) measure(ctx context.Context) (result, error) {
	if err := r.setUp(ctx); err != nil {
		return result{}, err
	}
	nc, js, err := r.server.connect()
	if err != nil {
		return result{}, err
	}
	defer nc.Close()
	r.js = js
	serverCPU := r.server.cpuSoFar()
	res := result{Workload: r.w.name, Side: r.side, Count: r.w.count}
	if err := r.startSide(ctx); err != nil {
		return res, err
	}
	if err := r.carryOut(ctx, &res); err != nil {
		return res, err
	}
	res.ServerCPU = (r.server.cpuSoFar() - serverCPU).Seconds()
	res.ServerMiB = mebibytes(r.server.resident())
	if err := r.conclude(ctx, &res); err != nil {
		return res, err
	}
	res.Ready = r.ready.Seconds()
	if r.w.restart {
		return res, r.timeRestart(ctx, &res)
	}
	return res, nil
}

func mebibytes(kib int64) float64 { return float64(kib) / 1024 }

// setUp starts what the side needs, and has its requests wait for it.
func (r *run) setUp(ctx context.Context) error {
	var err error
	if r.server, err = r.startServer(ctx, r.dir, false); err != nil {
		return err
	}
	if r.w.faults {
		r.api, err = r.startSimulator(ctx, r.dir, r.w)
	} else {
		r.api, err = r.startStub(ctx, r.dir, r.w.latency)
	}
	if err != nil {
		return err
	}
	nc, js, err := r.server.connect()
	if err != nil {
		return err
	}
	defer nc.Close()
	if err := provision(ctx, js, r.side); err != nil {
		return err
	}
	if err := r.fillLedger(ctx, js); err != nil {
		return err
	}
	if r.w.pace == 0 {
		if err := publishRequests(ctx, r.server, r.w, r.w.ledger); err != nil {
			return err
		}
	}
	if r.w.always {
		return r.server.restart(ctx, true)
	}
	return nil
}

// startSide starts the processes that carry the requests out.
func (r *run) startSide(ctx context.Context) error {
	for range r.w.processes {
		if err := r.startWorker(ctx); err != nil {
			return err
		}
	}
	return r.awaitReady(ctx)
}

func (r *run) startWorker(ctx context.Context) error {
	var p *process
	var err error
	name := fmt.Sprintf("%s-%d", r.side, len(r.ran))
	if r.side == sideWaybill {
		p, err = r.startWaybill(ctx, name)
	} else {
		p, err = r.startUnder(ctx, name, cleanEnvironment(), r.self, r.roleArguments()...)
	}
	if err == nil {
		r.ran = append(r.ran, p)
	}
	return err
}

// startUnder starts a process of the side, under the command that was asked
// for.
func (r *run) startUnder(ctx context.Context, name string, env []string, program string, args ...string) (*process, error) {
	line := append(slices.Clone(r.under), program)
	return startProcess(ctx, r.dir, name, env, line[0], append(line[1:], args...)...)
}

func (r *run) roleArguments() []string {
	bulk := r.w.bulk
	if r.side == sideWatermill {
		bulk = 1
	}
	args := []string{
		"role", string(r.side), "--nats", r.server.url(), "--api", r.api.base(), "--kind", r.w.kind,
		"--lanes", strconv.Itoa(r.w.lanes), "--in-flight", strconv.Itoa(r.w.inFlight), "--bulk", strconv.Itoa(bulk),
	}
	if r.side == sideBare {
		args = append(args, "--publish", string(r.w.barePublish()))
	}
	if r.profile != "" {
		args = append(args, "--cpuprofile", r.profile)
	}
	return args
}

// startWaybill starts the worker as anybody does, with a configuration file.
func (r *run) startWaybill(ctx context.Context, name string) (*process, error) {
	config := fmt.Sprintf(`limits:
  bulkItems: %d
%stenants:
  - name: %s
    url: %s
    clientId: bench
    folder: {path: %s}
    maxInFlight: %d
    listReadsPerMinute: 6000
`, max(r.w.bulk, 2), r.w.workerLimits(), tenantName, r.api.base(), folderName, r.w.inFlight)
	path := filepath.Join(r.dir, "waybill.yaml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		return nil, fmt.Errorf("write the worker's configuration: %w", err)
	}
	health, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	env := cleanEnvironment("NATS_URL="+r.server.url(), "UIPATH_CLIENT_SECRET=bench")
	p, err := r.startUnder(ctx, name, env, r.worker, "run", "--config", path, "--listen", health)
	if err != nil {
		return nil, err
	}
	p.health = health
	return p, nil
}

// awaitReady takes the time until waybill's workers are ready to pull.
func (r *run) awaitReady(ctx context.Context) error {
	const often, most = 2 * time.Millisecond, time.Minute
	ctx, cancel := context.WithTimeoutCause(ctx, most, errTooLong)
	defer cancel()
	for _, p := range r.ran {
		if p.health == "" || p.check() != nil {
			continue // it is another side's, or was killed
		}
		if err := poll(ctx, often, func() (bool, error) { return isReady(ctx, p.health), p.check() }); err != nil {
			return fmt.Errorf("wait for the worker to be ready: %w", err)
		}
		r.ready = time.Since(p.started)
	}
	return nil
}

func isReady(ctx context.Context, address string) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/readyz", nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	_ = resp.Body.Close() // only the status counts
	return resp.StatusCode == http.StatusOK
}

// carryOut waits until the side has carried everything out.
func (r *run) carryOut(ctx context.Context, res *result) error {
	switch {
	case r.w.pace > 0:
		return r.measureLatency(ctx, res)
	case r.w.faults:
		if err := r.strike(ctx); err != nil {
			return err
		}
	}
	return r.awaitEffects(ctx, r.w.ledger+r.w.count)
}

// checkEvery is how often the stub is asked whether all is done: rarely enough
// to disturb nothing.
const checkEvery = 50 * time.Millisecond

// effectsTimeout is how long all effects may take, before they are counted as
// they are.
const effectsTimeout = 4 * time.Minute

// awaitEffects waits until so many References have had their effect. That
// some never have it is for the verdict to say.
func (r *run) awaitEffects(ctx context.Context, want int) error {
	ctx, cancel := context.WithTimeoutCause(ctx, effectsTimeout, errTooLong)
	defer cancel()
	err := poll(ctx, checkEvery, func() (bool, error) {
		counts, err := r.api.counts(ctx)
		if err != nil {
			return false, err
		}
		return counts.Distinct >= uint64(want), r.running() //nolint:gosec // G115: a number of requests
	})
	if errors.Is(err, errTooLong) {
		r.log.Warn("not everything was carried out in time", "workload", r.w.name, "side", r.side)
		return nil
	}
	return err
}

// running is an error if a process has ended that should run.
func (r *run) running() error {
	faults := []error{r.server.check(), r.api.check()}
	for _, p := range r.ran[max(0, len(r.ran)-r.w.processes):] {
		faults = append(faults, p.check())
	}
	return errors.Join(faults...)
}

// settleTime is how long the runner stays away when the last effect is there,
// for the last outcomes to be stored undisturbed.
const settleTime = 250 * time.Millisecond

// conclude reads what came of the requests, and what it took.
func (r *run) conclude(ctx context.Context, res *result) error {
	select {
	case <-time.After(settleTime):
	case <-ctx.Done():
		return fmt.Errorf("wait for the last outcomes: %w", context.Cause(ctx))
	}
	check := newChecker(r.w.ledger, r.w.count)
	check.mark = r.restarted
	if err := check.readOutcomes(ctx, r.js, r.side, r.fromSequence, outcomePatience+r.w.doubtTime()); err != nil {
		return err
	}
	counts, err := r.api.counts(ctx)
	if err != nil {
		return err
	}
	if err := r.api.eachReference(ctx, check.addEffect); err != nil {
		return err
	}
	res.Calls = counts.allCalls() - r.before.allCalls()
	res.Verdict = check.verdict()
	if r.w.kind == kindJobs && !r.w.faults && counts.BatchKeys != counts.Distinct {
		res.Verdict.Foreign++ // two jobs of one key, or one key for two
	}
	res.Seconds = check.last.Sub(check.first).Seconds()
	if res.Seconds > 0 {
		res.Rate = float64(check.answered) / res.Seconds
	}
	if !check.afterMark.IsZero() {
		res.Recovery = check.afterMark.Sub(r.restarted).Seconds()
	}
	return r.account(ctx, res)
}

// account stops the side and reads what it took.
func (r *run) account(ctx context.Context, res *result) error {
	for _, p := range r.ran {
		if err := p.stop(ctx); err != nil {
			return err
		}
		res.WorkerCPU += p.cpu().Seconds()
		res.PeakMiB = max(res.PeakMiB, mebibytes(p.peak))
	}
	if err := r.api.stop(ctx); err != nil {
		return err
	}
	res.APICPU = r.api.cpu().Seconds()
	return nil
}

// end stops whatever still runs.
func (r *run) end(ctx context.Context) error {
	for _, p := range r.ran {
		p.kill()
	}
	if r.api != nil {
		r.api.kill()
	}
	if r.server != nil && r.server.process != nil {
		return r.server.stop(ctx)
	}
	return nil
}
