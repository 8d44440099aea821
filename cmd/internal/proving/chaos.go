package proving

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"waybill/cmd/internal/cli"
	"waybill/pipeline"
	"waybill/pipeline/history"
)

// Chaos is a run of an installation under attack. Everything random in it
// follows from the seed; when a strike meets which request does not.
type Chaos struct {
	Seed     int64
	For      time.Duration // how long requests are published and strikes fall
	Rate     int           // requests a second
	Bulk     int           // items in one bulk call, at most
	Faults   float64       // share of Orchestrator's write calls that go wrong
	Progress func(string)  // is told what happens; nil for nobody

	*Installation
	plan       plan
	publishing *publishing
	begun      time.Time
	struck     strikeLog
	unsteady   []string // workers whose wall clock is set again and again

	startsMu sync.Mutex
	starts   map[string]int64 // of each worker
}

// Result is what a run has come to.
type Result struct {
	Seed      int64          `json:"seed"`
	Nodes     int            `json:"nodes"`
	Sync      string         `json:"sync"`      // always, or default
	Requests  int            `json:"requests"`  // keys asked for
	Published int            `json:"published"` // messages, with repeats
	Resent    int            `json:"resent"`    // of these, again and again until they were stored
	Dropped   int            `json:"dropped"`   // by the stream, as repeats within its duplicate window
	Conflicts int            `json:"conflicts"` // repeats with another payload
	Invalid   int            `json:"invalid"`   // messages that can never work
	Strikes   map[string]int `json:"strikes"`
	// UnsteadyClocks are the workers whose wall clock was set all the time.
	UnsteadyClocks []string       `json:"unsteadyClocks"`
	Report         history.Report `json:"report"`
	// TurnedDown are the keys whose outcome is neither success nor unknown,
	// though nothing is wrong with them.
	TurnedDown []history.Violation `json:"turnedDown"`
	Unknown    []history.Violation `json:"unknown"` // why, for each
	// Unsettled is why it is not known that each message has been settled;
	// empty if it is.
	Unsettled string `json:"unsettled,omitempty"`
	// During tells of the keys named in all these what struck between their
	// publishing and their outcome.
	During  map[string]string `json:"during"`
	Seconds float64           `json:"seconds"`
}

// Broken reports whether the promise was broken, or a request has suffered for
// what befell the processes.
func (r Result) Broken() bool { return !r.Report.Held() || len(r.TurnedDown) > 0 }

// Held reports whether the promise was kept, and everything has come to an end
// that is known: an unknown outcome breaks no promise, but here, where
// everything recovers, it proves none either.
func (r Result) Held() bool { return !r.Broken() && len(r.Unknown) == 0 && r.Unsettled == "" }

// Verdict says in words what the run has shown.
func (r Result) Verdict() string {
	switch {
	case r.Broken():
		return "THE PROMISE WAS BROKEN"
	case len(r.Unknown) > 0:
		return fmt.Sprintf("not proven: %d outcomes are unknown, though everything could be known here", len(r.Unknown))
	case r.Unsettled != "":
		return "not proven: " + r.Unsettled
	}
	return "the promise held"
}

// chaosTimes are short, so that what a killed worker leaves behind is taken on
// within seconds, and long enough for a loaded machine: the time that is left
// after a call's own covers the latency, a late effect, and waiting for a CPU.
var chaosTimes = []string{"--ack-wait", "1s", "--call-timeout", "2s", "--hold", "6s", "--settle", "3s"}

const (
	chaosLatency = 20 * time.Millisecond
	chaosJitter  = 100 * time.Millisecond
	// frozenFor is longer than a claim and its settle time.
	frozenFor = 10 * time.Second
	awayFor   = 10 * time.Second      // of Orchestrator
	slowed    = 30 * time.Millisecond // of each piece that passes a slow network
	// chaosTick is how often requests that are due are published.
	chaosTick = 50 * time.Millisecond
)

// Run starts everything, strikes for the time given, ends all strikes, waits
// as long as outcomes keep coming, and judges. An error means that the run
// itself could not be made.
func (c *Chaos) Run(ctx context.Context) (Result, error) {
	var err error
	if c.plan, err = newPlan(c.random("requests"), c.For, max(1, int(c.For.Seconds()*float64(c.Rate)))); err != nil {
		return Result{}, err
	}
	c.Requested = slices.Clone(c.plan.keys)
	c.unsteady = anyOf(c.random("clocks"), [][]string{workerNames[:1], workerNames[1:], workerNames})
	result := Result{
		Seed: c.Seed, Nodes: max(1, c.Nodes), Sync: c.syncMode(), Published: len(c.plan.messages) + c.plan.doubled,
		Conflicts: c.plan.conflicts, Invalid: c.plan.invalid, UnsteadyClocks: c.unsteady,
	}
	c.begun, c.starts = time.Now(), make(map[string]int64)
	net, err := c.start(ctx)
	defer net.close()
	if err != nil {
		return result, err
	}
	c.publishing = newPublishing(c.JS)
	striking, stop := context.WithTimeout(ctx, c.For)
	defer stop()
	var strikers sync.WaitGroup
	failed := make(chan error, len(workerNames)+3)
	for _, s := range c.strikers(net) {
		strikers.Go(func() { failed <- s.strike(striking, c) })
	}
	err = c.publishAll(ctx)
	strikers.Wait()
	close(failed)
	for e := range failed {
		err = errors.Join(err, e)
	}
	if err != nil {
		return result, err
	}
	c.tell("no more strikes: waiting for the outcomes that are missing")
	if err := c.calm(ctx, net); err != nil {
		return result, err
	}
	if result.Unsettled, err = c.settle(ctx); err != nil {
		return result, err
	}
	result.Strikes, result.Seconds = c.struck.counts(), time.Since(c.begun).Seconds()
	return c.conclude(ctx, result)
}

// syncMode is when the NATS servers write to disk.
func (c *Chaos) syncMode() string {
	if c.SyncDefault {
		return "default"
	}
	return "always"
}

// random is the source of everything random about one thing.
func (c *Chaos) random(what string) *rand.Rand {
	var second uint64
	for _, b := range []byte(what) {
		second = second*31 + uint64(b)
	}
	return rand.New(rand.NewPCG(uint64(c.Seed), second)) //nolint:gosec // G404, G115: repeatable on purpose
}

func (c *Chaos) tell(format string, args ...any) {
	if c.Progress != nil {
		c.Progress(fmt.Sprintf("%6.1f s  ", time.Since(c.begun).Seconds()) + fmt.Sprintf(format, args...))
	}
}

func (c *Chaos) env() []string {
	env := []string{"UIPATH_CLIENT_ID=id", "UIPATH_CLIENT_SECRET=secret", "UIPATH_FOLDER_PATH=Shared"}
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "GORACE"} {
		if value := os.Getenv(name); value != "" {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// networks are the ways of the workers to the servers, by worker.
type networks struct {
	nats         map[string][]*Proxy
	orchestrator map[string]*Proxy
}

func (n networks) close() {
	for _, proxies := range n.nats {
		for _, p := range proxies {
			p.Close()
		}
	}
	for _, p := range n.orchestrator {
		p.Close()
	}
}

var workerNames = []string{"one", "two"}

func (c *Chaos) start(ctx context.Context) (networks, error) {
	net := networks{nats: make(map[string][]*Proxy), orchestrator: make(map[string]*Proxy)}
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	if err := c.StartNATS(ctx, c.env()); err != nil {
		return net, err
	}
	if err := c.StartOrchestrator(ctx, c.env(), "--seed", strconv.FormatInt(c.Seed, 10), "--job-time", "300ms"); err != nil {
		return net, err
	}
	faults := map[string]any{"rate": c.Faults, "latency": chaosLatency.String(), "latencyJitter": chaosJitter.String()}
	if err := c.Ask(ctx, http.MethodPut, "/faults", faults, nil); err != nil {
		return net, err
	}
	for _, name := range workerNames {
		for _, n := range c.nodes {
			p, err := NewProxy(ctx, n.address())
			if err != nil {
				return net, err
			}
			net.nats[name] = append(net.nats[name], p)
		}
		p, err := NewProxy(ctx, strings.Split(c.Control, "/")[2])
		if err != nil {
			return net, err
		}
		net.orchestrator[name] = p
	}
	for _, name := range workerNames {
		p, err := c.startWorker(name, net)
		if err != nil {
			return net, err
		}
		if _, err := p.Says(ctx, "worker ready"); err != nil {
			return net, err
		}
	}
	return net, c.Collect(ctx)
}

func (c *Chaos) startWorker(name string, net networks) (*Process, error) {
	var urls []string
	for _, p := range net.nats[name] {
		urls = append(urls, "nats://"+p.Address())
	}
	env := append(c.env(), "NATS_URL="+strings.Join(urls, ","),
		"UIPATH_URL=http://"+net.orchestrator[name].Address()+"/demo/"+cli.DefaultTenant+"/orchestrator_")
	args := slices.Concat([]string{"run", "--bulk-items", strconv.Itoa(c.Bulk), "--replicas", strconv.Itoa(max(1, c.Nodes))}, chaosTimes)
	if slices.Contains(c.unsteady, name) {
		args = append(args, "--unsteady-clock", strconv.FormatInt(c.clockSeed(name), 10))
	}
	return c.Installation.Run(name, env, args...)
}

// clockSeed is another for each start of a worker, and never 0.
func (c *Chaos) clockSeed(name string) int64 {
	c.startsMu.Lock()
	defer c.startsMu.Unlock()
	c.starts[name]++
	return max(1, c.random("clock of "+name).Int64N(1<<40)+c.starts[name])
}

// publishAll publishes everything by its plan, and again what may not have
// been stored.
func (c *Chaos) publishAll(ctx context.Context) error {
	tick := time.NewTicker(chaosTick)
	defer tick.Stop()
	var again []planned
	for len(c.plan.messages) > 0 || len(again) > 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("publish: %w", context.Cause(ctx))
		}
		again = c.publishing.send(slices.Concat(again, c.plan.takeDue(time.Since(c.begun))))
	}
	return nil
}

// calm ends what still goes wrong by itself, and starts the workers that ended
// since there was no NATS when they started.
func (c *Chaos) calm(ctx context.Context, net networks) error {
	for _, name := range workerNames {
		if p, err := c.Process(name); err != nil || p.Running() {
			continue
		}
		if _, err := c.startWorker(name, net); err != nil {
			return err
		}
	}
	return c.Ask(ctx, http.MethodPut, "/faults", map[string]any{"rate": 0, "latency": chaosLatency.String()}, nil)
}

// settle waits for everything that is still to come, and says what has not. What
// was published without a key is known by its sequence, or by its dead letter
// where the answer was lost.
func (c *Chaos) settle(ctx context.Context) (unsettled string, err error) {
	c.awaitAll(ctx)
	answered, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	if err := c.awaitAnswered(answered); err != nil {
		unsettled = err.Error()
		c.tell("%s", unsettled)
	}
	letters, err := c.deadLetters(ctx)
	if err != nil {
		return unsettled, err
	}
	c.publishing.find(letters)
	c.Published = c.publishing.stored
	for _, r := range c.Published {
		if r.Invalid && strings.HasPrefix(r.Key.Key, madeUpKeyPrefix) {
			c.Requested = append(c.Requested, r.Key)
		}
	}
	c.awaitAll(ctx)
	return unsettled, context.Cause(ctx) //nolint:wrapcheck // it says which signal came
}

// awaitAll waits for the outcomes, as long as more of them keep coming.
func (c *Chaos) awaitAll(ctx context.Context) {
	for before := len(c.Requested) + 1; ; {
		waiting, cancel := context.WithTimeout(ctx, Patience)
		err := c.Await(waiting, pipeline.StageFinal)
		cancel()
		missing, _, _ := c.Collector.Without(pipeline.StageFinal, c.Requested)
		if err == nil || len(missing) == 0 || len(missing) == before || ctx.Err() != nil {
			return // the report says what is missing
		}
		before = len(missing)
		c.tell("%d outcomes are missing", before)
	}
}

func (c *Chaos) conclude(ctx context.Context, result Result) (Result, error) {
	var err error
	if result.Report, err = c.Judge(ctx); err != nil {
		return result, err
	}
	result.Requests, result.Resent, result.Dropped = result.Report.Requests, c.publishing.sent-result.Published, c.publishing.dropped
	broken := c.broken()
	for _, o := range c.Collector.All() {
		key := history.KeyOf(o)
		switch {
		case o.Status == pipeline.StatusAccepted || o.Status == pipeline.StatusSucceeded:
		case o.Status == pipeline.StatusUnknown:
			result.Unknown = append(result.Unknown, history.Violation{Key: key, What: whyUnknown(o)})
		case o.Status == pipeline.StatusRejected && o.DecidedBy == pipeline.ByValidation && broken[key]:
		default:
			result.TurnedDown = append(result.TurnedDown, history.Violation{Key: key, What: fmt.Sprintf("%s after %d attempts: %+v", o.Status, o.Attempts, o.Error)})
		}
	}
	result.During = make(map[string]string)
	for _, v := range slices.Concat(result.Report.Violations, result.TurnedDown, result.Unknown) {
		result.During[v.Key.String()] = c.during(v.Key)
	}
	return result, nil
}

func whyUnknown(o pipeline.Outcome) string {
	if o.Error == nil {
		return "the outcome does not say why"
	}
	return o.Error.Message
}

// broken gives the keys that can never work.
func (c *Chaos) broken() map[history.Key]bool {
	broken := make(map[history.Key]bool)
	for _, r := range c.Published {
		broken[r.Key] = r.Invalid
	}
	return broken
}

// during tells what struck between a key's publishing and its outcome.
func (c *Chaos) during(key history.Key) string {
	from, to := c.publishing.first[key], c.Collector.Arrived(key)
	if from.IsZero() {
		from = c.begun
	}
	if to.IsZero() {
		to = time.Now()
	}
	return fmt.Sprintf("published at %.1f s, told at %.1f s; meanwhile: %s", from.Sub(c.begun).Seconds(), to.Sub(c.begun).Seconds(), c.struck.between(c.begun, from, to))
}
