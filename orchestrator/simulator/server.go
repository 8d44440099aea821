package simulator

import (
	"errors"
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
	cfg         Config
	log         *slog.Logger
	alarms      *alarms
	mint        *mint
	tokens      *tokens
	faults      *faultPlan
	holds       holdBoard
	calls       callCounts
	limits      map[string]*listLimit // by operation
	permissions permissions
	pages       http.Handler // the control API
	stays       controlledHolds

	mu     sync.RWMutex
	tenant tenant // guarded by mu
}

// New returns a running Server without folders; AddFolder, AddQueue and AddRelease fill it. It panics on Faults that
// do not pass their Validate, and on Denied operations that do not exist.
func New(cfg Config) *Server {
	if err := errors.Join(cfg.Faults.Validate(), validateOperations(cfg.Denied)); err != nil {
		panic("simulator: " + err.Error())
	}
	cfg = cfg.withDefaults()
	s := &Server{
		cfg:    cfg,
		log:    cfg.Logger,
		alarms: newAlarms(),
		mint:   newMint(cfg.Seed),
		faults: newFaultPlan(cfg.Seed, cfg.Faults),
		limits: map[string]*listLimit{"Jobs": {}, "QueueItems": {}},
	}
	s.tokens = newTokens(s.mint)
	s.permissions.set(cfg.Denied)
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

// Reset forgets all that calls have brought about (items, jobs, effects, counts, holds), turns faults off and denies what
// Config does. Folders, queues, releases and tokens stay.
func (s *Server) Reset() {
	s.holds.clear()
	s.faults.set(Faults{})
	s.calls.clear()
	s.tokens.clearCounts()
	s.permissions.set(s.cfg.Denied)
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
		s.serveIdentity(w, r, target)
	case serviceAPI:
		s.serveAPI(w, r, target)
	case serviceNone:
		// As on the cloud, where a path that leads nowhere shows the portal's page.
		s.writeHTML(w)
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
		s.writeHTML(w)
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
