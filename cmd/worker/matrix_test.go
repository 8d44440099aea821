package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"waybill/cmd/internal/proving"
	"waybill/pipeline"
	"waybill/pipeline/history"
)

// Some of the cells:
//
//	go test ./cmd/worker -run TestCrashMatrix -v -count=1 -artifacts -args -cell=outcome-stored/job
var matrixCell = flag.String("cell", matrixCells, "TestCrashMatrix: only the cells whose names, POINT/KIND/POSITION/alone|beside, have this in them")

// TestCrashMatrix ends a real worker process by SIGKILL at every point between
// two durable steps, for every kind of lane, at the first, a middle and the
// last request of a batch, with nobody else at work and with a second worker
// beside it, and holds what became of everything against the promise.
//
// All cells share NATS and Orchestrator. Each has a tenant of its own, which
// its victim alone serves; the survivors serve all tenants: one is there from
// the beginning, for the cells with a second worker, and one is started when
// all victims of the other cells are dead.
func TestCrashMatrix(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("kills some hundred processes")
	}
	m := newMatrix(t)
	begun := time.Now()
	m.strikeAll()
	m.awaitAll()
	report, err := m.in.Judge(t.Context())
	m.check(err)
	t.Logf("%d cells, %d processes killed, %d requests, %s, unknown: %d, statuses: %v, %.0f s",
		len(m.cells), m.killed.Load(), report.Requests, report, report.Unknown, report.Statuses, time.Since(begun).Seconds())
	names := make(map[string]string)
	for _, c := range m.cells {
		names[c.tenant] = c.name()
	}
	for _, v := range report.Violations {
		t.Errorf("%s: %s: %s", names[v.Key.Lane.Tenant], v.Key, v.What)
	}
	if report.Unknown > 0 {
		t.Errorf("%d outcomes are unknown, though everything could be known", report.Unknown)
	}
	if int(m.killed.Load()) != len(m.cells) {
		t.Errorf("%d of %d victims were killed at their point", m.killed.Load(), len(m.cells))
	}
}

// scene is what a cell plays, so that its victim comes to its point.
type scene string

const (
	scenePlain     scene = "plain"     // everything goes well
	sceneCut       scene = "cut"       // every other call is cut off before its effect, so there is doubt
	sceneThrottle  scene = "throttle"  // every other call is refused for load
	sceneInvalid   scene = "invalid"   // the requests can never work
	sceneCompleted scene = "completed" // the requests are followed to their end
	sceneDrain     scene = "drain"     // the victim is told to stop in the middle of a call
)

// The places inside a call, which no worker can tell of: there it is the
// simulated network that has the victim killed.
const (
	beforeEffect pipeline.Point = "call-before-effect" // the call arrives, and never has its effect
	lateEffect   pipeline.Point = "call-late-effect"   // its effect comes when the worker is dead
	afterEffect  pipeline.Point = "call-after-effect"  // the answer is never read
)

// scenes gives for each point how it is come by.
func scenes() map[pipeline.Point]scene {
	at := map[pipeline.Point]scene{beforeEffect: scenePlain, lateEffect: scenePlain, afterEffect: scenePlain}
	for _, p := range pipeline.Points() {
		at[p] = scenePlain
	}
	for s, points := range map[scene][]pipeline.Point{
		sceneCut: {
			pipeline.PointLedgerRead, pipeline.PointTakenOver, pipeline.PointConfirmed, pipeline.PointLookedUp,
			pipeline.PointDoubtNoting, pipeline.PointDoubtNoted, pipeline.PointNaking, pipeline.PointNaked,
		},
		sceneThrottle:  {pipeline.PointThrottled, pipeline.PointReleasing, pipeline.PointReleased},
		sceneInvalid:   {pipeline.PointBurying, pipeline.PointBuried},
		sceneCompleted: {pipeline.PointTracking, pipeline.PointTracked, pipeline.PointEndSeen, pipeline.PointEndStored, pipeline.PointEndForgotten},
		sceneDrain:     {pipeline.PointDraining},
	} {
		for _, p := range points {
			at[p] = s
		}
	}
	return at
}

// cell is one victim and what it is killed at.
type cell struct {
	point    pipeline.Point
	lane     pipeline.Lane
	kind     string
	position string
	beside   bool // a second worker is alive
	scene    scene
	tenant   string

	mu     sync.Mutex
	victim *proving.Process
	writes int // calls that may have an effect, so far
}

func (c *cell) name() string {
	company := "alone"
	if c.beside {
		company = "beside"
	}
	return strings.Join([]string{string(c.point), c.kind, c.position, company}, "/")
}

func cells() []*cell {
	var all []*cell
	at := scenes()
	for _, p := range slices.Sorted(maps.Keys(at)) {
		for _, kind := range []struct {
			name string
			lane pipeline.Lane
		}{{"unique", proving.UniqueQueue}, {"plain", proving.PlainQueue}, {"job", proving.PayInvoices}} {
			for _, position := range []string{"first", "middle", "last"} {
				for _, beside := range []bool{false, true} {
					c := &cell{point: p, lane: kind.lane, kind: kind.name, position: position, beside: beside, scene: at[p]}
					if p == pipeline.PointDraining && position != "first" {
						continue // a worker comes there once
					}
					if !strings.Contains(c.name(), *matrixCell) {
						continue
					}
					c.tenant = fmt.Sprintf("C%03d", len(all))
					c.lane.Tenant = c.tenant
					all = append(all, c)
				}
			}
		}
	}
	return all
}

// matrix is a run of all cells.
type matrix struct {
	t       *testing.T
	in      *proving.Installation
	gateway *httptest.Server
	cells   []*cell
	byName  map[string]*cell // by tenant
	killed  atomic.Int32

	mu sync.Mutex // of in.Requested
}

// victimsBeside is how many victims live at a time: they wait more than they
// work.
const victimsBeside = 16

// matrixReads is no limit: where a look-up has to list a queue, it lists what all
// cells have put into it.
const matrixReads = 1_000_000

var matrixTimes = []string{"--ack-wait", "1s", "--call-timeout", "1s", "--hold", "4.5s", "--settle", "1s", "--linger", "50ms", "--bulk-items", "9"}

func newMatrix(t *testing.T) *matrix {
	t.Helper()
	chosen := cells()
	if len(chosen) == 0 {
		t.Fatalf("no cell has %q in its name", *matrixCell)
	}
	m := &matrix{t: t, in: setUp(t), cells: chosen, byName: make(map[string]*cell)}
	for _, c := range m.cells {
		m.byName[c.tenant] = c
	}
	ctx, cancel := context.WithTimeout(t.Context(), proving.Patience)
	defer cancel()
	m.check(m.in.StartNATS(ctx, m.env()))
	m.check(pipeline.Provision(ctx, m.in.JS, pipeline.Topology{}))
	// All cells share the simulated Orchestrator's one budget for list calls,
	// where each would have its tenant's.
	m.check(m.in.StartOrchestrator(ctx, m.env(), "--job-time", "200ms", "--list-reads", "-1"))
	target, err := url.Parse(strings.TrimSuffix(m.in.Control, "/simulator"))
	m.check(err)
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.ErrorLog = log.New(io.Discard, "", 0) // victims hang up: that is the point
	m.gateway = httptest.NewServer(m.network(proxy))
	t.Cleanup(m.gateway.Close)
	return m
}

func (m *matrix) check(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *matrix) env() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + m.in.Logs, "GORACE=" + os.Getenv("GORACE"), "UIPATH_CLIENT_ID=id", "UIPATH_CLIENT_SECRET=secret", "UIPATH_FOLDER_PATH=Shared", "NATS_URL=" + m.in.NATSURL}
}

// strikeAll plays every cell: those with a second worker first, then the
// others, and at last the one who finds what they have left.
func (m *matrix) strikeAll() {
	m.t.Helper()
	finishing, stop := context.WithCancel(m.t.Context())
	var finisher sync.WaitGroup
	finisher.Go(func() { m.finishItems(finishing) })
	m.t.Cleanup(func() { stop(); finisher.Wait() })
	m.startSurvivor("beside", func(c *cell) bool { return c.beside })
	ctx, cancel := context.WithTimeout(m.t.Context(), proving.Patience)
	defer cancel()
	m.check(m.in.Collect(ctx))
	for _, beside := range []bool{true, false} {
		var group errgroup.Group
		group.SetLimit(victimsBeside)
		for _, c := range m.cells {
			if c.beside != beside {
				continue
			}
			group.Go(func() error {
				if err := m.strike(c); err != nil {
					return fmt.Errorf("%s: %w", c.name(), err)
				}
				return nil
			})
		}
		if err := group.Wait(); err != nil {
			m.t.Error(err)
		}
	}
	m.startSurvivor("successor", func(c *cell) bool { return !c.beside })
}

// startSurvivor starts a worker for many tenants.
func (m *matrix) startSurvivor(name string, serves func(*cell) bool) {
	m.t.Helper()
	var b strings.Builder
	b.WriteString("tenants:\n")
	served := 0
	for _, c := range m.cells {
		if serves(c) {
			served++
			fmt.Fprintf(&b, "  - {name: %s, url: %q, clientId: id, clientSecretFile: %q, folder: {path: Shared}, listReadsPerMinute: %d}\n", c.tenant, m.url(c), filepath.Join(m.in.Logs, "secret"), matrixReads)
		}
	}
	if served == 0 {
		return
	}
	config := filepath.Join(m.in.Logs, name+".yaml")
	m.check(os.WriteFile(config, []byte(b.String()), 0o600))
	m.check(os.WriteFile(filepath.Join(m.in.Logs, "secret"), []byte("secret"), 0o600))
	env := slices.DeleteFunc(m.env(), func(v string) bool { return strings.HasPrefix(v, "UIPATH_") })
	p, err := m.in.Run(name, env, slices.Concat([]string{"run", "--config", config}, matrixTimes)...)
	m.check(err)
	ctx, cancel := context.WithTimeout(m.t.Context(), proving.Patience)
	defer cancel()
	_, err = p.Says(ctx, "worker ready")
	m.check(err)
}

func (m *matrix) url(c *cell) string { return m.gateway.URL + "/demo/" + c.tenant + "/orchestrator_" }

// strike starts a victim and publishes requests for it until it is dead.
func (m *matrix) strike(c *cell) error {
	env := append(m.env(), "UIPATH_URL="+m.url(c), crashVariable+"="+string(c.point)+"/"+c.position)
	p, err := m.in.Run("victim-"+c.tenant, env, slices.Concat([]string{"run"}, matrixTimes)...)
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.victim = p
	c.mu.Unlock()
	if c.scene == sceneDrain {
		ctx, cancel := context.WithTimeout(m.t.Context(), proving.Patience)
		defer cancel()
		if _, err := p.Says(ctx, "worker ready"); err != nil {
			return err // what is told to stop before that has nothing in hand
		}
	}
	const burst = 6
	late := time.After(proving.Patience)
	for n := 0; ; n++ {
		if err := m.publish(c, n*burst, burst); err != nil {
			return err
		}
		select {
		case <-p.Ended:
			if !p.WasKilled() {
				text, err := os.ReadFile(m.in.LogOf("victim-" + c.tenant))
				return errors.Join(fmt.Errorf("the victim has ended by itself: %s", text[max(0, len(text)-1000):]), err)
			}
			m.killed.Add(1)
			return nil
		case <-late:
			p.Kill()
			return errors.New("the victim never came to its point")
		case <-time.After(min(2*time.Second, time.Duration(n+1)*400*time.Millisecond)): // who has not come there by now is waiting for something else
		}
	}
}

func (m *matrix) publish(c *cell, from, n int) error {
	for i := range n {
		key := fmt.Sprintf("%s-%d", c.tenant, from+i)
		request := proving.NewRequest(c.lane, key)
		if c.scene == sceneCompleted {
			request.Until = pipeline.UntilCompleted
		}
		body, err := json.Marshal(request)
		if err != nil {
			return err
		}
		if c.scene == sceneInvalid {
			body = []byte(strings.Replace(string(body), "{", `{"nonsense":1,`, 1))
		}
		m.mu.Lock()
		m.in.Requested = append(m.in.Requested, history.Key{Lane: c.lane, Key: key})
		m.mu.Unlock()
		msg := nats.NewMsg(pipeline.Topology{}.RequestSubject(c.lane))
		msg.Data = body
		if _, err := m.in.JS.PublishMsgAsync(msg); err != nil {
			return err
		}
	}
	<-m.in.JS.PublishAsyncComplete()
	return nil
}

// network stands before Orchestrator and does what a cell's scene asks for.
func (m *matrix) network(orchestrator http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		parts := strings.Split(r.URL.Path, "/")
		if len(parts) < 3 || m.byName[parts[2]] == nil || !isWrite(r.URL.Path) {
			orchestrator.ServeHTTP(w, r)
			return
		}
		c := m.byName[parts[2]]
		c.mu.Lock()
		c.writes++
		nth, victim := c.writes, c.victim
		c.mu.Unlock()
		if victim == nil || !victim.Running() {
			orchestrator.ServeHTTP(w, r) // the scene is over
			return
		}
		strikes := nth == map[string]int{"first": 1, "middle": 2, "last": 3}[c.position]
		switch {
		case c.point == beforeEffect && strikes:
			victim.Kill()
			panic(http.ErrAbortHandler)
		case c.point == lateEffect && strikes:
			victim.Kill()
			orchestrator.ServeHTTP(httptest.NewRecorder(), r.WithContext(context.WithoutCancel(r.Context())))
		case c.point == afterEffect && strikes:
			answer := httptest.NewRecorder()
			orchestrator.ServeHTTP(answer, r)
			victim.Kill()
			panic(http.ErrAbortHandler)
		case c.scene == sceneCut && nth%2 == 1:
			panic(http.ErrAbortHandler)
		case c.scene == sceneThrottle && nth%2 == 1:
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
		case c.scene == sceneDrain && nth == 1:
			_ = victim.Signal(syscall.SIGTERM) // if it has ended, the cell fails for it
			select {                           // the call stays in hand until the victim has heard
			case <-victim.Ended:
			case <-time.After(proving.Patience):
			}
			panic(http.ErrAbortHandler)
		default:
			orchestrator.ServeHTTP(w, r)
		}
	})
}

func isWrite(path string) bool {
	return strings.HasSuffix(path, "AddQueueItem") || strings.HasSuffix(path, "BulkAddQueueItems") || strings.HasSuffix(path, "StartJobs")
}

// finishItems is the robot of the queues: it ends the transactions whose end
// somebody waits for.
func (m *matrix) finishItems(ctx context.Context) {
	finished := make(map[int64]bool)
	for ctx.Err() == nil {
		m.mu.Lock()
		effects, err := m.in.Effects(ctx)
		m.mu.Unlock()
		if err != nil {
			continue // the next look will do
		}
		for _, e := range effects {
			tenant, _, _ := strings.Cut(e.Key.Key, "-")
			if c := m.byName[tenant]; c == nil || c.scene != sceneCompleted || e.Key.Lane.Kind != pipeline.KindItem || finished[e.ID] {
				continue
			}
			if m.in.Ask(ctx, http.MethodPost, fmt.Sprintf("/queueitems/%d/finish", e.ID), map[string]string{"status": "Successful"}, nil) == nil {
				finished[e.ID] = true
			}
		}
		select {
		case <-time.After(500 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// awaitAll waits for all outcomes, as long as more of them keep coming.
func (m *matrix) awaitAll() {
	m.t.Helper()
	for before := len(m.in.Requested) + 1; ; {
		ctx, cancel := context.WithTimeout(m.t.Context(), proving.Patience/3)
		err := m.in.Await(ctx, pipeline.StageFinal)
		cancel()
		missing, _, _ := m.in.Collector.Without(pipeline.StageFinal, m.in.Requested)
		if err == nil || len(missing) == 0 || len(missing) == before {
			return // the report says what is missing
		}
		before = len(missing)
	}
}

// crashVariable names, as POINT/POSITION, where a worker that the tests run
// ends itself.
const crashVariable = "WAYBILL_TEST_CRASH"

// crashAt ends the process by SIGKILL at the first, a middle or the last of a
// batch of three or more that come to the point together; where fewer do, at
// the first, second or third arrival.
func crashAt(spec string) func(pipeline.Point, int, int) {
	point, position, _ := strings.Cut(spec, "/")
	var arrivals atomic.Int32
	return func(p pipeline.Point, index, of int) {
		if string(p) != point {
			return
		}
		at := map[string]int{"first": 0, "middle": of / 2, "last": of - 1}[position]
		if of < 3 {
			at, index = map[string]int{"first": 1, "middle": 2, "last": 3}[position], int(arrivals.Add(1))
			if p == pipeline.PointDraining {
				at = 1
			}
		}
		if index != at {
			return
		}
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // until the signal has come
	}
}
