package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// Config says whom a worker works for and how patient it is. Durations and
// numbers that are zero get the defaults named.
type Config struct {
	// JetStream is the way to the streams.
	JetStream jetstream.JetStream
	Topology  Topology
	// Tenants are those this worker serves. Requests for others are left to
	// other workers.
	Tenants []Tenant
	// Worker names this process in claims and dead letters; host name and
	// process id if empty.
	Worker string
	// Provision is whether missing streams are made.
	Provision bool

	AckWait     time.Duration // 10 s: how soon a crashed worker's deliveries come back
	CallTimeout time.Duration // 30 s: the longest one call to Orchestrator may take
	Hold        time.Duration // 45 s: how long a claim is good for; at least CallTimeout + 5 s
	Settle      time.Duration // 30 s: how long after that Orchestrator may still apply what it was sent
	Patience    time.Duration // 15 min: of look-ups that were answered but could not tell
	MaxAttempts int           // 5: calls for one key without a clear answer or any effect, while others got through
	Linger      time.Duration // 5 ms: how long a batch waits to fill up
	BulkItems   int           // 500: items in one bulk call
	BulkBytes   int           // 4 MiB
	MaxHeld     int           // 10,000: deliveries in hand at once, for each tenant, beside one for each lane that waits for its turn
	Drain       time.Duration // 25 s: how long what has begun may take after the worker is told to stop

	Logger *slog.Logger // nil discards
	// Wall tells what the wall clock shows; time.Now if nil. It is for tests,
	// which set it.
	Wall func() time.Time
	// Reached, where it is set, is told of each Point that a request comes by:
	// it is the index-th of so many deliveries that are there together. It is
	// for tests, which end the process there.
	Reached func(p Point, index, of int)
}

func (c Config) withDefaults() Config {
	c.Topology = c.Topology.withDefaults()
	c.AckWait = cmp.Or(c.AckWait, 10*time.Second)
	c.CallTimeout = cmp.Or(c.CallTimeout, 30*time.Second)
	c.Hold = cmp.Or(c.Hold, 45*time.Second)
	c.Settle = cmp.Or(c.Settle, 30*time.Second)
	c.Patience = cmp.Or(c.Patience, 15*time.Minute)
	c.MaxAttempts = cmp.Or(c.MaxAttempts, 5)
	c.Linger = cmp.Or(c.Linger, 5*time.Millisecond)
	c.BulkItems = cmp.Or(c.BulkItems, 500)
	c.BulkBytes = cmp.Or(c.BulkBytes, 4<<20)
	c.MaxHeld = cmp.Or(c.MaxHeld, 10_000)
	c.Drain = cmp.Or(c.Drain, 25*time.Second)
	if c.Worker == "" {
		host, _ := os.Hostname()
		c.Worker = host + "-" + strconv.Itoa(os.Getpid()) + "-" + nuid.Next()[:6]
	}
	if c.Wall == nil {
		c.Wall = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func (c Config) validate() error {
	faults := []error{c.Topology.Validate()}
	if c.JetStream == nil {
		faults = append(faults, errors.New("config: JetStream is missing"))
	}
	if len(c.Tenants) == 0 {
		faults = append(faults, errors.New("config: no tenant to serve"))
	}
	names := make(map[string]bool)
	for _, t := range c.Tenants {
		faults = append(faults, validateName("tenant", t.Name))
		if names[t.Name] {
			faults = append(faults, fmt.Errorf("config: tenant %s is given twice; give each a name of its own", t.Name))
		}
		names[t.Name] = true
		if t.Client == nil {
			faults = append(faults, fmt.Errorf("config: tenant %s has no client", t.Name))
		}
	}
	for _, t := range []struct {
		name         string
		value, least time.Duration
	}{
		{"ack wait", c.AckWait, 500 * time.Millisecond},
		{"call timeout", c.CallTimeout, 100 * time.Millisecond},
		{"settle", c.Settle, 100 * time.Millisecond},
		{"patience", c.Patience, time.Second},
		{"linger", c.Linger, time.Millisecond},
		{"drain", c.Drain, time.Millisecond},
	} {
		if t.value < t.least {
			faults = append(faults, fmt.Errorf("config: %s %s: use %s or more", t.name, t.value, t.least))
		}
	}
	if c.MaxAttempts < 1 || c.BulkBytes < 1 || c.MaxHeld < 1 {
		faults = append(faults, fmt.Errorf("config: max attempts %d, bulk bytes %d, max held %d: use 1 or more", c.MaxAttempts, c.BulkBytes, c.MaxHeld))
	}
	if c.Hold < c.CallTimeout+callMargin+time.Second {
		faults = append(faults, fmt.Errorf("config: hold %s: it must exceed the call timeout %s by 3 s or more, or no call could ever be started", c.Hold, c.CallTimeout))
	}
	if c.BulkItems < 1 || c.BulkItems > c.MaxHeld {
		faults = append(faults, fmt.Errorf("config: bulk items %d: use 1 to %d (max held)", c.BulkItems, c.MaxHeld))
	}
	return errors.Join(faults...)
}

// Worker carries requests out. Any number of them, in any number of processes,
// may share the streams.
type Worker struct {
	cfg     Config
	log     *slog.Logger
	js      jetstream.JetStream
	ledger  *ledger
	clock   *serverClock
	control control
	tenants map[string]*tenant
	held    *held
	stats   *stats
	reach   reach
	paused  sync.Map // until when, by subject: the pauses that were told
}

// New checks a configuration, without touching the network.
func New(cfg Config) (*Worker, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	log := cfg.Logger.With("worker", cfg.Worker)
	clock := &serverClock{}
	ledger := newLedger(cfg.JetStream, cfg.Topology, clock)
	ledger.reach = cfg.Reached
	return &Worker{
		cfg:     cfg,
		log:     log,
		js:      cfg.JetStream,
		ledger:  ledger,
		clock:   clock,
		tenants: make(map[string]*tenant, len(cfg.Tenants)),
		held:    newHeld(log),
		stats:   &stats{},
		reach:   cfg.Reached,
	}, nil
}

// errDraining is why what had begun is broken off at the end of the drain
// time.
var errDraining = errors.New("the worker is stopping and its drain time is over")

// ErrDrainTimeout is returned by Run when work was broken off at the end of
// the drain time. Nothing is lost by it: other workers finish.
var ErrDrainTimeout = errors.New("drain time ran out before everything in hand was settled")

// Run serves requests until ctx ends, then stops pulling, finishes what is in
// hand within the drain time, and returns nil, or ErrDrainTimeout. Every
// goroutine it started has ended when it returns. It ends in the same way, with a
// GoneError, where one of the streams is not there any more. Any other error means
// that the worker could not start: streams that contradict, a server that
// cannot do what the ledger needs, no tenant whose login is accepted and whose
// default folder is there.
func (w *Worker) Run(ctx context.Context) error {
	if err := w.prepare(ctx); err != nil {
		return err
	}
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	var wg sync.WaitGroup
	checking, stopChecking := context.WithCancel(ctx)
	defer wg.Wait()
	defer stopChecking()
	if err := w.checkTenants(checking, &wg); err != nil {
		return err
	}
	work, stopWork := context.WithCancelCause(context.WithoutCancel(ctx))
	background, stopBackground := context.WithCancel(work)
	wg.Go(func() { w.limitDrain(ctx, work, stopWork) })
	wg.Go(func() { w.held.beat(background, w.cfg.AckWait) })
	wg.Go(func() { w.trim(ctx) })
	wg.Go(func() { w.watchStreams(ctx, end) })
	for _, t := range w.tenants {
		wg.Go(func() { w.keepFollowing(background, t) })
		wg.Go(func() { w.followToTheEnd(ctx, background, t) })
		wg.Go(func() { w.sweepTenant(ctx, background, t) })
	}
	w.log.Info("worker ready", "requests", w.cfg.Topology.RequestsStream(), "atomic_batches", w.ledger.batchFrom > 0)
	w.stats.ready.Store(true)

	w.serveLanes(ctx, work)

	w.stats.ready.Store(false)
	cause := context.Cause(work)
	stopChecking()
	stopBackground()
	stopWork(nil)
	wg.Wait()
	if _, gone := errors.AsType[*GoneError](context.Cause(ctx)); gone {
		return context.Cause(ctx) //nolint:wrapcheck // it says what is gone, and what to do
	}
	if errors.Is(cause, errDraining) {
		return ErrDrainTimeout
	}
	return nil
}

// limitDrain breaks off what is still under way when the drain time after the
// end of ctx is over.
func (w *Worker) limitDrain(ctx, work context.Context, stopWork context.CancelCauseFunc) {
	select {
	case <-ctx.Done():
	case <-work.Done():
	}
	if ctx.Err() == nil {
		return // it ends by itself
	}
	w.stats.ready.Store(false)
	w.reach.all(PointDraining, 1)
	w.log.Info("stopping: finishing what has begun", "reason", context.Cause(ctx), "at_most", w.cfg.Drain)
	if sleep(work, w.cfg.Drain) == nil {
		stopWork(errDraining)
	}
}

// prepare makes sure that everything the promise rests on is there.
func (w *Worker) prepare(ctx context.Context) error {
	check := CheckTopology
	if w.cfg.Provision {
		check = Provision
	}
	if err := check(ctx, w.js, w.cfg.Topology); err != nil {
		return err
	}
	w.mentionReplicas(ctx)
	if err := w.observeClock(ctx); err != nil {
		return err
	}
	if err := w.ledger.probe(ctx); err != nil {
		return err
	}
	var err error
	if w.control, err = openControl(ctx, w.js, w.cfg.Topology); err != nil {
		return err
	}
	for _, cfg := range w.cfg.Tenants {
		w.tenants[cfg.Name] = newTenant(cfg, w.cfg.MaxHeld, w.log, w.control, w.clock)
	}
	return nil
}

// checkTenants refuses to start where no tenant can be served as it is
// configured: on credentials that nobody accepts, on a default folder that is
// not there. One that cannot be reached just now does not hold up the start, and
// as soon as one can be served the worker starts; what is wrong with the others
// is said, and tried again when there are requests for them. The checks end with
// ctx.
func (w *Worker) checkTenants(ctx context.Context, wg *sync.WaitGroup) error {
	found := make(chan error, len(w.tenants))
	for _, t := range w.tenants {
		wg.Go(func() {
			err := t.check(ctx)
			if err != nil && len(w.tenants) > 1 && ctx.Err() == nil {
				t.log.Error("tenant cannot be served as it is configured", "error", err)
			}
			found <- err
		})
	}
	var faults []error
	for range w.tenants {
		err := <-found
		if err == nil {
			return nil
		}
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}

// observeClock compares clocks by an answer that carries the server's.
func (w *Worker) observeClock(ctx context.Context) error {
	stream, err := w.js.Stream(ctx, w.cfg.Topology.RequestsStream())
	if err != nil {
		return fmt.Errorf("open stream %s: %w", w.cfg.Topology.RequestsStream(), err)
	}
	w.clock.observe(stream.CachedInfo().TimeStamp)
	return nil
}

// mentionReplicas names the streams that fewer servers hold than it is
// configured: an operator may mean it, for a while.
func (w *Worker) mentionReplicas(ctx context.Context) {
	if w.cfg.Topology.Replicas <= 1 {
		return // there are no fewer
	}
	for _, s := range Inspect(ctx, w.js, w.cfg.Topology) {
		if s.Info != nil && s.Info.Config.Replicas < w.cfg.Topology.Replicas {
			w.log.Warn("stream has fewer replicas than configured: change it with the nats CLI", "stream", s.Name, "have", s.Info.Config.Replicas, "configured", w.cfg.Topology.Replicas)
		}
	}
}

// keepFollowing restarts the watch on pauses when it ends early.
func (w *Worker) keepFollowing(ctx context.Context, t *tenant) {
	for ctx.Err() == nil {
		if err := t.follow(ctx); err != nil {
			w.log.Log(ctx, w.troubleLevel(), "pauses of other workers not followed", "error", err)
			_ = sleep(ctx, time.Second) // the loop looks at the context itself
		}
	}
}

// Stats is what a worker has done since it started.
type Stats struct {
	Ready    bool              // it pulls requests, as far as it knows
	Outcomes map[Status]uint64 // final ones, by status
}

// Stats may be called at any time.
func (w *Worker) Stats() Stats {
	return w.stats.snapshot()
}
