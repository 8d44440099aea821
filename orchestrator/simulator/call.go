package simulator

import (
	"cmp"
	"net/http"
	"time"
)

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
		s.writeRefusal(w, errNoResource)
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

// admit checks what comes before the operation itself: login, organisation, scope, permission, folder.
func (s *Server) admit(c *call) *refusal {
	bearer, ok := s.tokens.check(bearerOf(c.r), time.Now(), s.cfg.PersonalAccessToken)
	if !ok || !bearer.login.isFor(cmp.Or(c.target.org, s.cfg.Org)) {
		return errUnauthenticated
	}
	if !bearer.login.allows(c.op.scope) || s.permissions.deny(c.op.name) {
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
	s.pauseAt(c.r, c.op.name, Before, neverCarries)
	s.mu.RLock()
	answer, err := c.op.read(s, c)
	s.mu.RUnlock()
	s.pauseAt(c.r, c.op.name, After, neverCarries)
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
	if answer, err, ok := s.carryOut(w, c.r, c.op.name, fault, effect); ok {
		s.respond(w, c, answer, err)
	}
}

// carryOut brings a call that is in order past its fault and the holds to its effect. Where the fault is the answer it
// reports false.
func (s *Server) carryOut(w http.ResponseWriter, r *http.Request, operation string, fault FaultKind, e effect) (answer, *refusal, bool) {
	if fault.isBefore() {
		s.fail(w, fault)
		return answer{}, nil, false
	}
	if fault == Late {
		s.alarms.after(s.faults.current().LateBy, func() { _, _ = s.apply(e) }) // nobody waits for the answer
		cut()
	}
	s.pauseAt(r, operation, Before, e.carries)
	result, err := s.apply(e)
	s.pauseAt(r, operation, After, e.carries)
	if fault != noFault {
		s.fail(w, fault)
		return answer{}, nil, false
	}
	return result, err, true
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
func (s *Server) pauseAt(r *http.Request, operation string, when HoldPoint, carries func(string) bool) {
	held := s.holds.claim(operation, when, carries)
	if held == nil {
		return
	}
	gone := r.Context().Done()
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
