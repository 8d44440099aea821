package simulator

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// controlledHolds are the holds that were placed over HTTP, by the id that they were given.
type controlledHolds struct {
	mu   sync.Mutex
	last int
	held map[string]*Held
}

func (c *controlledHolds) add(held *Held) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held == nil {
		c.held = make(map[string]*Held)
	}
	c.last++
	id := strconv.Itoa(c.last)
	c.held[id] = held
	return id
}

func (c *controlledHolds) get(id string) (*Held, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	held, ok := c.held[id]
	return held, ok
}

func (c *controlledHolds) remove(id string) (*Held, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	held, ok := c.held[id]
	delete(c.held, id)
	return held, ok
}

// controlFunc answers a control call: a status with a body, or an error that is the caller's.
type controlFunc func(r *http.Request) (status int, body any, err error)

// controlPages routes the control API; the package's comment describes it.
func (s *Server) controlPages() http.Handler {
	mux := http.NewServeMux()
	for pattern, f := range map[string]controlFunc{
		"GET /simulator/{$}":                     s.controlIndex,
		"GET /simulator/effects":                 s.controlEffects,
		"GET /simulator/effects/counts":          s.controlCounts,
		"GET /simulator/calls":                   s.controlCalls,
		"GET /simulator/faults":                  s.controlFaults,
		"PUT /simulator/faults":                  s.controlSetFaults,
		"POST /simulator/holds":                  s.controlHold,
		"GET /simulator/holds/{id}":              s.controlHeld,
		"DELETE /simulator/holds/{id}":           s.controlRelease,
		"POST /simulator/folders":                s.controlAddFolder,
		"POST /simulator/folders/renumber":       s.controlRenumber,
		"POST /simulator/queues":                 s.controlAddQueue,
		"POST /simulator/releases":               s.controlAddRelease,
		"POST /simulator/robots":                 s.controlAddRobot,
		"POST /simulator/machines":               s.controlAddMachine,
		"POST /simulator/queueitems/{id}/finish": s.controlFinish,
		"GET /simulator/tokens":                  s.controlTokens,
		"POST /simulator/tokens/revoke":          s.controlRevoke,
		"GET /simulator/denied":                  s.controlDenied,
		"PUT /simulator/denied":                  s.controlSetDenied,
		"POST /simulator/reset":                  s.controlReset,
	} {
		mux.Handle(pattern, s.controlHandler(f))
	}
	return mux
}

var errNoSuchHold = errors.New("no such hold: give the id that POST /simulator/holds returned")

func (s *Server) controlHandler(f controlFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		status, body, err := f(r)
		switch {
		case errors.Is(err, errNoSuchHold):
			s.writeJSON(w, http.StatusNotFound, map[string]string{"error": err.Error()})
		case err != nil:
			s.writeJSON(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
		case body == nil:
			w.WriteHeader(status)
		default:
			s.writeJSON(w, status, body)
		}
	}
}

// decodeControl is strict, so that a misspelt member does not pass for a default.
func decodeControl(r *http.Request, v any) error {
	decoder := json.NewDecoder(io.LimitReader(r.Body, maxBody))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(v); err != nil {
		return fmt.Errorf("body: %w", err)
	}
	return nil
}

type controlIndexBody struct {
	Folders []controlFolder `json:"folders"`
	Effects int             `json:"effects"`
	Items   int             `json:"items"`
	Jobs    int             `json:"jobs"`
	Calls   map[string]int  `json:"calls"`
}

type controlFolder struct {
	ID       int64    `json:"id"`
	Key      string   `json:"key"`
	Path     string   `json:"path"`
	Queues   []string `json:"queues"`
	Releases []string `json:"releases"`
}

func (s *Server) controlIndex(*http.Request) (int, any, error) {
	body := controlIndexBody{Folders: []controlFolder{}, Calls: s.Calls()}
	s.mu.RLock()
	defer s.mu.RUnlock()
	body.Effects, body.Items, body.Jobs = len(s.tenant.effects), len(s.tenant.items.rows), len(s.tenant.jobs.rows)
	for _, f := range s.tenant.folders {
		entry := controlFolder{ID: f.id, Key: f.key.String(), Path: f.path, Queues: []string{}, Releases: []string{}}
		for _, q := range f.queues {
			entry.Queues = append(entry.Queues, q.Name)
		}
		for _, r := range f.releases {
			entry.Releases = append(entry.Releases, r.name)
		}
		body.Folders = append(body.Folders, entry)
	}
	return http.StatusOK, body, nil
}

func (s *Server) controlEffects(r *http.Request) (int, any, error) {
	effects := []Effect{}
	if reference := r.URL.Query().Get("reference"); reference != "" {
		effects = append(effects, s.EffectsOf(reference)...)
	} else {
		effects = append(effects, s.Effects()...)
	}
	return http.StatusOK, map[string]any{"count": len(effects), "effects": effects}, nil
}

func (s *Server) controlCounts(*http.Request) (int, any, error) {
	return http.StatusOK, s.EffectCounts(), nil
}

func (s *Server) controlCalls(*http.Request) (int, any, error) { return http.StatusOK, s.Calls(), nil }

// faultsBody is Faults with durations as Go writes them: "250ms".
type faultsBody struct {
	Rate          float64     `json:"rate"`
	ReadRate      float64     `json:"readRate"`
	TokenRate     float64     `json:"tokenRate"`
	Kinds         []FaultKind `json:"kinds"`
	Latency       duration    `json:"latency"`
	LatencyJitter duration    `json:"latencyJitter"`
	LateBy        duration    `json:"lateBy"`
	RetryAfter    duration    `json:"retryAfter"`
}

type duration time.Duration

func (d duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

func (d *duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	*d = duration(parsed)
	return err //nolint:wrapcheck // the decoder wraps it, and it names the text
}

func (s *Server) controlFaults(*http.Request) (int, any, error) {
	f := s.faults.current()
	return http.StatusOK, faultsBody{
		Rate: f.Rate, ReadRate: f.ReadRate, TokenRate: f.TokenRate, Kinds: f.Kinds, Latency: duration(f.Latency),
		LatencyJitter: duration(f.LatencyJitter), LateBy: duration(f.LateBy), RetryAfter: duration(f.RetryAfter),
	}, nil
}

func (s *Server) controlSetFaults(r *http.Request) (int, any, error) {
	var b faultsBody
	if err := decodeControl(r, &b); err != nil {
		return 0, nil, err
	}
	return http.StatusNoContent, nil, s.SetFaults(Faults{
		Rate: b.Rate, ReadRate: b.ReadRate, TokenRate: b.TokenRate, Kinds: b.Kinds, Latency: time.Duration(b.Latency),
		LatencyJitter: time.Duration(b.LatencyJitter), LateBy: time.Duration(b.LateBy), RetryAfter: time.Duration(b.RetryAfter),
	})
}

func (s *Server) controlHold(r *http.Request) (int, any, error) {
	var hold Hold
	if err := decodeControl(r, &hold); err != nil {
		return 0, nil, err
	}
	if err := hold.Validate(); err != nil {
		return 0, nil, err
	}
	return http.StatusCreated, map[string]string{"id": s.stays.add(s.Hold(hold))}, nil
}

// maxWait keeps a control call from staying open for ever.
const maxWait = time.Minute

func (s *Server) controlHeld(r *http.Request) (int, any, error) {
	held, ok := s.stays.get(r.PathValue("id"))
	if !ok {
		return 0, nil, errNoSuchHold
	}
	wait, err := time.ParseDuration(cmp.Or(r.URL.Query().Get("wait"), "0s"))
	if err != nil {
		return 0, nil, fmt.Errorf("wait: %w", err)
	}
	arrived := s.await(r.Context(), held.Arrived(), min(wait, maxWait))
	return http.StatusOK, map[string]bool{"arrived": arrived}, nil
}

// await waits until a channel is closed, and says whether it was in time.
func (s *Server) await(ctx context.Context, closed <-chan struct{}, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-closed:
	case <-timer.C:
	case <-ctx.Done():
	case <-s.alarms.closing:
	}
	select {
	case <-closed:
		return true
	default:
		return false
	}
}

func (s *Server) controlRelease(r *http.Request) (int, any, error) {
	held, ok := s.stays.remove(r.PathValue("id"))
	if !ok {
		return 0, nil, errNoSuchHold
	}
	held.Release()
	return http.StatusNoContent, nil, nil
}

func (s *Server) controlAddFolder(r *http.Request) (int, any, error) {
	var b struct {
		Path string `json:"path"`
	}
	if err := decodeControl(r, &b); err != nil {
		return 0, nil, err
	}
	if b.Path == "" {
		return 0, nil, errors.New(`path is empty: give one, as "Finance/Invoices"`)
	}
	f := s.AddFolder(b.Path)
	return http.StatusCreated, map[string]any{"id": f.ID, "key": f.Key, "path": f.Path}, nil
}

func (s *Server) controlRenumber(*http.Request) (int, any, error) {
	s.RenumberFolders()
	return http.StatusNoContent, nil, nil
}

func (s *Server) controlAddQueue(r *http.Request) (int, any, error) {
	var b struct {
		Folder     string          `json:"folder"`
		Name       string          `json:"name"`
		Unique     bool            `json:"unique"`
		MaxRetries int             `json:"maxRetries"`
		Schema     json.RawMessage `json:"schema"`
	}
	if err := decodeControl(r, &b); err != nil {
		return 0, nil, err
	}
	id, err := s.AddQueue(b.Folder, Queue{Name: b.Name, Unique: b.Unique, MaxRetries: b.MaxRetries, SchemaJSON: string(b.Schema)})
	return http.StatusCreated, map[string]int64{"id": id}, err
}

func (s *Server) controlAddRelease(r *http.Request) (int, any, error) {
	var b struct {
		Folder         string     `json:"folder"`
		Name           string     `json:"name"`
		ProcessKey     string     `json:"processKey"`
		Version        string     `json:"version"`
		InputArguments string     `json:"inputArguments"`
		Inputs         []Argument `json:"inputs"`
		Outputs        []Argument `json:"outputs"`
		Refuses        *struct {
			Status  int    `json:"status"`
			Code    int    `json:"code"`
			Message string `json:"message"`
		} `json:"refuses"`
	}
	if err := decodeControl(r, &b); err != nil {
		return 0, nil, err
	}
	details := Release{ProcessKey: b.ProcessKey, Version: b.Version, InputArguments: b.InputArguments, Inputs: b.Inputs, Outputs: b.Outputs}
	if b.Refuses != nil {
		details.Refuses = new(StartError(*b.Refuses))
	}
	id, err := s.AddRelease(b.Folder, b.Name, details)
	return http.StatusCreated, map[string]int64{"id": id}, err
}

func (s *Server) controlFinish(r *http.Request) (int, any, error) {
	id, err := parseID(r.PathValue("id"))
	if err != nil {
		return 0, nil, fmt.Errorf("id of the queue item: %w", err)
	}
	var b struct {
		Status    string          `json:"status"`
		Output    json.RawMessage `json:"output"`
		Exception *struct {
			Type    string `json:"type"`
			Reason  string `json:"reason"`
			Details string `json:"details"`
		} `json:"exception"`
	}
	if err := decodeControl(r, &b); err != nil {
		return 0, nil, err
	}
	result := Result{Status: b.Status, Output: b.Output}
	if b.Exception != nil {
		result.Exception = new(Exception(*b.Exception))
	}
	successor, err := s.FinishQueueItem(id, result)
	return http.StatusOK, map[string]int64{"successor": successor}, err
}

func (s *Server) controlReset(*http.Request) (int, any, error) {
	s.Reset()
	return http.StatusNoContent, nil, nil
}
