package simulator

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// Faults says which share of the calls goes wrong and how.
type Faults struct {
	// Rate is the share of write calls that is struck, 0 to 1; the kinds come up equally often.
	Rate float64
	// ReadRate is the share of reads that is struck. What is "after the effect" for a write is after the reading here.
	ReadRate float64
	// TokenRate is the share of calls for tokens that is struck, by whatever login; never with ExpiredToken. What is
	// "after the effect" has used up the code or refresh token that the call came with.
	TokenRate float64
	// Kinds are the faults to choose from. Nil: all.
	Kinds []FaultKind
	// Latency delays every call to the API before its effect, by up to LatencyJitter longer.
	Latency, LatencyJitter time.Duration
	// LateBy is how long after the cut the effect of a Late call happens. Zero: one second.
	LateBy time.Duration
	// RetryAfter is what a Throttle asks for. Zero: one second.
	RetryAfter time.Duration
}

// FaultKind is one way for a call to go wrong. "After" means that the effect has happened, "before" that it has not
// and will not.
type FaultKind string

// The kinds of faults.
const (
	Throttle            FaultKind = "Throttle"            // 429 before, with Retry-After
	ErrorBefore         FaultKind = "ErrorBefore"         // 500 before
	ErrorAfter          FaultKind = "ErrorAfter"          // 500 after
	Unavailable         FaultKind = "Unavailable"         // 503 before, from the gateway
	GatewayTimeoutAfter FaultKind = "GatewayTimeoutAfter" // 504 after
	CutBefore           FaultKind = "CutBefore"           // connection cut before
	CutAfter            FaultKind = "CutAfter"            // connection cut after
	Late                FaultKind = "Late"                // connection cut, the effect happens later
	HTML                FaultKind = "HTML"                // 200 and an HTML page after
	HTMLBefore          FaultKind = "HTMLBefore"          // 200 and an HTML page before
	ExpiredToken        FaultKind = "ExpiredToken"        // 401 before; a token just issued is spared
)

const noFault FaultKind = ""

// FaultKinds returns every kind there is.
func FaultKinds() []FaultKind {
	return []FaultKind{
		Throttle, ErrorBefore, ErrorAfter, Unavailable, GatewayTimeoutAfter,
		CutBefore, CutAfter, Late, HTML, HTMLBefore, ExpiredToken,
	}
}

func (k FaultKind) isBefore() bool {
	return slices.Contains([]FaultKind{Throttle, ErrorBefore, Unavailable, CutBefore, HTMLBefore, ExpiredToken}, k)
}

func (f Faults) withDefaults() Faults {
	f.LateBy = cmp.Or(f.LateBy, time.Second)
	f.RetryAfter = cmp.Or(f.RetryAfter, time.Second)
	if f.Kinds == nil {
		f.Kinds = FaultKinds()
	}
	return f
}

// Validate refuses rates that are no share and kinds that do not exist.
func (f Faults) Validate() error {
	for _, rate := range []float64{f.Rate, f.ReadRate, f.TokenRate} {
		if rate < 0 || rate > 1 {
			return fmt.Errorf("fault rate %v: give a share between 0 and 1", rate)
		}
	}
	for _, kind := range f.Kinds {
		if !slices.Contains(FaultKinds(), kind) {
			return fmt.Errorf("fault kind %q: give one of %v", kind, FaultKinds())
		}
	}
	return nil
}

// faultPlan deals out the faults. What the n-th call gets depends on the seed and n alone.
type faultPlan struct {
	seed int64

	mu     sync.Mutex
	faults Faults
	writes dealer
	reads  dealer
	tokens dealer
	jitter *rand.Rand
}

func newFaultPlan(seed int64, f Faults) *faultPlan {
	p := &faultPlan{seed: seed}
	p.set(f)
	return p
}

// set starts the plan anew.
func (p *faultPlan) set(f Faults) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = f.withDefaults()
	p.writes = dealer{random: rand.New(newRand(p.seed, "writes"))} // #nosec G404 -- repeatable on purpose
	p.reads = dealer{random: rand.New(newRand(p.seed, "reads"))}   // #nosec G404 -- repeatable on purpose
	p.tokens = dealer{random: rand.New(newRand(p.seed, "tokens"))} // #nosec G404 -- repeatable on purpose
	p.jitter = rand.New(newRand(p.seed, "latency"))                // #nosec G404 -- repeatable on purpose
}

// draw decides over the next call.
func (p *faultPlan) draw(write bool) FaultKind {
	p.mu.Lock()
	defer p.mu.Unlock()
	if write {
		return p.writes.deal(p.faults.Rate, p.faults.Kinds)
	}
	return p.reads.deal(p.faults.ReadRate, p.faults.Kinds)
}

// drawToken decides over the next call for tokens, which carries no token that could have expired.
func (p *faultPlan) drawToken() FaultKind {
	p.mu.Lock()
	defer p.mu.Unlock()
	kinds := slices.DeleteFunc(slices.Clone(p.faults.Kinds), func(k FaultKind) bool { return k == ExpiredToken })
	return p.tokens.deal(p.faults.TokenRate, kinds)
}

func (p *faultPlan) latency() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.faults.LatencyJitter <= 0 {
		return p.faults.Latency
	}
	return p.faults.Latency + time.Duration(p.jitter.Int64N(int64(p.faults.LatencyJitter)))
}

func (p *faultPlan) current() Faults {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.faults
}

// dealer deals the kinds like cards: none comes again before all the others have come.
type dealer struct {
	random *rand.Rand
	deck   []FaultKind
}

func (d *dealer) deal(rate float64, kinds []FaultKind) FaultKind {
	if d.random.Float64() >= rate || len(kinds) == 0 {
		return noFault
	}
	if len(d.deck) == 0 {
		d.deck = slices.Clone(kinds)
		d.random.Shuffle(len(d.deck), func(i, j int) { d.deck[i], d.deck[j] = d.deck[j], d.deck[i] })
	}
	kind := d.deck[0]
	d.deck = d.deck[1:]
	return kind
}
