package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"waybill/cmd/internal/cli"
	"waybill/cmd/internal/proving"
	"waybill/pipeline"
	"waybill/pipeline/history"
)

// A larger run than CI's:
//
//	go test ./cmd/worker -run TestChaos -v -count=1 -timeout 30m -artifacts -args -items=10000 -jobs=500 -kills=60 -seed=7
var (
	chaosItems  = flag.Int("items", 1000, "TestChaos: queue items, half of them in a queue with unique references")
	chaosJobs   = flag.Int("jobs", 100, "TestChaos: jobs")
	chaosKills  = flag.Int("kills", 10, "TestChaos: kill -9 of a worker, about one a second")
	chaosBulk   = flag.Int("bulk", 50, "TestChaos: items in one bulk call, at most")
	chaosFaults = flag.Float64("faults", 0.02, "TestChaos: share of Orchestrator's write calls that go wrong")
	chaosSeed   = flag.Int64("seed", 0, "TestChaos: of everything random; 0 takes the time")
)

// The promise under everything at once: two workers that are killed and
// started again all the time, duplicates among the requests, an Orchestrator
// that is slow and fails in all its ways.
func TestChaos(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("kills workers for ten seconds and more")
	}
	c := newChaos(t)
	begun := time.Now()
	c.start()
	c.strikeWhilePublishing()
	c.awaitAll()
	report := c.report()
	t.Logf("seed: %d, requests: %d, published: %d, kills: %d, %s, unknown: %d, statuses: %v, decided by: %v, attempts: %v, calls: %v, seconds: %.1f",
		c.seed, report.Requests, c.published, c.kills, report, report.Unknown, report.Statuses, c.decidedBy(), c.attempts(), c.callCounts(), time.Since(begun).Seconds())
	for i, v := range append(report.Violations, c.notAccepted()...) {
		t.Errorf("%s: %s", v.Key, v.What)
		if i < 10 {
			t.Log(c.evidence(v.Key))
		}
	}
	if t.Failed() {
		t.Logf("seed %d; the processes' logs are in %s (kept with -artifacts)", c.seed, c.Logs)
	}
}

// chaosTimes are short, so that what a killed worker leaves behind is taken on
// within seconds, and long enough for a loaded machine: the time that is left
// after a call's own covers the latency, a late effect, and waiting for a CPU.
var chaosTimes = []string{"--ack-wait", "1s", "--call-timeout", "2s", "--hold", "6s", "--settle", "3s"}

const (
	chaosLatency = 20 * time.Millisecond
	chaosJitter  = 100 * time.Millisecond
	// chaosDuplicates is the share of requests that are published a second
	// time, up to chaosRepeat later.
	chaosDuplicates = 0.05
	chaosRepeat     = 5 * time.Second
	// chaosTick is how often some of the requests are published.
	chaosTick = 50 * time.Millisecond
)

// chaos is an installation under attack.
type chaos struct {
	*proving.Installation
	t         *testing.T
	seed      int64
	random    *rand.Rand
	env       []string
	plan      []planned // by their time
	published int
	kills     int
}

// planned is one message that is to be published.
type planned struct {
	at   time.Duration // since the begin
	lane pipeline.Lane
	key  string
}

func newChaos(t *testing.T) *chaos {
	t.Helper()
	in := setUp(t)
	seed := cmp.Or(*chaosSeed, time.Now().UnixNano())
	c := &chaos{Installation: in, t: t, seed: seed, random: rand.New(rand.NewPCG(uint64(seed), 0))}
	c.makePlan()
	return c
}

// makePlan spreads the requests, with some twice, over the time in which
// workers are killed.
func (c *chaos) makePlan() {
	span := time.Duration(*chaosKills) * time.Second
	add := func(lane pipeline.Lane, n int) {
		for i := range n {
			p := planned{at: time.Duration(c.random.Int64N(int64(span))), lane: lane, key: fmt.Sprintf("K-%06d", i)}
			c.Requested = append(c.Requested, history.Key{Lane: lane, Key: p.key})
			c.plan = append(c.plan, p)
			if c.random.Float64() < chaosDuplicates {
				p.at += time.Duration(c.random.Int64N(int64(chaosRepeat)))
				c.plan = append(c.plan, p)
			}
		}
	}
	add(proving.UniqueQueue, *chaosItems/2)
	add(proving.PlainQueue, *chaosItems-*chaosItems/2)
	add(proving.PayInvoices, *chaosJobs)
	slices.SortFunc(c.plan, func(a, b planned) int { return cmp.Compare(a.at, b.at) })
}

func (c *chaos) start() {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), proving.Patience)
	defer cancel()
	c.env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + c.Logs, "GORACE=" + os.Getenv("GORACE"), "UIPATH_CLIENT_ID=id", "UIPATH_CLIENT_SECRET=secret", "UIPATH_FOLDER_PATH=Shared"}
	c.check(c.StartNATS(ctx, c.env))
	c.check(c.StartOrchestrator(ctx, c.env, "--seed", strconv.FormatInt(c.seed, 10)))
	c.check(c.Ask(ctx, http.MethodPut, "/faults", map[string]any{
		"rate": *chaosFaults, "latency": chaosLatency.String(), "latencyJitter": chaosJitter.String(),
	}, nil))
	c.env = append(c.env, "NATS_URL="+c.NATSURL, "UIPATH_URL="+c.OrchestratorURL(cli.DefaultTenant))
	for _, name := range workerNames {
		c.startWorker(name)
	}
	for _, name := range workerNames {
		_, err := c.Processes[name].Says(ctx, "worker ready")
		c.check(err)
	}
	c.check(c.Collect(ctx))
}

var workerNames = []string{"one", "two"}

func (c *chaos) startWorker(name string) {
	c.t.Helper()
	_, err := c.Run(name, c.env, slices.Concat([]string{"run", "--bulk-items", strconv.Itoa(*chaosBulk)}, chaosTimes)...)
	c.check(err)
}

func (c *chaos) check(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatalf("seed %d: %v", c.seed, err)
	}
}

// strikeWhilePublishing publishes all requests by their plan, and kills a
// worker about once a second, to start it again at once.
func (c *chaos) strikeWhilePublishing() {
	c.t.Helper()
	begun := time.Now()
	tick := time.NewTicker(chaosTick)
	defer tick.Stop()
	strike := c.untilStrike()
	for len(c.plan) > 0 || c.kills < *chaosKills {
		select {
		case <-tick.C:
			c.publishUntil(time.Since(begun))
		case <-strike:
			name := workerNames[c.random.IntN(len(workerNames))]
			c.Processes[name].Kill()
			c.startWorker(name)
			c.kills++
			strike = c.untilStrike()
		}
	}
}

// untilStrike is the time to the next kill; after the last there is none.
func (c *chaos) untilStrike() <-chan time.Time {
	if c.kills == *chaosKills {
		return nil
	}
	return time.After(time.Second/2 + time.Duration(c.random.Int64N(int64(time.Second))))
}

// publishUntil publishes what is due, without Nats-Msg-Id: no duplicate is to
// be dropped by the stream.
func (c *chaos) publishUntil(now time.Duration) {
	c.t.Helper()
	due := 0
	for due < len(c.plan) && c.plan[due].at <= now {
		due++
	}
	acks := make([]jetstream.PubAckFuture, due)
	for i, p := range c.plan[:due] {
		msg := nats.NewMsg(pipeline.Topology{}.RequestSubject(p.lane))
		msg.Data = c.encode(proving.NewRequest(p.lane, p.key))
		var err error
		acks[i], err = c.JS.PublishMsgAsync(msg)
		c.check(err)
	}
	for _, ack := range acks {
		select {
		case <-ack.Ok():
		case err := <-ack.Err():
			c.check(err)
		}
	}
	c.plan = c.plan[due:]
	c.published += due
}

func (c *chaos) encode(r pipeline.Request) []byte {
	c.t.Helper()
	body, err := json.Marshal(r)
	c.check(err)
	return body
}

// awaitAll waits for all outcomes, as long as more of them keep coming.
func (c *chaos) awaitAll() {
	c.t.Helper()
	for before := len(c.Requested) + 1; ; {
		ctx, cancel := context.WithTimeout(c.t.Context(), proving.Patience)
		err := c.Await(ctx, pipeline.StageFinal)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			c.check(err)
			return
		}
		missing, _, _ := c.Collector.Without(pipeline.StageFinal, c.Requested)
		if len(missing) == before {
			c.t.Errorf("seed %d: nothing comes any more: %v", c.seed, err)
			return // the report says what is lost
		}
		before = len(missing)
	}
}

func (c *chaos) report() history.Report {
	c.t.Helper()
	report, err := c.Judge(c.t.Context())
	c.check(err)
	return report
}

// notAccepted finds what was turned down. Every request can work, so none may
// suffer for what befell the workers and Orchestrator.
func (c *chaos) notAccepted() []history.Violation {
	var turnedDown []history.Violation
	for _, o := range c.Collector.All() {
		if o.Status != pipeline.StatusAccepted && o.Status != pipeline.StatusUnknown {
			turnedDown = append(turnedDown, history.Violation{
				Key:  history.Key{Lane: o.Lane(), Key: o.Key},
				What: fmt.Sprintf("%s after %d attempts, though nothing is wrong with it: %s", o.Status, o.Attempts, o.Error.Message),
			})
		}
	}
	return turnedDown
}

func (c *chaos) decidedBy() map[pipeline.DecidedBy]int {
	return count(c.Collector.All(), func(o pipeline.Outcome) pipeline.DecidedBy { return o.DecidedBy })
}

func (c *chaos) attempts() map[int]int {
	return count(c.Collector.All(), func(o pipeline.Outcome) int { return o.Attempts })
}

func count[K comparable](outcomes []pipeline.Outcome, by func(pipeline.Outcome) K) map[K]int {
	counts := make(map[K]int)
	for _, o := range outcomes {
		counts[by(o)]++
	}
	return counts
}

func (c *chaos) callCounts() map[string]int {
	c.t.Helper()
	counts := make(map[string]int)
	c.check(c.Ask(c.t.Context(), http.MethodGet, "/calls", nil, &counts))
	return counts
}

// evidence is what can be known afterwards of one key.
func (c *chaos) evidence(key history.Key) string {
	c.t.Helper()
	var b strings.Builder
	effects, err := c.Effects(c.t.Context())
	c.check(err)
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
	ledger, err := c.JS.Stream(c.t.Context(), pipeline.Topology{}.LedgerStream())
	c.check(err)
	claim := strings.Replace(pipeline.Topology{}.OutcomeSubject(key.Lane, key.Key, ""), ".outcomes.", ".claims.", 1)
	if msg, err := ledger.GetLastMsgForSubject(c.t.Context(), strings.TrimSuffix(claim, ".")); err == nil {
		fmt.Fprintf(&b, "claim %d stored at %s: %s\n", msg.Sequence, msg.Time.Format(time.RFC3339Nano), msg.Data)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Processes)) {
		text, err := os.ReadFile(filepath.Clean(c.LogOf(name)))
		c.check(err)
		for line := range strings.Lines(string(text)) {
			if strings.Contains(line, key.Key) {
				fmt.Fprintf(&b, "%s: %s", name, line)
			}
		}
	}
	return b.String()
}
