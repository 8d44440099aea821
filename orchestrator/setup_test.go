package orchestrator

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testBase = "https://cloud.uipath.com/acme/prod/orchestrator_"

var testFolder = Folder{ID: 7, Key: "db4528cc-7a3d-44f0-9df9-781fc07e9d8d", FullyQualifiedName: "Finance"}

// handlerTransport serves requests in process, so that a bubble's clock can run.
type handlerTransport struct{ handler http.Handler }

func (t handlerTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	done := make(chan *http.Response, 1)
	go func() {
		done <- serveHere(t.handler, req) //nolint:bodyclose // the client closes it
	}()
	select {
	case <-req.Context().Done():
		return nil, req.Context().Err()
	case resp := <-done:
		return resp, nil
	}
}

// serveHere serves a request within the caller's goroutine.
func serveHere(handler http.Handler, req *http.Request) *http.Response {
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, req)
	return recorder.Result()
}

// dialError is what a refused connection looks like.
func dialError() error {
	return &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
}

// roundTripper is a function as a transport.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// newTestClient logs in with a fixed token and never repeats; change tells what
// else a test needs.
func newTestClient(t *testing.T, handler http.HandlerFunc, change ...func(*Config)) *Client {
	t.Helper()
	cfg := Config{
		BaseURL:   testBase,
		Login:     PersonalAccessToken("rt_test"),
		Transport: handlerTransport{handler},
		RetryFor:  -1,
	}
	for _, f := range change {
		f(&cfg)
	}
	client, err := New(cfg)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return client
}

// reply writes an answer the way Orchestrator does.
func reply(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json; odata.metadata=minimal; odata.streaming=true")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

func replyHTML(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

// answers gives a handler that always answers the same.
func answers(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { reply(w, status, body) }
}

func newAnswer(status int, contentType, body string) answer {
	a := answer{status: status, header: http.Header{}, body: []byte(body)}
	if contentType != "" {
		a.header.Set("Content-Type", contentType)
	}
	return a
}

func bodyOf(t *testing.T, r *http.Request) map[string]any {
	t.Helper()
	var body map[string]any
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		t.Errorf("request body is not JSON: %v", err)
	}
	return body
}

// asError fails the test unless err is an *Error of the kind wanted.
func asError(t *testing.T, err error, want Kind) *Error {
	t.Helper()
	e, ok := err.(*Error) //nolint:errorlint // calls return it unwrapped
	if !ok {
		t.Fatalf("got %T %v, want an *Error of kind %s", err, err, want)
	}
	if e.Kind != want {
		t.Fatalf("got kind %s (%v), want %s", e.Kind, e, want)
	}
	return e
}

// wantKind is asError for a test that looks no further.
func wantKind(t *testing.T, err error, want Kind) {
	t.Helper()
	_ = asError(t, err, want)
}

func wantText(t *testing.T, got string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(got, part) {
			t.Errorf("got %q, want it to contain %q", got, part)
		}
	}
}
