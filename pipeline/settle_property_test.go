package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"pgregory.net/rapid"

	"waybill/orchestrator"
)

// meeting is a delivery that finds its key in the ledger, and what it may find
// there.
type meeting struct {
	d      *delivery
	stands keyState
	left   time.Duration // until the claim that stands is dead
	wrote  bool          // others' calls have got through since
}

const (
	ownHash, otherHash         = "sha256:own", "sha256:other"
	ownSequence, otherSequence = 7, 3
	ownNonce, otherNonce       = "own", "other"
)

// choose takes one of several by a number and leaves the rest of the number to
// further choices: who counts up comes by every combination.
func choose[T any](n *int, of ...T) T {
	i := *n % len(of)
	*n /= len(of)
	return of[i]
}

// newMeeting gives the nth meeting, and false when there are no more. What
// comes of a choice that does not matter is left out.
func newMeeting(n int, now time.Time, settle time.Duration) (meeting, bool) {
	m := meeting{
		d:     &delivery{key: "k", sequence: ownSequence, payload: payload{hash: ownHash}, claim: claim{Nonce: ownNonce}},
		wrote: choose(&n, true, false),
		left:  choose(&n, -time.Hour, -time.Nanosecond, 0, time.Nanosecond, time.Hour),
	}
	m.d.fault = choose(&n, nil, errors.New("broken"))
	o := &Outcome{
		Generation:      choose(&n, 0, 1, 2),
		PayloadHash:     choose(&n, ownHash, otherHash),
		RequestSequence: choose[uint64](&n, ownSequence, otherSequence),
	}
	if o.Generation > 0 {
		m.stands.outcome = o
	}
	c := &claim{
		Version: claimVersion, Hold: time.Minute, revision: 11, storedAt: now.Add(m.left - time.Minute - settle),
		Nonce:           choose(&n, "", ownNonce, otherNonce),
		State:           choose(&n, claimHeld, claimFree, claimTracked, claimSettled),
		Generation:      choose(&n, 1, 2),
		PayloadHash:     choose(&n, ownHash, otherHash),
		RequestSequence: choose[uint64](&n, ownSequence, otherSequence),
		EverCalled:      choose(&n, true, false),
		Unclear:         choose(&n, true, false),
	}
	if c.Nonce != "" {
		m.stands.claim = c
	}
	return m, n == 0
}

func (m meeting) ours() bool { return m.stands.claim != nil && m.stands.claim.Nonce == ownNonce }

// others gives another worker's claim, nil where there is none.
func (m meeting) others() *claim {
	if m.ours() {
		return nil
	}
	return m.stands.claim
}

// ended reports whether the key, in the generation that stands, has its
// outcome.
func (m meeting) ended() bool {
	return m.stands.outcome != nil && (m.stands.claim == nil || m.stands.claim.Generation <= m.stands.outcome.Generation)
}

// conflicts reports whether the delivery is another message than the one that
// has the key, and says something else.
func (m meeting) conflicts() bool {
	hash, sequence := ownHash, uint64(ownSequence)
	switch {
	case m.ended():
		hash, sequence = m.stands.outcome.PayloadHash, m.stands.outcome.RequestSequence
	case m.stands.claim != nil:
		hash, sequence = m.stands.claim.PayloadHash, m.stands.claim.RequestSequence
	}
	return sequence != ownSequence && (m.d.fault != nil || hash != ownHash)
}

// meetRules is what the promise asks of a worker that meets a key in the
// ledger. Each rule tells whether it is kept.
var meetRules = map[string]func(m meeting, again bool) bool{
	"a delivery gets a verdict, or goes on towards a call": func(m meeting, again bool) bool {
		return (m.d.verdict != nil) == (!again && !m.ours())
	},
	"our own claim is ours, though the answer was lost": func(m meeting, _ bool) bool {
		return !m.ours() || m.d.verdict == nil && m.d.claim.revision == m.stands.claim.revision
	},
	"nobody calls while another's claim is alive": func(m meeting, again bool) bool {
		other := m.others()
		return other == nil || other.State == claimFree || m.left <= 0 || !again
	},
	"nobody calls for what has its outcome, or is tracked": func(m meeting, again bool) bool {
		other := m.others()
		return m.ours() || !m.ended() && (other == nil || other.State != claimTracked) || !again
	},
	"another payload is buried, and nothing else": func(m meeting, _ bool) bool {
		buried := m.d.verdict != nil && m.d.verdict.deadLetter != ""
		return buried == (m.conflicts() && !m.ours())
	},
	"what is buried says why": func(m meeting, _ bool) bool {
		v, want := m.d.verdict, ReasonKeyConflict
		if m.d.fault != nil {
			want = ReasonInvalid
		}
		return v == nil || v.deadLetter == "" || v.deadLetter == want && v.settle == settleTerm
	},
	"only what has ended or is tracked is acknowledged": func(m meeting, _ bool) bool {
		v, other := m.d.verdict, m.others()
		return v == nil || v.settle != settleAck || m.ended() || other != nil && other.State == claimTracked
	},
	"a dead claim under which a call was made is in doubt": func(m meeting, again bool) bool {
		other := m.others()
		return !again || other == nil || other.State == claimFree || m.d.doubtful == other.EverCalled
	},
	"what was given back, or never called, is not in doubt": func(m meeting, again bool) bool {
		other := m.others()
		return !again || other == nil || other.State != claimFree && other.EverCalled || !m.d.doubtful
	},
	"who waits does so until the claim is dead": func(m meeting, _ bool) bool {
		return m.d.verdict == nil || m.d.verdict.settle != settleNak || m.d.verdict.delay >= m.left
	},
	"a meeting writes no outcome and gives nothing back": func(m meeting, _ bool) bool {
		return m.d.verdict == nil || m.d.verdict.outcome == nil && !m.d.verdict.release
	},
	"what is taken over is what stands": func(m meeting, again bool) bool {
		return !again || m.d.prior == m.stands.claim
	},
	"a strike is an unclear call while others got through": func(m meeting, again bool) bool {
		if !again || m.d.prior == nil {
			return true
		}
		return m.d.prior.Strikes == 0 || m.d.doubtful && m.wrote
	},
	"an unclear call is one of the claim it was made under": func(m meeting, again bool) bool {
		return !again || m.d.prior == nil || !m.d.prior.Unclear
	},
}

// Every combination of what a delivery is and what stands in the ledger.
func TestMeetKeepsPromise(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const settle = 30 * time.Second
		r := &runner{Worker: &Worker{clock: &serverClock{}, cfg: Config{Settle: settle}}, tenant: &tenant{}}
		r.clock.observe(time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC))
		met := 0
		for n := 0; ; n++ {
			m, more := newMeeting(n, r.clock.now(), settle)
			if !more {
				break
			}
			met++
			r.tenant.lastWrite.Store(0)
			if m.wrote {
				r.tenant.lastWrite.Store(r.clock.now().Add(time.Hour).UnixNano())
			}
			again := r.meet(m.d, m.stands)
			for rule, kept := range meetRules {
				if !kept(m, again) {
					t.Fatalf("%s: broken by meeting %d: claim %+v, outcome %+v, fault %v: again %t, doubtful %t, verdict %+v",
						rule, n, m.stands.claim, m.stands.outcome, m.d.fault, again, m.d.doubtful, m.d.verdict)
				}
			}
		}
		t.Logf("%d meetings", met)
	})
}

// keyHistory is a key as its claims go from delivery to delivery, beside what
// was really done.
type keyHistory struct {
	now    time.Time
	stands *claim // in the ledger
	first  claim
	d      *delivery // who has it in hand
	before claim     // what the delivery took over
	fresh  bool      // it has not renewed its claim

	made   bool // the delivery has a call under way
	maybe  int  // calls of earlier deliveries that may have had an effect
	calls  int
	nonces map[string]bool
}

// Claims count calls ahead and take back what was surely not made: whatever
// the order, a call that may have had an effect is never forgotten.
func TestClaimsRememberCalls(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		h := &keyHistory{now: time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC), nonces: make(map[string]bool)}
		t.Repeat(map[string]func(*rapid.T){
			"take over": h.takeOver,
			"call":      h.call,
			"renew":     h.renew,
			"release":   h.release,
			"die":       h.die,
			"":          h.check,
		})
	})
}

func (h *keyHistory) takeOver(t *rapid.T) {
	if h.d != nil {
		t.Skip("in hand")
	}
	h.now = h.now.Add(time.Hour)
	h.d = &delivery{
		key: "k", sequence: rapid.Uint64Range(1, 9).Draw(t, "sequence"), publishedAt: h.now, receivedAt: h.now,
		payload: payload{hash: rapid.SampledFrom([]string{ownHash, otherHash}).Draw(t, "hash")},
	}
	if rapid.Bool().Draw(t, "expired") {
		h.d.request.NotAfter = h.now.Add(-time.Second)
	}
	h.before, h.fresh, h.made = claim{}, true, false
	if h.stands != nil {
		prior := *h.stands
		h.d.prior, h.before = &prior, prior
	}
	h.write(t)
	if h.before.Version == 0 {
		h.first = h.d.claim
	}
}

// write has the delivery in hand write its next claim.
func (h *keyHistory) write(t *rapid.T) {
	h.d.claim = h.d.nextClaim("worker", time.Minute, h.now)
	stands := h.d.claim
	h.stands = &stands
	h.newNonce(t)
	if h.stands.State != claimHeld || h.stands.Hold != time.Minute || h.stands.Worker != "worker" || h.stands.Version != claimVersion {
		t.Fatalf("the claim holds nothing: %+v", *h.stands)
	}
}

func (h *keyHistory) newNonce(t *rapid.T) {
	if h.nonces[h.stands.Nonce] {
		t.Fatalf("nonce %s was used before", h.stands.Nonce)
	}
	h.nonces[h.stands.Nonce] = true
}

func (h *keyHistory) needCallable(t *rapid.T) {
	if h.d == nil || !h.d.callable(h.now) {
		t.Skip("nobody may call")
	}
}

// call makes a call; one before it by the same delivery was refused.
func (h *keyHistory) call(t *rapid.T) {
	h.needCallable(t)
	h.d.attempt, h.made = false, true
	h.calls++
}

func (h *keyHistory) renew(t *rapid.T) {
	h.needCallable(t)
	prior := h.d.claim
	h.d.prior, h.fresh, h.made = &prior, false, false
	h.write(t)
}

// release gives the key back: what was called, if anything, was surely not
// done.
func (h *keyHistory) release(t *rapid.T) {
	h.needCallable(t)
	free := h.d.freeClaim()
	h.stands = &free
	h.newNonce(t)
	if free.State != claimFree || free.Hold != 0 {
		t.Fatalf("the claim is not given back: %+v", free)
	}
	if h.fresh && (free.EverCalled != h.before.EverCalled || free.Attempts != h.before.Attempts) {
		t.Fatalf("given back as called %t, %d attempts; taken over as called %t, %d attempts", free.EverCalled, free.Attempts, h.before.EverCalled, h.before.Attempts)
	}
	h.d, h.made = nil, false
}

// die leaves the claim as it is, whatever was done under it.
func (h *keyHistory) die(t *rapid.T) {
	if h.d == nil {
		t.Skip("nobody to die")
	}
	if h.made {
		h.maybe++
	}
	h.d, h.made = nil, false
}

func (h *keyHistory) check(t *rapid.T) {
	if h.stands == nil {
		return
	}
	c, maybe := *h.stands, h.maybe
	if h.made {
		maybe++
	}
	if maybe > 0 && !c.EverCalled {
		t.Fatalf("%d calls may have had an effect, and the claim says nobody called", maybe)
	}
	if c.Attempts < maybe {
		t.Fatalf("%d attempts in the claim, %d calls may have had an effect", c.Attempts, maybe)
	}
	if h.d != nil && h.d.attempts() < maybe {
		t.Fatalf("an outcome would tell of %d attempts, %d calls may have had an effect", h.d.attempts(), maybe)
	}
	if !c.PublishedAt.Equal(h.first.PublishedAt) || !c.FirstDeliveredAt.Equal(h.first.FirstDeliveredAt) ||
		c.PayloadHash != h.first.PayloadHash || c.Generation != h.first.Generation || c.RequestSequence != h.first.RequestSequence {
		t.Fatalf("the claim is one for another request: first %+v, now %+v", h.first, c)
	}
}

// lookUps is an Orchestrator that answers look-ups only: with what it holds,
// or with an error.
type lookUps struct {
	body   string
	status int
}

// RoundTrip gives the one answer.
func (l *lookUps) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method != http.MethodGet {
		return nil, fmt.Errorf("%s %s is no look-up", req.Method, req.URL)
	}
	return &http.Response{
		StatusCode: l.status, Body: io.NopCloser(strings.NewReader(l.body)), Request: req,
		Header: http.Header{"Content-Type": {"application/json"}, "Date": {time.Now().UTC().Format(http.TimeFormat)}},
	}, nil
}

func (l *lookUps) client(t *rapid.T) *orchestrator.Client {
	client, err := orchestrator.New(orchestrator.Config{BaseURL: "http://orchestrator", Login: orchestrator.PersonalAccessToken("rt_test"), Transport: l, RetryFor: -1})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// sorting is a runner with a batch whose call has ended in an error.
type sorting struct {
	*runner
	target  target
	lookUps *lookUps
	batch   []*delivery
}

// newSorting gives a runner for a lane of its own, and a batch.
func newSorting(t *rapid.T, l *ledger, shared control) *sorting {
	s := &sorting{lookUps: &lookUps{status: http.StatusOK}}
	log := slog.New(slog.DiscardHandler)
	w := &Worker{cfg: Config{}.withDefaults(), log: log, js: l.js, ledger: l, clock: l.clock, stats: &stats{}}
	s.runner = &runner{Worker: w, log: log, tenant: newTenant(Tenant{Name: "Default", Client: s.lookUps.client(t), ListReadsPerMinute: 1e6}, 10_000, log, shared, l.clock)}
	s.target = target{
		lane:   Lane{Tenant: "Default", Folder: "Shared", Kind: KindItem, Name: fmt.Sprintf("lane %d", lanesTried.Add(1))},
		folder: orchestrator.Folder{ID: 1, FullyQualifiedName: "Shared"},
		queue:  orchestrator.QueueDefinition{ID: 2, EnforceUniqueReference: rapid.Bool().Draw(t, "unique")},
	}
	for i := range rapid.IntRange(1, 3).Draw(t, "batch") {
		s.batch = append(s.batch, s.request(fmt.Sprintf("k%d", i), t))
	}
	return s
}

// claimKeys takes the batch to where its call is made.
func (s *sorting) claimKeys(ctx context.Context, t *rapid.T) {
	s.writeClaims(ctx, s.target.lane, s.batch)
	for _, d := range s.batch {
		if d.verdict != nil || d.claim.revision == 0 {
			t.Fatalf("not claimed: %+v", d.verdict)
		}
		d.attempt = false
	}
}

func (s *sorting) request(key string, t *rapid.T) *delivery {
	request := Request{Key: key, Item: json.RawMessage(`{"SpecificContent":{"A":1}}`)}
	p, err := request.payload(s.target.lane, request.read)
	if err != nil {
		t.Fatal(err)
	}
	now := s.clock.now()
	return &delivery{key: key, sequence: 1, request: request, payload: p, publishedAt: now, receivedAt: now}
}

// holds has the look-ups find the items of the first n deliveries.
func (s *sorting) holds(n int) {
	var items []string
	for i, d := range s.batch[:n] {
		items = append(items, fmt.Sprintf(`{"Id":%d,"Reference":%q,"SpecificContent":{"A":1},"CreationTime":%q}`, i+1, d.payload.reference, time.Now().UTC().Format(time.RFC3339Nano)))
	}
	s.lookUps.body = fmt.Sprintf(`{"@odata.count":%d,"value":[%s]}`, n, strings.Join(items, ","))
}

// sortRules say, for each kind, what a delivery may be settled as whose effect
// a look-up finds or does not find. Whatever is not listed is uncertain.
var sortRules = map[orchestrator.Kind]func(v *verdict, found bool) bool{
	orchestrator.Transient: isReleased,
	orchestrator.Denied:    isReleased,
	orchestrator.Rejected: func(v *verdict, _ bool) bool {
		return isRefused(v) && v.outcome.DecidedBy == ByAnswer && v.deadLetter == ReasonRejected
	},
	orchestrator.Duplicate: func(v *verdict, found bool) bool {
		return found && isFound(v, ByDuplicate) || !found && (isRefused(v) || isPutOff(v))
	},
}

func isUncertain(v *verdict, found bool) bool {
	return found && isFound(v, ByLookup) || !found && isPutOff(v)
}

func isReleased(v *verdict, _ bool) bool {
	return v.release && v.settle == settleNak && v.delay >= time.Second && v.outcome == nil && v.deadLetter == ""
}

func isRefused(v *verdict) bool {
	return !v.release && v.settle == settleTerm && v.outcome != nil && v.outcome.Status == StatusRejected && v.outcome.Error != nil && v.deadLetter != ""
}

func isFound(v *verdict, by DecidedBy) bool {
	return !v.release && v.settle == settleAck && v.outcome != nil && v.outcome.Status == StatusAccepted && v.outcome.DecidedBy == by && v.deadLetter == ""
}

func isPutOff(v *verdict) bool {
	return !v.release && v.settle == settleNak && v.outcome == nil && v.deadLetter == ""
}

// However a call ends, what may have been done is neither given back nor
// called a failure, and only what was surely not done is given back.
func TestSortErrorByKind(t *testing.T) {
	t.Parallel()
	withLedger(t, func(t *testing.T, l *ledger) {
		shared, err := openControl(t.Context(), l.js, l.topology)
		if err != nil {
			t.Fatal(err)
		}
		rapid.Check(inBubble{t}, func(rt *rapid.T) {
			s := newSorting(rt, l, shared)
			s.claimKeys(t.Context(), rt)
			kind, err := drawCallError(rt)
			readable, n := rapid.Bool().Draw(rt, "look-ups work"), rapid.IntRange(0, len(s.batch)).Draw(rt, "found")
			s.holds(n)
			if !readable {
				s.lookUps.status, s.lookUps.body, n = http.StatusServiceUnavailable, "", 0
			}
			s.sortError(t.Context(), s.target, s.batch, err)
			may, ok := sortRules[kind]
			if !ok {
				may = isUncertain
			}
			for i, d := range s.batch {
				if d.verdict == nil || !may(d.verdict, i < n) {
					rt.Fatalf("%v, found %t: settled by %+v", err, i < n, d.verdict)
				}
			}
			s.checkLeftAlone(t.Context(), rt)
		})
	})
}

// drawCallError gives an error as a call returns it, or as nobody foresaw it,
// whose kind is 0.
func drawCallError(t *rapid.T) (orchestrator.Kind, error) {
	kind := orchestrator.Kind(rapid.IntRange(int(orchestrator.Transient)-1, int(orchestrator.Denied)+2).Draw(t, "kind"))
	if kind == 0 {
		return 0, rapid.SampledFrom([]error{errors.New("unforeseen"), context.DeadlineExceeded, io.ErrUnexpectedEOF, jetstream.ErrMsgNotFound}).Draw(t, "error")
	}
	err := error(&orchestrator.Error{
		Op: "add queue item", Kind: kind, Class: orchestrator.Writes,
		StatusCode: rapid.SampledFrom([]int{0, 200, 302, 400, 404, 409, 429, 500, 502, 503}).Draw(t, "status"),
		Code:       rapid.SampledFrom([]int{0, 1002, 1016, 1100}).Draw(t, "code"),
		RetryAfter: rapid.SampledFrom([]time.Duration{0, time.Second, time.Hour}).Draw(t, "retry after"),
	})
	if rapid.Bool().Draw(t, "wrapped") {
		err = fmt.Errorf("call: %w", err)
	}
	return kind, err
}

// checkLeftAlone wants the claims of what was put off to stand, to count their
// call, and to be waited for until they are dead.
func (s *sorting) checkLeftAlone(ctx context.Context, t *rapid.T) {
	keys := make([]string, len(s.batch))
	for i, d := range s.batch {
		keys[i] = d.key
	}
	states, err := s.ledger.read(ctx, s.target.lane, keys)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range s.batch {
		c := states[d.key].claim
		if c == nil || c.State != claimHeld || !c.EverCalled || c.Attempts != 1 {
			t.Fatalf("a call that has ended leaves the claim %+v", c)
		}
		if wait := c.deadAt(s.cfg.Settle).Sub(s.clock.now()); isPutOff(d.verdict) && d.verdict.delay < wait {
			t.Fatalf("put off by %s, and the claim is dead in %s", d.verdict.delay, wait)
		}
		if isPutOff(d.verdict) && d.verdict.delay < s.cfg.Settle {
			t.Fatalf("put off by %s, too short for Orchestrator to apply what it was sent", d.verdict.delay)
		}
	}
}
