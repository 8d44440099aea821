package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
)

// asBench has the test binary be the program: the roles are started from it.
const asBench = "BENCH_TEST_RUN_MAIN"

// programs are built once for all tests.
var programs programFlags

func TestMain(m *testing.M) {
	if os.Getenv(asBench) != "" {
		main()
		return
	}
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	b, err := programFlags{}.prepare(ctx, slog.New(slog.DiscardHandler))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer b.close()
	programs = programFlags{worker: b.worker, natsServer: b.natsServer}
	if err := os.Setenv(asBench, "yes"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// runBench runs a command of the program, with programs that are built.
func runBench(t *testing.T, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	root := newRoot(slog.New(slog.NewTextHandler(t.Output(), nil)))
	root.SetOut(&out)
	root.SetArgs(append(args, "--worker", programs.worker, "--nats-server", programs.natsServer, "--dir", t.TempDir()))
	if err := root.ExecuteContext(t.Context()); err != nil {
		t.Fatalf("bench %s: %v\n%s", strings.Join(args, " "), err, out.String())
	}
	return out.String()
}

// smallScale makes a workload small: some hundred requests.
var smallScale = map[string]string{
	"items": "0.01", "items-always": "0.005", "items-20ms": "0.05", "jobs-20ms": "0.05", "faults": "0.5",
	"latency": "0.05", "tenants": "0.01", "queues": "0.002", "memory": "0.001",
}

// TestWorkloads runs every workload on each of its sides. They take turns:
// beside each other they would only measure each other.
func TestWorkloads(t *testing.T) {
	t.Parallel()
	for _, w := range workloads() { //nolint:paralleltest // see above
		scale := smallScale[w.name]
		if scale == "" {
			scale = "0.01"
		}
		t.Run(w.name, func(t *testing.T) {
			var all results
			out := runBench(t, "table", "--json", "--rounds", "1", "--only", w.name, "--scale", scale)
			if err := json.Unmarshal([]byte(out), &all); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			if len(all) != len(w.sides) {
				t.Fatalf("%d results of %d sides", len(all), len(w.sides))
			}
			for _, r := range all {
				checkResult(t, w, r)
			}
		})
	}
}

func checkResult(t *testing.T, w workload, r result) {
	t.Helper()
	if !r.Verdict.good() {
		t.Errorf("%s: %s", r.Side, r.Verdict)
	}
	if r.Count < 1 || r.Seconds <= 0 || r.Seconds > 60 || r.Rate <= 0 {
		t.Errorf("%s: %d requests in %v s, %v a second", r.Side, r.Count, r.Seconds, r.Rate)
	}
	if r.WorkerCPU <= 0 || r.WorkerCPU > 30 || r.Calls == 0 {
		t.Errorf("%s: %v s of CPU, %d calls", r.Side, r.WorkerCPU, r.Calls)
	}
	if _, err := os.Stat("/proc/self/status"); err == nil && (r.PeakMiB < 1 || r.PeakMiB > 500 || r.ServerMiB < 1) {
		t.Errorf("%s: peak %v MiB, server %v MiB", r.Side, r.PeakMiB, r.ServerMiB)
	}
	if w.pace > 0 && (r.Latency == nil || r.Latency.P50 <= 0 || r.Latency.P99 < r.Latency.P50) {
		t.Errorf("%s: latency %+v", r.Side, r.Latency)
	}
	for _, n := range w.beside {
		if r.Beside[n.tenant] == 0 {
			t.Errorf("%s: nothing was called for %s", r.Side, n.tenant)
		}
	}
	if w.faults && r.Recovery <= 0 {
		t.Errorf("%s: no outcome after the restart", r.Side)
	}
}

// TestGrowth runs the tables of growth with next to nothing in them.
func TestGrowth(t *testing.T) {
	t.Parallel()
	out := runBench(t, "growth", "--scale", "0.0005", "--only", "ledger,processes")
	rows := strings.Count(out, "\n| ")
	if rows != 4+3+1 || !strings.Contains(out, "| 500 | ") {
		t.Errorf("tables:\n%s", out)
	}
}

// TestRun prints one workload on one side.
func TestRun(t *testing.T) {
	t.Parallel()
	out := runBench(t, "run", "items", "--side", "bare", "--scale", "0.002", "--body", "300")
	if !strings.HasPrefix(out, "items bare: 200 requests in ") || !strings.Contains(out, "0 duplicates, 0 lost, 0 missing") {
		t.Errorf("run says %s", out)
	}
}

func TestUnknownNames(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"run", "nothing"},
		{"run", "items", "--side", "nobody"},
		{"table", "--only", "nothing"},
	} {
		root := newRoot(slog.New(slog.DiscardHandler))
		root.SetArgs(args)
		root.SetOut(t.Output())
		root.SetErr(t.Output())
		if err := root.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), "no") {
			t.Errorf("bench %s: %v", strings.Join(args, " "), err)
		}
	}
}
