package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

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
	if err := settle(ctx); err != nil {
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
		r.api, err = r.startStub(ctx, r.dir, r.w)
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
	if err := r.publishBeside(ctx); err != nil {
		return err
	}
	if r.w.pace == 0 {
		if err := publishRequests(ctx, r.server, r.w, tenantName, r.w.ledger); err != nil {
			return err
		}
	}
	if r.w.always {
		return r.server.restart(ctx, true)
	}
	return nil
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

// effectsTimeout is how long so many effects may take, before they are counted
// as they are: at 1,000 a second something is wrong.
func effectsTimeout(want int) time.Duration {
	return 4*time.Minute + time.Duration(want)*time.Millisecond
}

// awaitEffects waits until so many References have had their effect. That
// some never have it is for the verdict to say.
func (r *run) awaitEffects(ctx context.Context, want int) error {
	ctx, cancel := context.WithTimeoutCause(ctx, effectsTimeout(want), errTooLong)
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

func settle(ctx context.Context) error {
	select {
	case <-time.After(settleTime):
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the last outcomes: %w", context.Cause(ctx))
	}
}

// conclude reads what came of the requests, and what it took.
func (r *run) conclude(ctx context.Context, res *result) error {
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
	res.Beside = counts.Beside
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
	stream, _ := outcomesOf(r.side)
	stored, err := r.js.Stream(ctx, stream)
	if err != nil {
		return fmt.Errorf("measure the store: %w", err)
	}
	res.StoreMiB = float64(stored.CachedInfo().State.Bytes) / (1 << 20)
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
