package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// stub answers what the three sides call of Orchestrator, and does nothing
// that costs time but count: every call by its operation, and every Reference
// and BatchExecutionKey it is given. Any queue and any process exists.
//
// Other tenants have a stub each, so that nothing of theirs is counted here.
type stub struct {
	latency time.Duration    // of calls that write
	denied  bool             // no login is accepted
	beside  map[string]*stub // other tenants, by their organization

	mu         sync.Mutex
	calls      map[string]uint64
	references map[string]uint32
	batchKeys  map[string]uint32
	effects    uint64
}

func newStub(latency time.Duration) *stub {
	return &stub{
		latency: latency, calls: make(map[string]uint64),
		references: make(map[string]uint32), batchKeys: make(map[string]uint32),
	}
}

// addBeside adds a tenant whose organization has the same name: what tells
// logins apart is the organization alone.
func (s *stub) addBeside(tenant, temper string) error {
	other := newStub(0)
	if other.denied = temper == denies; !other.denied {
		var err error
		if other.latency, err = time.ParseDuration(temper); err != nil {
			return fmt.Errorf("stub: tenant %s: %w", tenant, err)
		}
	}
	if s.beside == nil {
		s.beside = make(map[string]*stub)
	}
	s.beside[tenant] = other
	return nil
}

// stubCounts is what the stub tells of itself.
type stubCounts struct {
	Calls    map[string]uint64 `json:"calls"`
	Effects  uint64            `json:"effects"`
	Distinct uint64            `json:"distinct"` // References
	// BatchKeys are the BatchExecutionKeys that differ; 0 where there were only
	// items.
	BatchKeys uint64 `json:"batchKeys"`
	// Beside are the calls for each other tenant, which are in none of the
	// others.
	Beside map[string]uint64 `json:"beside,omitempty"`
}

// allCalls sums the calls up.
func (c stubCounts) allCalls() uint64 {
	sum := uint64(0)
	for _, n := range c.Calls {
		sum += n
	}
	return sum
}

// The operations, by how their paths end.
const (
	opToken     = "/connect/token"
	opBulk      = ".BulkAddQueueItems"
	opItem      = ".AddQueueItem"
	opStart     = ".StartJobs"
	opFolders   = "/odata/Folders"
	opQueues    = "/odata/QueueDefinitions"
	opReleases  = "/odata/Releases"
	pathCounts  = "/bench/counts"
	pathEffects = "/bench/references"
)

var operations = []string{opBulk, opStart, opItem, opToken, opFolders, opQueues, opReleases}

func operationOf(path string) string {
	for _, op := range operations {
		if strings.HasSuffix(path, op) {
			return op
		}
	}
	return "other"
}

func (s *stub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case pathCounts:
		s.tellCounts(w)
		return
	case pathEffects:
		s.tellReferences(w)
		return
	}
	if len(s.beside) > 0 {
		organization, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		if other := s.beside[organization]; other != nil {
			other.serve(w, r)
			return
		}
	}
	s.serve(w, r)
}

// serve answers a call for the tenant.
func (s *stub) serve(w http.ResponseWriter, r *http.Request) {
	op := operationOf(r.URL.Path)
	if s.denied {
		s.count(op)
		answer(w, http.StatusBadRequest, `{"error":"invalid_client"}`)
		return
	}
	switch op {
	case opBulk, opItem, opStart:
		s.write(w, r, op)
	default:
		s.count(op)
		s.read(w, r, op)
	}
}

func (s *stub) count(op string) {
	s.mu.Lock()
	s.calls[op]++
	s.mu.Unlock()
}

// read answers the calls by which a side finds its way.
func (s *stub) read(w http.ResponseWriter, r *http.Request, op string) {
	const id = `"Id":1,"Key":"8b6e3ac8-4f6c-4c0e-9d3b-0f2a5b1c7d01"`
	name, _ := json.Marshal(filteredName(r.URL.Query())) // text always encodes
	switch op {
	case opToken:
		answer(w, http.StatusOK, `{"access_token":"stub","token_type":"Bearer","expires_in":3600}`)
	case opFolders:
		answer(w, http.StatusOK, `{"@odata.count":1,"value":[{`+id+`,"DisplayName":"Shared","FullyQualifiedName":"Shared"}]}`)
	case opQueues, opReleases:
		answer(w, http.StatusOK, `{"@odata.count":1,"value":[{`+id+`,"Name":`+string(name)+`}]}`)
	default:
		answer(w, http.StatusNotFound, `{"message":"The stub has no such operation.","errorCode":1002}`)
	}
}

// filteredName reads the name off a filter such as Name eq 'Invoices'.
func filteredName(q url.Values) string {
	_, name, _ := strings.Cut(q.Get("$filter"), "'")
	name, _, _ = strings.Cut(name, "'")
	return name
}

var bodies = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// write notes what the call brings about, which is then done, latency or not.
func (s *stub) write(w http.ResponseWriter, r *http.Request, op string) {
	body, _ := bodies.Get().(*bytes.Buffer)
	defer bodies.Put(body)
	body.Reset()
	body.Grow(int(max(r.ContentLength, 0)) + bytes.MinRead)
	if _, err := body.ReadFrom(r.Body); err != nil {
		answer(w, http.StatusBadRequest, `{"message":"The body broke off."}`)
		return
	}
	first := s.note(op, body.Bytes())
	if s.latency > 0 {
		delay := time.NewTimer(s.latency)
		defer delay.Stop()
		select {
		case <-delay.C:
		case <-r.Context().Done():
			return
		}
	}
	switch op {
	case opBulk:
		answer(w, http.StatusOK, `{"Success":true,"Message":null,"FailedItems":[]}`)
	case opItem:
		answer(w, http.StatusCreated, `{"Id":`+strconv.FormatUint(first, 10)+`,"Key":"8b6e3ac8-4f6c-4c0e-9d3b-0f2a5b1c7d02","Status":"New"}`)
	case opStart:
		answer(w, http.StatusCreated, `{"value":[{"Id":`+strconv.FormatUint(first, 10)+`,"Key":"8b6e3ac8-4f6c-4c0e-9d3b-0f2a5b1c7d03","State":"Pending"}]}`)
	}
}

var (
	referenceMember = []byte(`"Reference":"`)
	batchKeyMember  = []byte(`"BatchExecutionKey":"`)
)

// note counts a call with its effects, and gives the number of the last.
func (s *stub) note(op string, body []byte) uint64 {
	var references []string
	for rest := body; ; {
		var reference string
		var ok bool
		if reference, rest, ok = nextText(rest, referenceMember); !ok {
			break
		}
		references = append(references, reference)
	}
	batchKey, _, hasBatchKey := nextText(body, batchKeyMember)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[op]++
	for _, reference := range references {
		s.references[reference]++
	}
	s.effects += uint64(len(references))
	if hasBatchKey && op == opStart {
		s.batchKeys[batchKey]++
	}
	return s.effects
}

// nextText finds the next member of that name whose value is a text without
// escapes.
func nextText(data, member []byte) (value string, rest []byte, ok bool) {
	i := bytes.Index(data, member)
	if i < 0 {
		return "", nil, false
	}
	data = data[i+len(member):]
	end := bytes.IndexByte(data, '"')
	if end < 0 {
		return "", nil, false
	}
	return string(data[:end]), data[end:], true
}

func answer(w http.ResponseWriter, status int, body string) {
	header := w.Header()
	header["Content-Type"] = jsonType
	header["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body) // whoever asked has gone
}

var jsonType = []string{"application/json"}

func (s *stub) tellCounts(w http.ResponseWriter) {
	var beside map[string]uint64
	for tenant, other := range s.beside {
		if beside == nil {
			beside = make(map[string]uint64, len(s.beside))
		}
		beside[tenant] = other.allCalls()
	}
	s.mu.Lock()
	counts := stubCounts{
		Calls: s.calls, Effects: s.effects,
		Distinct: uint64(len(s.references)), BatchKeys: uint64(len(s.batchKeys)), Beside: beside,
	}
	body, err := json.Marshal(counts)
	s.mu.Unlock()
	if err != nil {
		answer(w, http.StatusInternalServerError, `{}`)
		return
	}
	answer(w, http.StatusOK, string(body))
}

func (s *stub) allCalls() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return stubCounts{Calls: s.calls}.allCalls()
}

// tellReferences gives a line for each Reference, with how often it came.
func (s *stub) tellReferences(w http.ResponseWriter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var line []byte
	for reference, n := range s.references {
		line = append(append(line[:0], reference...), ' ')
		line = append(strconv.AppendUint(line, uint64(n), 10), '\n')
		if _, err := w.Write(line); err != nil {
			return // whoever asked has gone
		}
	}
}

// serveStub answers on an address until the context ends.
func serveStub(ctx context.Context, address string, s *stub) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("stub: %w", err)
	}
	server := &http.Server{Handler: s, ReadHeaderTimeout: 5 * time.Second}
	stopped := context.AfterFunc(ctx, func() { _ = server.Close() }) // nobody waits for an answer now
	defer stopped()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("stub: %w", err)
	}
	return nil
}
