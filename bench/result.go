package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
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

	// StoreMiB is what the outcomes' stream takes on disk; of waybill, the whole
	// ledger.
	StoreMiB float64 `json:"storeMiB"`

	Calls   uint64  `json:"apiCalls"`
	Verdict verdict `json:"verdict"`

	// Beside are the calls for each other tenant, logins included; Calls has
	// none of them.
	Beside map[string]uint64 `json:"besideCalls,omitempty"`
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

// String is the result in a line.
func (r result) String() string {
	line := fmt.Sprintf("%s %s: %d requests in %.2f s: %.0f/s; worker CPU %.2f s (%.2f per 100,000), peak %.0f MiB; server CPU %.2f s, %.0f MiB; Orchestrator CPU %.2f s, %.2f calls per 1,000; %s",
		r.Workload, r.Side, r.Count, r.Seconds, r.Rate, r.WorkerCPU, r.cpuPer(100_000), r.PeakMiB, r.ServerCPU, r.ServerMiB, r.APICPU, r.callsPer(1_000), r.Verdict)
	if len(r.Beside) > 0 {
		var calls []string
		for _, tenant := range slices.Sorted(maps.Keys(r.Beside)) {
			calls = append(calls, fmt.Sprintf("%d for %s", r.Beside[tenant], tenant))
		}
		line += "; beside them calls: " + strings.Join(calls, ", ")
	}
	if r.Latency != nil {
		line += fmt.Sprintf("; latency p50 %.1f, p95 %.1f, p99 %.1f ms", r.Latency.P50, r.Latency.P95, r.Latency.P99)
	}
	if r.Ready > 0 {
		line += fmt.Sprintf("; ready after %.2f s", r.Ready)
	}
	if r.Recovery > 0 {
		line += fmt.Sprintf("; %.1f s from restart to outcome", r.Recovery)
	}
	return line
}
