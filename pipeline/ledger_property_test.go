package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
	"pgregory.net/rapid"

	"waybill/pipeline/embedded"
)

// The ledger against a model of it: whatever writes are sent, in whatever way,
// exactly those whose condition holds are stored.
func TestLedgerAgreesWithModel(t *testing.T) {
	t.Parallel()
	withLedger(t, func(t *testing.T, l *ledger) {
		rapid.Check(inBubble{t}, func(rt *rapid.T) {
			if err := runLedger(t.Context(), rt, l, soundStore); err != nil {
				rt.Fatal(err)
			}
		})
	})
}

// A model that cannot fail proves nothing: each of these ledgers has one fault,
// which the same program has to find.
func TestLedgerModelFindsFaults(t *testing.T) {
	t.Parallel()
	withLedger(t, func(t *testing.T, l *ledger) {
		for name, fault := range ledgerFaults {
			program := rapid.Custom(func(rt *rapid.T) error { return runLedger(t.Context(), rt, l, fault(soundStore)) })
			var found error
			for seed := 0; found == nil && seed < 200; seed++ {
				found = program.Example(seed)
			}
			if found == nil {
				t.Errorf("200 programs have not found that %s", name)
			}
			t.Logf("%s: %v", name, found)
		}
	})
}

// inBubble is a test without its deadline, which has no meaning in fake time.
type inBubble struct{ rapid.TB }

// withLedger runs a test in a bubble with a server of its own, its streams as
// they are provisioned. In fake time the server's window for repeats is over
// when the test says so, and not when the machine is slow.
func withLedger(t *testing.T, f func(*testing.T, *ledger)) {
	t.Helper()
	release := embedded.OutsideBubble()
	defer release()
	synctest.Test(t, func(t *testing.T) { f(t, startLedger(t)) })
}

// storeFunc sends writes: together, all or none; or each for itself.
type storeFunc func(ctx context.Context, m *ledgerModel, together bool, writes []*write)

func soundStore(ctx context.Context, m *ledgerModel, together bool, writes []*write) {
	if !together {
		m.ledger.commit(ctx, PointClaiming, writes)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, ledgerWait)
	defer cancel()
	_ = m.ledger.commitTogether(ctx, PointTracking, writes) // each write carries its own result
}

// ledgerFaults break a sound store in one way each.
var ledgerFaults = map[string]func(storeFunc) storeFunc{
	"a claim's condition is dropped": func(next storeFunc) storeFunc {
		return func(ctx context.Context, m *ledgerModel, together bool, writes []*write) {
			for _, w := range writes {
				if w.guard == "" {
					w.expect = m.held[w.subject].revision
				}
			}
			next(ctx, m, together, writes)
		}
	},
	"an outcome's condition is dropped": func(next storeFunc) storeFunc {
		return func(ctx context.Context, m *ledgerModel, together bool, writes []*write) {
			for _, w := range writes {
				if w.guard != "" {
					w.expect = m.held[w.guard].revision
				}
			}
			next(ctx, m, together, writes)
		}
	},
	"an outcome is held against itself and not its claim": func(next storeFunc) storeFunc {
		return func(ctx context.Context, m *ledgerModel, together bool, writes []*write) {
			for _, w := range writes {
				w.guard = ""
			}
			next(ctx, m, together, writes)
		}
	},
	"one conflict fails the whole batch": func(next storeFunc) storeFunc {
		return func(ctx context.Context, m *ledgerModel, _ bool, writes []*write) { next(ctx, m, true, writes) }
	},
	"what belongs together is sent apart": func(next storeFunc) storeFunc {
		return func(ctx context.Context, m *ledgerModel, _ bool, writes []*write) { next(ctx, m, false, writes) }
	},
	"a conflict is not reported": func(next storeFunc) storeFunc {
		return func(ctx context.Context, m *ledgerModel, together bool, writes []*write) {
			next(ctx, m, together, writes)
			for _, w := range writes {
				w.err = nil
			}
		}
	},
	"a batch counts its revisions from the wrong end": func(next storeFunc) storeFunc {
		return func(ctx context.Context, m *ledgerModel, together bool, writes []*write) {
			next(ctx, m, together, writes)
			if len(writes) > 1 {
				writes[0].revision, writes[len(writes)-1].revision = writes[len(writes)-1].revision, writes[0].revision
			}
		}
	},
}

func startLedger(t *testing.T) *ledger {
	t.Helper()
	server, err := embedded.Start(embedded.Options{StoreDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second) // the stores of batches still look whether there is something to flush
	})
	nc, err := server.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	topology := Topology{}.withDefaults()
	if err := Provision(t.Context(), js, topology); err != nil {
		t.Fatal(err)
	}
	return newLedger(js, topology, &serverClock{})
}

// ledgerModel is what the ledger has to hold by now, and the ledger itself.
type ledgerModel struct {
	ledger   *ledger // with batchFrom set anew for each commit
	store    storeFunc
	lane     Lane
	held     map[string]stored   // by subject: one message each
	replaced map[string][]uint64 // by key: the revisions its claim has had before
	told     map[string]uint64   // by Nats-Msg-Id: what the server stores no second time within its window
	newest   uint64
}

// stored is a message and its place in the stream.
type stored struct {
	revision uint64
	data     string
}

// planned is a write and whether its condition holds when it is sent.
type planned struct {
	*write
	key   string
	holds bool
}

// lanesTried gives each program a lane of its own, so that they share a stream.
var lanesTried atomic.Int64

// keysTried are few, so that writes meet; their spelling is of no easy kind.
var keysTried = []string{"INV-1", "a.b", "100 %", "Öl", "*>"}

// longestProgram keeps programs short, for the sake of more of them: a server
// makes files for each batch, and few keys are soon in every state there is.
const longestProgram = 12

// runLedger carries out a random program, and gives the first thing by which
// ledger and model differ.
func runLedger(ctx context.Context, rt *rapid.T, l *ledger, store storeFunc) error {
	own := *l
	m := &ledgerModel{
		ledger: &own, store: store,
		lane: Lane{Tenant: "Default", Folder: "Shared", Kind: KindItem, Name: fmt.Sprintf("lane %d", lanesTried.Add(1))},
		held: make(map[string]stored), replaced: make(map[string][]uint64), told: make(map[string]uint64),
	}
	var fault error
	steps := 0
	action := func(f func(context.Context, *rapid.T) error) func(*rapid.T) {
		return func(rt *rapid.T) {
			if steps++; fault == nil && steps <= longestProgram {
				fault = cmp.Or(f(ctx, rt), m.compare(ctx))
			}
		}
	}
	rt.Repeat(map[string]func(*rapid.T){
		"insert claims":    action(m.insertClaims),
		"change claims":    action(m.changeClaims),
		"write outcomes":   action(m.writeOutcomes),
		"write what comes": action(m.writeMixed),
		"accept and track": action(m.acceptAndTrack),
		"let time pass":    action(m.letTimePass),
	})
	return cmp.Or(fault, m.compareStates(ctx))
}

// condition says from which revision of a key's claim something is written.
type condition int

const (
	fromStanding condition = iota
	fromReplaced
	fromNothing
	fromAnything // another key's, one of an outcome, one that is still to come
)

var conditions = []condition{fromStanding, fromStanding, fromReplaced, fromNothing, fromAnything}

func (m *ledgerModel) revision(rt *rapid.T, key string, from condition) uint64 {
	switch replaced := m.replaced[key]; {
	case from == fromStanding:
		return m.held[m.claimSubject(key)].revision
	case from == fromReplaced && len(replaced) > 0:
		return rapid.SampledFrom(replaced).Draw(rt, "replaced revision")
	case from == fromNothing:
		return 0
	}
	return rapid.Uint64Range(1, m.newest+3).Draw(rt, "any revision")
}

func (m *ledgerModel) claimSubject(key string) string {
	return m.ledger.topology.claimSubject(m.lane, key)
}

func (m *ledgerModel) outcomeSubject(key string, stage Stage) string {
	return m.ledger.topology.OutcomeSubject(m.lane, key, stage)
}

func (m *ledgerModel) insertClaims(ctx context.Context, rt *rapid.T) error {
	return m.commit(ctx, rt, func(key string) (*write, error) { return m.drawClaim(rt, key, fromNothing), nil })
}

func (m *ledgerModel) changeClaims(ctx context.Context, rt *rapid.T) error {
	from := rapid.SampledFrom(conditions).Draw(rt, "condition")
	return m.commit(ctx, rt, func(key string) (*write, error) { return m.drawClaim(rt, key, from), nil })
}

func (m *ledgerModel) writeOutcomes(ctx context.Context, rt *rapid.T) error {
	from := rapid.SampledFrom(conditions).Draw(rt, "condition")
	return m.commit(ctx, rt, func(key string) (*write, error) { return m.drawOutcome(rt, key, StageFinal, from) })
}

func (m *ledgerModel) writeMixed(ctx context.Context, rt *rapid.T) error {
	return m.commit(ctx, rt, func(key string) (*write, error) {
		from := rapid.SampledFrom(conditions).Draw(rt, "condition")
		if rapid.Bool().Draw(rt, "is a claim") {
			return m.drawClaim(rt, key, from), nil
		}
		return m.drawOutcome(rt, key, StageFinal, from)
	})
}

func (m *ledgerModel) drawClaim(rt *rapid.T, key string, from condition) *write {
	return m.ledger.changeClaim(m.lane, key, claim{
		Version:    claimVersion,
		State:      rapid.SampledFrom([]claimState{claimHeld, claimFree, claimTracked, claimSettled}).Draw(rt, "state"),
		Nonce:      nuid.Next(),
		Generation: rapid.IntRange(1, 2).Draw(rt, "generation"),
		revision:   m.revision(rt, key, from),
	})
}

func (m *ledgerModel) drawOutcome(rt *rapid.T, key string, stage Stage, from condition) (*write, error) {
	o := Outcome{
		Key:        key,
		Stage:      stage,
		Status:     rapid.SampledFrom([]Status{StatusAccepted, StatusRejected, StatusUnknown}).Draw(rt, "status"),
		Generation: rapid.IntRange(1, 2).Draw(rt, "generation"),
	}
	o.setLane(m.lane)
	return m.ledger.putOutcome(m.lane, o, claim{revision: m.revision(rt, key, from)}, nil)
}

// commit writes something for some keys, together or one by one as it may come.
func (m *ledgerModel) commit(ctx context.Context, rt *rapid.T, draw func(key string) (*write, error)) error {
	m.ledger.batchFrom = rapid.SampledFrom([]int{0, 2}).Draw(rt, "batch from")
	keys := rapid.Permutation(keysTried).Draw(rt, "keys")[:rapid.IntRange(1, len(keysTried)).Draw(rt, "writes")]
	var plan []planned
	for _, key := range keys {
		w, err := draw(key)
		if err != nil {
			return err
		}
		plan = append(plan, m.plan(key, w))
	}
	m.store(ctx, m, false, writesOf(plan))
	for _, p := range plan {
		if err := m.judge(p); err != nil {
			return err
		}
	}
	return nil
}

func (m *ledgerModel) plan(key string, w *write) planned {
	return planned{write: w, key: key, holds: m.held[cmp.Or(w.guard, w.subject)].revision == w.expect}
}

func writesOf(plan []planned) []*write {
	writes := make([]*write, len(plan))
	for i, p := range plan {
		writes[i] = p.write
	}
	return writes
}

// judge holds a write's result against its condition. Of an outcome that was
// told before, the server says so rather than look at the condition, and
// stores nothing: a batch then reports a conflict only where there is one.
func (m *ledgerModel) judge(p planned) error {
	before, repeated := m.told[p.id]
	switch {
	case repeated && p.err == nil && p.revision == before:
		return nil
	case repeated && p.holds:
		return fmt.Errorf("%s was told as %d, so nothing must be stored as %d: %w", p.subject, before, p.revision, cmp.Or(p.err, errNotRefused))
	case p.holds && p.err != nil:
		return fmt.Errorf("%s from %d: the condition holds, and yet: %w", p.subject, p.expect, p.err)
	case p.holds:
		return m.take(p)
	case !errors.Is(p.err, errConflict):
		return fmt.Errorf("%s from %d: the condition does not hold, so it must be refused: %w", p.subject, p.expect, cmp.Or(p.err, errNotRefused))
	}
	return nil
}

// take notes what was stored.
func (m *ledgerModel) take(p planned) error {
	if p.revision <= m.newest-min(m.newest, uint64(len(keysTried))) { // writes side by side may overtake each other
		return fmt.Errorf("%s is stored as %d, though %d is the newest", p.subject, p.revision, m.newest)
	}
	if old := m.held[p.subject].revision; old != 0 && p.guard == "" {
		m.replaced[p.key] = append(m.replaced[p.key], old)
	}
	if id := p.id; id != "" {
		m.told[id] = p.revision
	}
	m.held[p.subject] = stored{p.revision, string(p.data)}
	m.newest = max(m.newest, p.revision)
	return nil
}

// acceptAndTrack writes the pair that must be stored whole or not at all.
func (m *ledgerModel) acceptAndTrack(ctx context.Context, rt *rapid.T) error {
	key := rapid.SampledFrom(keysTried).Draw(rt, "key")
	from := rapid.SampledFrom(conditions).Draw(rt, "condition")
	accepted, err := m.drawOutcome(rt, key, StageAccepted, from)
	if err != nil {
		return err
	}
	tracked := m.ledger.changeClaim(m.lane, key, claim{Version: claimVersion, State: claimTracked, Nonce: nuid.Next(), Generation: 1, revision: accepted.expect})
	plan := []planned{m.plan(key, accepted), m.plan(key, tracked)}
	m.store(ctx, m, true, writesOf(plan))
	_, repeated := m.told[accepted.id]
	for _, p := range plan {
		switch {
		case p.holds && !repeated && p.err != nil:
			return fmt.Errorf("pair on %s: the condition holds, and yet: %w", p.subject, p.err)
		case p.holds && !repeated:
			err = cmp.Or(err, m.take(p))
		case !errors.Is(p.err, errConflict):
			return fmt.Errorf("pair on %s: one of it cannot be stored, so both must be refused: %w", p.subject, cmp.Or(p.err, errNotRefused))
		}
	}
	return err
}

// letTimePass ends the window in which the server knows what it has stored:
// from then on the condition alone decides.
func (m *ledgerModel) letTimePass(ctx context.Context, _ *rapid.T) error {
	clear(m.told)
	return sleep(ctx, time.Second)
}

// compare reads the ledger as it stands.
func (m *ledgerModel) compare(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, ledgerWait)
	defer cancel()
	var subjects []string
	for _, key := range keysTried {
		subjects = append(subjects, m.claimSubject(key), m.outcomeSubject(key, StageFinal), m.outcomeSubject(key, StageAccepted))
	}
	there := make(map[string]stored)
	err := m.ledger.readSubjects(ctx, subjects, func(msg *jetstream.RawStreamMsg) {
		there[msg.Subject] = stored{msg.Sequence, string(msg.Data)}
	})
	if err != nil {
		return err
	}
	if !maps.Equal(m.held, there) {
		return fmt.Errorf("the ledger holds something else (-model +ledger):\n%s", gocmp.Diff(m.held, there, gocmp.AllowUnexported(stored{})))
	}
	return nil
}

// compareStates reads the ledger as a worker does.
func (m *ledgerModel) compareStates(ctx context.Context) error {
	states, err := m.ledger.read(ctx, m.lane, slices.Concat(keysTried, []string{"never written"}))
	if err != nil {
		return err
	}
	for _, key := range keysTried {
		if err := m.compareState(key, states[key]); err != nil {
			return err
		}
	}
	return nil
}

func (m *ledgerModel) compareState(key string, got keyState) error {
	var want keyState
	if c, ok := m.held[m.claimSubject(key)]; ok {
		var storedAt time.Time // which only the server knows
		if got.claim != nil {
			storedAt = got.claim.storedAt
		}
		var err error
		if want.claim, err = decodeClaim([]byte(c.data), c.revision, storedAt); err != nil {
			return err
		}
	}
	if o, ok := m.held[m.outcomeSubject(key, StageFinal)]; ok {
		final, err := DecodeOutcome([]byte(o.data))
		if err != nil {
			return err
		}
		want.outcome = &final
	}
	if diff := gocmp.Diff(want, got, gocmp.AllowUnexported(keyState{}, claim{}), cmpopts.EquateEmpty()); diff != "" {
		return fmt.Errorf("key %q is read as something else (-model +ledger):\n%s", key, diff)
	}
	return nil
}

// A stream without a leader is waited for: what was about to be written is.
func TestWritesWaitForALeader(t *testing.T) {
	t.Parallel()
	withLedger(t, func(t *testing.T, l *ledger) {
		if err := l.js.DeleteStream(t.Context(), l.topology.LedgerStream()); err != nil {
			t.Fatal(err)
		}
		back := make(chan error, 1)
		go func() {
			time.Sleep(2 * time.Second)
			_, err := l.js.CreateStream(t.Context(), l.topology.ledgerConfig())
			back <- err
		}()
		w := l.changeClaim(typicalLane, typicalKey, claim{Version: claimVersion, State: claimHeld, Nonce: nuid.Next()})
		l.commit(t.Context(), PointClaiming, []*write{w})
		if err := errors.Join(<-back, w.err); err != nil || w.revision == 0 {
			t.Errorf("stored as %d: %v", w.revision, err)
		}
	})
}
