package simulator

import (
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Server is a simulated Orchestrator, an http.Handler. Make it with New and Close it when done; inside a synctest
// bubble, make it inside the bubble.
type Server struct {
	cfg    Config
	log    *slog.Logger
	alarms *alarms
	mint   *mint
	tokens tokens
	faults *faultPlan
	holds  holdBoard
	calls  callCounts
	limits map[string]*listLimit // by operation
	pages  http.Handler          // the control API
	stays  controlledHolds

	mu     sync.RWMutex
	tenant tenant // guarded by mu
}

// New returns a running Server without folders; AddFolder, AddQueue and AddRelease fill it. It panics on Faults that
// do not pass their Validate.
func New(cfg Config) *Server {
	if err := cfg.Faults.Validate(); err != nil {
		panic("simulator: " + err.Error())
	}
	cfg = cfg.withDefaults()
	s := &Server{
		cfg:    cfg,
		log:    cfg.Logger,
		alarms: newAlarms(),
		mint:   newMint(cfg.Seed),
		tokens: tokens{issued: make(map[string]*token)},
		faults: newFaultPlan(cfg.Seed, cfg.Faults),
		limits: map[string]*listLimit{"Jobs": {}, "QueueItems": {}},
	}
	s.tenant = newTenant(s.mint, cfg.Switches)
	s.tenant.robots = newRobots(s)
	s.pages = s.controlPages()
	return s
}

// Close stops the robots, drops effects that are still to come late, cuts the calls that are held or delayed, and
// returns when nothing of the Server runs any more. Calls made later are refused a connection.
func (s *Server) Close() { s.alarms.close() }

// SetFaults replaces the faults and starts their sequence anew. Faults that make no sense are refused.
func (s *Server) SetFaults(f Faults) error {
	if err := f.Validate(); err != nil {
		return err
	}
	s.faults.set(f)
	return nil
}

// Hold stops the next call that matches until its Held is released.
func (s *Server) Hold(hold Hold) *Held { return s.holds.place(hold) }

// Reset forgets all that calls have brought about (items, jobs, effects, counts, holds) and turns faults off. Folders,
// queues, releases and tokens stay.
func (s *Server) Reset() {
	s.holds.clear()
	s.faults.set(Faults{})
	s.calls.clear()
	for _, limit := range s.limits {
		limit.clear()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tenant.clear()
}

// now is Orchestrator's time.
func (s *Server) now() time.Time { return time.Now().UTC().Add(s.cfg.ClockSkew) }

// ServeHTTP answers a call to the API, to the identity server or to the control pages below /simulator/.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Date", s.now().Format(http.TimeFormat))
	target := s.locate(r.URL.Path)
	switch target.service {
	case serviceControl:
		s.pages.ServeHTTP(w, r)
	case serviceIdentity:
		s.calls.count("Token")
		s.serveToken(w, r)
	case serviceAPI:
		s.serveAPI(w, r, target)
	case serviceNone:
		// As on the cloud, where a path that leads nowhere shows the portal's page.
		s.writeHTML(w, http.StatusOK)
	}
}

// call is one call to the API on its way through the Server.
type call struct {
	r        *http.Request
	target   target
	op       operation
	folder   *folder
	argument string // what stood between the parentheses of the path
}

func (s *Server) serveAPI(w http.ResponseWriter, r *http.Request, target target) {
	op, argument, ok := findOperation(r.Method, target.path)
	if !ok {
		s.calls.count("Unknown")
		s.writeRefusal(w, &refusal{status: http.StatusNotFound, message: "No HTTP resource was found that matches the request."})
		return
	}
	s.calls.count(op.name)
	s.log.Debug("call", "operation", op.name)
	c := &call{r: r, target: target, op: op, argument: argument}
	if err := s.admit(c); err != nil {
		s.writeRefusal(w, err)
		return
	}
	if op.prepare != nil {
		s.serveWrite(w, c)
		return
	}
	s.serveRead(w, c)
}

// admit checks what comes before the operation itself: login, scope, folder.
func (s *Server) admit(c *call) *refusal {
	bearer, ok := s.tokens.check(bearerOf(c.r), time.Now(), s.cfg.PersonalAccessToken)
	if !ok {
		return errUnauthenticated
	}
	if !bearer.allows(c.op.scope) {
		return errForbidden
	}
	if c.op.folderless {
		return nil
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	f, err := s.tenant.folderOf(c.r.Header, s.cfg.UnknownFolderStatus)
	c.folder = f
	return err
}

func (s *Server) serveRead(w http.ResponseWriter, c *call) {
	if limit, limited := s.limits[c.op.name]; limited {
		if wait, ok := limit.admit(time.Now(), s.cfg.ListReadsPerMinute); !ok {
			s.throttle(w, wait)
			return
		}
	}
	fault := s.strike(c)
	if !s.alarms.pause(s.faults.latency()) {
		cut()
	}
	if fault.isBefore() {
		s.fail(w, fault)
		return
	}
	s.pauseAt(c, Before, neverCarries)
	s.mu.RLock()
	answer, err := c.op.read(s, c)
	s.mu.RUnlock()
	s.pauseAt(c, After, neverCarries)
	if fault != noFault {
		s.fail(w, fault)
		return
	}
	s.respond(w, c, answer, err)
}

// effect is a write call that has been found in order: what it does, under the Server's lock, and what it answers.
type effect struct {
	apply   func() (answer, *refusal)
	carries func(reference string) bool
}

func neverCarries(string) bool { return false }

func (s *Server) serveWrite(w http.ResponseWriter, c *call) {
	effect, err := c.op.prepare(s, c)
	if err != nil {
		s.writeRefusal(w, err)
		return
	}
	fault := s.strike(c)
	if !s.alarms.pause(s.faults.latency()) {
		cut()
	}
	if fault.isBefore() {
		s.fail(w, fault)
		return
	}
	if fault == Late {
		s.alarms.after(s.faults.current().LateBy, func() { _, _ = s.apply(effect) }) // nobody waits for the answer
		cut()
	}
	s.pauseAt(c, Before, effect.carries)
	answer, err := s.apply(effect)
	s.pauseAt(c, After, effect.carries)
	if fault != noFault {
		s.fail(w, fault)
		return
	}
	s.respond(w, c, answer, err)
}

func (s *Server) apply(e effect) (answer, *refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return e.apply()
}

// strike draws the fault of a call. A token that is new escapes ExpiredToken.
func (s *Server) strike(c *call) FaultKind {
	fault := s.faults.draw(c.op.prepare != nil)
	bearer := bearerOf(c.r)
	if fault == ExpiredToken && !s.tokens.strike(bearer) {
		fault = noFault
	}
	if fault != ExpiredToken {
		s.tokens.markSeen(bearer)
	}
	return fault
}

// pauseAt stops a call at a hold that waits for it. Whoever hangs up meanwhile gets no answer, and no effect either
// unless the hold says so.
func (s *Server) pauseAt(c *call, when HoldPoint, carries func(string) bool) {
	held := s.holds.claim(c.op.name, when, carries)
	if held == nil {
		return
	}
	gone := c.r.Context().Done()
	if held.hold.Outlives || when == After {
		gone = nil
	}
	select {
	case <-held.released:
	case <-gone:
		cut()
	case <-s.alarms.closing:
		cut()
	}
}

// cut ends a call without an answer: over TCP the connection is closed, through RoundTripper it is an error.
func cut() { panic(http.ErrAbortHandler) }

func (s *Server) fail(w http.ResponseWriter, fault FaultKind) {
	switch fault {
	case Throttle:
		s.throttle(w, s.faults.current().RetryAfter)
	case ErrorBefore, ErrorAfter:
		s.writeRefusal(w, &refusal{status: http.StatusInternalServerError, message: "An error has occurred."})
	case Unavailable:
		s.writeText(w, http.StatusServiceUnavailable, "no healthy upstream")
	case GatewayTimeoutAfter:
		s.writeText(w, http.StatusGatewayTimeout, "upstream request timeout")
	case HTML, HTMLBefore:
		s.writeHTML(w, http.StatusOK)
	case ExpiredToken:
		s.writeRefusal(w, errUnauthenticated)
	case CutBefore, CutAfter, Late, noFault:
		cut()
	}
}

func (s *Server) throttle(w http.ResponseWriter, wait time.Duration) {
	seconds := int(math.Ceil(wait.Seconds()))
	switch s.cfg.RetryAfterForm {
	case RetryAfterSeconds:
		w.Header().Set("Retry-After", strconv.Itoa(seconds))
	case RetryAfterDate:
		w.Header().Set("Retry-After", s.now().Add(time.Duration(seconds)*time.Second).Format(http.TimeFormat))
	case RetryAfterNone:
	}
	s.writeRefusal(w, &refusal{status: http.StatusTooManyRequests, message: "Too many requests. Try again later."})
}
