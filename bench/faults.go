package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The times of the faults workload: what is in doubt is looked for again when
// its claim's time and the settle time are over, so these say how long a run
// takes. They are shorter than the defaults in the same proportion.
const (
	faultsCallTimeout = 2 * time.Second
	faultsHold        = 6 * time.Second
	faultsSettle      = 3 * time.Second
	faultsRate        = 0.02
)

// workerLimits are the lines of the worker's configuration that a workload
// needs beyond the others.
func (w workload) workerLimits() string {
	switch {
	case len(w.beside) > 0: // nobody waits for what the slow ones are asked
		return "  drain: 1s\n"
	case !w.faults:
		return ""
	}
	return fmt.Sprintf("  callTimeout: %s\n  hold: %s\n  settle: %s\n", faultsCallTimeout, faultsHold, faultsSettle)
}

// doubtTime is how much longer an outcome may take than the effect.
func (w workload) doubtTime() time.Duration {
	if !w.faults {
		return 0
	}
	return 2 * (faultsHold + faultsSettle)
}

// startSimulator starts the simulated Orchestrator, of which a share of calls
// goes wrong: cut off after the effect, throttled, or answered with 500.
func (b *bench) startSimulator(ctx context.Context, dir string, w workload) (*api, error) {
	var queues []string
	for lane := range w.lanes {
		queues = append(queues, laneName(kindItems, lane))
	}
	a, err := b.startAPI(ctx, dir, true, func(address string) []string {
		return []string{
			b.worker, "simulator", "--listen", address, "--simulated-folder", folderName,
			"--simulated-queue", strings.Join(queues, ","), "--list-reads", strconv.Itoa(-1),
			"--seed", strconv.Itoa(w.seed),
		}
	})
	if err != nil {
		return nil, err
	}
	faults, err := json.Marshal(map[string]any{
		"rate": faultsRate, "kinds": []string{"CutAfter", "Throttle", "ErrorBefore", "ErrorAfter"}, "latency": w.latency.String(),
	})
	if err != nil {
		return nil, fmt.Errorf("set the faults: %w", err)
	}
	answer, err := a.do(ctx, http.MethodPut, "/simulator/faults", faults)
	if err != nil {
		return nil, err
	}
	return a, answer.Close() //nolint:wrapcheck // nothing was read
}

// strike kills the worker when half of the effects are there, and starts it
// again at once.
func (r *run) strike(ctx context.Context) error {
	const often = 5 * time.Millisecond // all is done within a second
	err := poll(ctx, often, func() (bool, error) {
		counts, err := r.api.counts(ctx)
		return 2*counts.Effects >= uint64(r.w.count), err //nolint:gosec // G115: a number of requests
	})
	if err != nil {
		return fmt.Errorf("wait for half of the effects: %w", err)
	}
	victim := r.ran[len(r.ran)-1]
	victim.sample()
	victim.kill()
	r.restarted = time.Now()
	if err := r.startWorker(ctx); err != nil {
		return err
	}
	return r.awaitReady(ctx)
}
