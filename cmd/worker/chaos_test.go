package main

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"waybill/cmd/internal/proving"
	"waybill/pipeline"
	"waybill/pipeline/history"
)

// A larger run than CI's:
//
//	go test ./cmd/worker -run TestChaos -v -count=1 -timeout 30m -artifacts -args -for=2m -rate=100 -nodes=3 -seed=7
var (
	chaosFor    = flag.Duration("for", 10*time.Second, "TestChaos: how long to publish and to strike")
	chaosRate   = flag.Int("rate", 50, "TestChaos: requests a second")
	chaosBulk   = flag.Int("bulk", 50, "TestChaos: items in one bulk call, at most")
	chaosFaults = flag.Float64("faults", 0.02, "TestChaos: share of Orchestrator's write calls that go wrong")
	chaosNodes  = flag.Int("nodes", 1, "TestChaos: NATS servers, 1 or 3")
	chaosSync   = flag.String("sync", "always", "TestChaos: when NATS writes to disk, always or default")
	chaosSeed   = flag.Int64("seed", 0, "TestChaos: of everything random; 0 takes the time")
)

// The promise under everything at once, as worker prove tries it.
func TestChaos(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("kills and freezes processes for half a minute and more")
	}
	c := proving.Chaos{
		Installation: setUp(t), Seed: cmp.Or(*chaosSeed, time.Now().UnixNano()%1_000_000), For: *chaosFor, Rate: *chaosRate,
		Bulk: *chaosBulk, Faults: *chaosFaults, Progress: func(line string) { t.Log(line) },
	}
	c.Nodes, c.SyncDefault = *chaosNodes, *chaosSync == "default"
	result, err := c.Run(t.Context())
	if err != nil {
		t.Fatalf("seed %d: %v", c.Seed, err)
	}
	var b strings.Builder
	if err := printResult(&b, "table", result); err != nil {
		t.Error(err)
	}
	t.Log("\n" + b.String())
	for i, v := range append(result.Report.Violations, result.TurnedDown...) {
		t.Errorf("seed %d: %s: %s", c.Seed, v.Key, v.What)
		if i < 10 {
			t.Log(evidence(t, &c, v.Key))
		}
	}
	if !result.Held() {
		t.Errorf("seed %d: %s", c.Seed, result.Verdict())
	}
	if len(result.Strikes) == 0 {
		t.Errorf("seed %d: nothing was struck", c.Seed)
	}
}

// evidence is what can be known afterwards of one key.
func evidence(t *testing.T, c *proving.Chaos, key history.Key) string {
	t.Helper()
	var b strings.Builder
	effects, err := c.Effects(t.Context())
	fmt.Fprintf(&b, "%s %v\n", key, err)
	for _, e := range effects {
		if e.Key == key {
			fmt.Fprintf(&b, "effect %+v\n", e)
		}
	}
	for _, o := range c.Collector.All() {
		if o.Lane() == key.Lane && o.Key == key.Key {
			fmt.Fprintf(&b, "outcome %+v\n", o)
		}
	}
	ledger, err := c.JS.Stream(t.Context(), pipeline.Topology{}.LedgerStream())
	if err != nil {
		return b.String() + err.Error()
	}
	claim := strings.Replace(pipeline.Topology{}.OutcomeSubject(key.Lane, key.Key, ""), ".outcomes.", ".claims.", 1)
	if msg, err := ledger.GetLastMsgForSubject(t.Context(), strings.TrimSuffix(claim, ".")); err == nil {
		fmt.Fprintf(&b, "claim %d stored at %s: %s\n", msg.Sequence, msg.Time.Format(time.RFC3339Nano), msg.Data)
	}
	logs, _ := filepath.Glob(filepath.Join(c.Logs, "*.log")) // the pattern is good
	for _, name := range logs {
		text, err := os.ReadFile(filepath.Clean(name))
		if err != nil {
			fmt.Fprintln(&b, err)
		}
		for line := range strings.Lines(string(text)) {
			if strings.Contains(line, key.Key) {
				fmt.Fprintf(&b, "%s: %s", filepath.Base(name), line)
			}
		}
	}
	return b.String()
}
