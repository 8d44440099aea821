package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"

	"waybill/orchestrator"
)

// Tenant is one Orchestrator tenant that a worker serves.
type Tenant struct {
	// Name is the tenant's token in subjects.
	Name string
	// Client reaches it.
	Client *orchestrator.Client
	// DefaultFolder is what DefaultFolder means in its subjects. Where it is
	// empty, requests must name their folder.
	DefaultFolder orchestrator.FolderRef
	// MaxInFlight caps the calls in flight; 16 if zero. The worker stays below
	// it when the tenant refuses for load.
	MaxInFlight int
	// ListReadsPerMinute is the share of the tenant's budget for list calls
	// (100 a minute in the cloud) that this worker may use; 60 if zero.
	ListReadsPerMinute int
	// ItemIDs names queues whose items are added one by one rather than in
	// bulk, so that their outcomes carry the items' ids; "*" is all of them.
	ItemIDs []string
	// ClassicFolders starts jobs by the strategy of classic folders,
	// JobsCount, instead of ModernJobsCount.
	ClassicFolders bool
}

// tenant is a Tenant at work: what it may be asked just now.
type tenant struct {
	Tenant
	log     *slog.Logger
	control control
	clock   *serverClock
	slots   *slots
	ahead   *semaphore.Weighted // turns, of batches whose calls are still to begin
	room    *semaphore.Weighted // for deliveries in hand; its own, since one whose calls take long would have all of a common one
	reads   *rate.Limiter       // list calls
	// batchKeys is what the tenant was seen to do with the BatchExecutionKey
	// of a job we start.
	batchKeys atomic.Int32
	sweeps    sweeps
	// unclear counts writes in a row that got no clear answer; lastWrite is
	// when one last got through, by the server's clock.
	unclear   atomic.Int32
	lastWrite atomic.Int64

	mu     sync.Mutex
	pauses map[orchestrator.Class]*pause
}

const (
	batchKeysUnseen = iota
	batchKeysKept
	batchKeysReplaced
)

func (t *tenant) learnBatchKeys(kept bool) {
	if kept {
		t.batchKeys.Store(batchKeysKept)
		return
	}
	t.batchKeys.Store(batchKeysReplaced)
}

// pause is a time in which a class of calls is not made.
type pause struct {
	until   time.Time     // by our clock
	backoff time.Duration // the last one we chose ourselves
}

// DefaultListReads is Tenant.ListReadsPerMinute where that is zero.
const DefaultListReads = 60

const (
	defaultMaxInFlight = 16

	// batchesAhead are enough for the next calls to be ready when slots come
	// free, and few enough that what they hold is called before its claims grow
	// old.
	batchesAhead = 3

	unclearInARow = 3

	minBackoff      = time.Second
	maxBackoff      = time.Minute
	maxLoginBackoff = 5 * time.Minute
	// maxRetryAfter bounds what Orchestrator may ask for: one wrong header must
	// not stop a tenant for a day.
	maxRetryAfter = 15 * time.Minute
)

// newTenant makes a tenant with room for so many deliveries in hand.
func newTenant(cfg Tenant, room int, log *slog.Logger, c control, clock *serverClock) *tenant {
	if cfg.MaxInFlight == 0 {
		cfg.MaxInFlight = defaultMaxInFlight
	}
	if cfg.ListReadsPerMinute == 0 {
		cfg.ListReadsPerMinute = DefaultListReads
	}
	return &tenant{
		Tenant:  cfg,
		log:     log.With("tenant", cfg.Name),
		control: c,
		clock:   clock,
		slots:   newSlots(cfg.MaxInFlight),
		ahead:   semaphore.NewWeighted(batchesAhead),
		room:    semaphore.NewWeighted(int64(room)),
		reads:   rate.NewLimiter(rate.Every(time.Minute/time.Duration(cfg.ListReadsPerMinute)), max(1, cfg.ListReadsPerMinute/6)),
		pauses:  make(map[orchestrator.Class]*pause),
	}
}

// check finds what is wrong with a tenant's configuration. A tenant that cannot
// be reached is only mentioned.
func (t *tenant) check(ctx context.Context) error {
	works := true
	for _, err := range t.Client.Folders(ctx, orchestrator.Query{Top: 1, Limit: 1}) {
		works = err == nil
		if e, ok := errors.AsType[*orchestrator.Error](err); ok && e.LoginRefused() {
			t.observe(ctx, orchestrator.Reads, err)
			return fmt.Errorf("tenant %s: %w", t.Name, err)
		}
		if err != nil && ctx.Err() == nil {
			t.log.Warn("tenant not reached yet", "error", err)
		}
		break
	}
	if works {
		t.loginWorks(ctx)
	}
	if t.DefaultFolder == (orchestrator.FolderRef{}) {
		t.log.Warn("no default folder is set: requests for the folder - will wait")
		return nil
	}
	if _, err := t.defaultFolder(ctx); errors.Is(err, ErrDefaultFolder) {
		return err
	}
	return nil
}

// ErrDefaultFolder is returned where a tenant's default folder is not set, or
// is not there. That is for whoever configures the worker to mend, and no
// fault of the requests that name it: they wait.
var ErrDefaultFolder = errors.New("the tenant's default folder cannot be used")

// defaultFolder is what DefaultFolder stands for.
func (t *tenant) defaultFolder(ctx context.Context) (orchestrator.Folder, error) {
	if t.DefaultFolder == (orchestrator.FolderRef{}) {
		return orchestrator.Folder{}, fmt.Errorf("tenant %s: %w: none is set", t.Name, ErrDefaultFolder)
	}
	folder, err := t.Client.Folder(ctx, t.DefaultFolder)
	if e, ok := errors.AsType[*orchestrator.Error](err); ok && e.Kind == orchestrator.Rejected {
		return folder, fmt.Errorf("tenant %s: %w: %s", t.Name, ErrDefaultFolder, e.Message)
	}
	return folder, err //nolint:wrapcheck // the caller says for what
}

// skew is how far Orchestrator's clock is ahead of the NATS server's, if that is
// known. What this machine's own clock is set to has no part in it, and may
// change at any time.
func (t *tenant) skew() (ahead time.Duration, known bool) {
	theirs := t.Client.Time()
	if theirs.IsZero() {
		return 0, false
	}
	ahead = theirs.Sub(t.clock.now())
	if ahead.Abs() > maxSkew {
		return 0, false
	}
	return ahead, true
}

// maxSkew is how far two clocks that somebody has set can be apart. A time from
// farther off is none, and would make every item seem to be from before it was
// asked for.
const maxSkew = 366 * 24 * time.Hour

// pausedFor is how long calls of a class are not to be made. A pause of the
// login holds up everything.
func (t *tenant) pausedFor(class orchestrator.Class) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	var wait time.Duration
	for _, c := range []orchestrator.Class{class, orchestrator.Identity} {
		if p := t.pauses[c]; p != nil {
			wait = max(wait, time.Until(p.until))
		}
	}
	return wait
}

// observe learns from the result of a call: it adapts the calls in flight, and
// pauses the class where Orchestrator asks for it, cannot be reached, or has
// given no clear answer several times in a row: each such call leaves requests
// in doubt, and looking for them costs more than waiting.
func (t *tenant) observe(ctx context.Context, class orchestrator.Class, err error) {
	if err == nil {
		t.slots.grow()
		t.succeeded(class)
		return
	}
	e, ok := errors.AsType[*orchestrator.Error](err)
	if !ok || ctx.Err() != nil {
		return
	}
	switch {
	case e.LoginRefused():
		t.pause(ctx, orchestrator.Identity, e, maxLoginBackoff)
	case e.Kind == orchestrator.Transient:
		t.slots.shrink()
		t.pause(ctx, e.Class, e, maxBackoff)
	case e.Kind == orchestrator.Uncertain:
		t.slots.shrink()
		if t.unclear.Add(1) >= unclearInARow {
			t.pause(ctx, class, e, maxBackoff)
		}
	}
}

// succeeded notes that calls get through.
func (t *tenant) succeeded(class orchestrator.Class) {
	if class == orchestrator.Writes {
		t.unclear.Store(0)
		t.lastWrite.Store(t.clock.now().UnixNano())
	}
	t.reset(class)
}

// wroteSince reports whether a write has got through since a moment of the
// server's clock.
func (t *tenant) wroteSince(moment time.Time) bool {
	return t.lastWrite.Load() > moment.UnixNano()
}

// loginWorks ends a pause for a login that was refused before: whoever has
// mended it and started the worker anew is not to wait for its end.
func (t *tenant) loginWorks(ctx context.Context) {
	key := controlKey("throttle", t.Name, orchestrator.Identity.String())
	var record throttled
	if _, err := t.control.get(ctx, key, &record); err != nil || !record.Until.After(t.clock.now()) {
		return // there is none, or it cannot be told
	}
	record = throttled{Until: t.clock.now(), Reason: "login accepted"}
	if err := t.control.put(ctx, key, record); err != nil {
		t.log.Warn("pause of the login not ended", "error", err)
	}
}

// reset forgets pauses that are over. One that is not stands, though a call
// that was in flight when it began has still succeeded.
func (t *tenant) reset(class orchestrator.Class) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range []orchestrator.Class{class, orchestrator.Identity} {
		if p := t.pauses[c]; p != nil && time.Now().After(p.until) {
			delete(t.pauses, c)
		}
	}
}

// throttled is the record in the control bucket, by the server's clock.
type throttled struct {
	Until  time.Time `json:"until"`
	Reason string    `json:"reason"`
}

// lasts is for how long calls are still paused: never longer than any worker
// pauses them, whatever stands in the record.
func (r throttled) lasts(now time.Time) time.Duration {
	return min(r.Until.Sub(now), maxRetryAfter)
}

// pause stops a class of calls, here and in the other workers, for as long as
// Orchestrator says or, where it does not, for longer each time.
func (t *tenant) pause(ctx context.Context, class orchestrator.Class, e *orchestrator.Error, most time.Duration) {
	t.mu.Lock()
	p := t.pauses[class]
	if p == nil {
		p = &pause{}
		t.pauses[class] = p
	}
	if time.Now().Before(p.until) {
		t.mu.Unlock()
		return // another call in flight has said so already
	}
	p.backoff = min(most, max(minBackoff, 2*p.backoff))
	wait := min(e.RetryAfter, maxRetryAfter)
	if wait == 0 {
		wait = p.backoff
	}
	p.until = time.Now().Add(wait)
	t.mu.Unlock()

	t.log.Warn("calls paused", "class", class.String(), "wait", wait, "status", e.StatusCode, "error", e)
	if e.Kind == orchestrator.Uncertain || e.StatusCode == 0 && class != orchestrator.Identity {
		return // that is each worker's own experience
	}
	record := throttled{Until: t.clock.now().Add(wait), Reason: e.Kind.String()}
	if err := t.control.put(ctx, controlKey("throttle", t.Name, class.String()), record); err != nil {
		t.log.Warn("pause not shared with other workers", "error", err)
	}
}

// follow takes over the pauses that other workers record, until the context
// ends.
func (t *tenant) follow(ctx context.Context) error {
	watcher, err := t.control.kv.Watch(ctx, controlKey("throttle", t.Name)+".*")
	if err != nil {
		return err //nolint:wrapcheck // the caller says what was being done
	}
	defer watcher.Stop() //nolint:errcheck // the connection is ours and ends with the worker
	for {
		select {
		case <-ctx.Done():
			return nil
		case entry, ok := <-watcher.Updates():
			if !ok {
				return errors.New("the watch on pauses has ended")
			}
			t.adopt(entry)
		}
	}
}

func (t *tenant) adopt(entry jetstream.KeyValueEntry) {
	if entry == nil {
		return // the end of what there was at the start
	}
	for _, class := range []orchestrator.Class{orchestrator.ListReads, orchestrator.Reads, orchestrator.Writes, orchestrator.Identity} {
		if entry.Key() != controlKey("throttle", t.Name, class.String()) {
			continue
		}
		var record throttled
		if err := decodeEntry(entry, &record); err != nil {
			t.log.Warn("pause of another worker not understood", "error", err)
			return
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		until := time.Now().Add(record.lasts(t.clock.now()))
		if p := t.pauses[class]; p == nil {
			t.pauses[class] = &pause{until: until}
		} else if until.After(p.until) {
			p.until = until
		}
	}
}
