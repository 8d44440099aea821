package simulator

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestRoundTripperTraces(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		kinds []FaultKind
		want  []string
	}{
		{[]FaultKind{Throttle}, []string{"got conn", "headers", "request", "answer"}},
		{[]FaultKind{CutAfter}, []string{"got conn", "headers", "request"}},
	} {
		_, c := setup(t, Config{Faults: Faults{Rate: 1, Kinds: tt.kinds}})
		var got []string
		note := func(what string) { got = append(got, what) }
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
			GetConn:              func(string) { got = nil },
			GotConn:              func(httptrace.GotConnInfo) { note("got conn") },
			WroteHeaders:         func() { note("headers") },
			WroteRequest:         func(httptrace.WroteRequestInfo) { note("request") },
			GotFirstResponseByte: func() { note("answer") },
		})
		_, err := c.try(ctx, http.MethodPost, addPath, item("Invoices", "R"))
		if !slices.Equal(got, tt.want) {
			t.Errorf("%v: got %v and %v, want %v", tt.kinds, got, err, tt.want)
		}
	}
}

func TestRoundTripperSendsNothingWithoutContext(t *testing.T) {
	t.Parallel()
	s, c := setup(t, Config{})
	cause := errors.New("no time")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, testBase+"/odata/Folders", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.RoundTripper().RoundTrip(r); !errors.Is(err, cause) { //nolint:bodyclose // there is no answer
		t.Errorf("got %v, want the context's cause", err)
	}
	if got := len(s.Calls()); got != 0 {
		t.Errorf("calls: got %d, want none", got)
	}
	_, err = c.http.Post(testBase+addPath, "application/json", iotestReader{cause}) //nolint:noctx,bodyclose // there is no answer
	if !errors.Is(err, cause) {
		t.Errorf("a body that cannot be read: got %v, want its error", err)
	}
}

type iotestReader struct{ err error }

func (r iotestReader) Read([]byte) (int, error) { return 0, r.err }

// TestOverTCP makes the calls that differ where there is a real connection.
func TestOverTCP(t *testing.T) {
	t.Parallel()
	s, _ := setup(t, Config{})
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	c := newClient(t, s)
	c.http = server.Client()

	for _, c.base = range []string{server.URL, server.URL + "/acme/prod/orchestrator_"} {
		x := c.get(http.StatusOK, "/odata/Folders")
		if want := `"@odata.context":"` + c.base + `/odata/$metadata#Folders"`; !strings.Contains(string(x.body), want) {
			t.Errorf("got %s, want %s", x.body, want)
		}
		if got := x.answer.Get("Content-Type"); !strings.HasPrefix(got, "application/json; odata.metadata=minimal") {
			t.Errorf("Content-Type: got %s", got)
		}
	}
	if err := s.SetFaults(Faults{Rate: 1, Kinds: []FaultKind{CutAfter}}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.try(t.Context(), http.MethodPost, addPath, item("Invoices", "R")); !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("cut connection: got %v, want its end", err)
	}
	if err := s.SetFaults(Faults{}); err != nil {
		t.Fatal(err)
	}
	// A caller that hangs up is seen: its held call dies without an effect.
	held := s.Hold(Hold{Operation: "AddQueueItem", Reference: "S"})
	ctx, hangUp := context.WithCancel(t.Context())
	go func() {
		<-held.Arrived()
		hangUp()
	}()
	if _, err := c.try(ctx, http.MethodPost, addPath, item("Invoices", "S")); !errors.Is(err, context.Canceled) {
		t.Errorf("held call: got %v, want the caller's end", err)
	}
	server.Close() // waits until the call is over
	if got := references(s); !slices.Equal(got, []string{"R"}) {
		t.Errorf("effects: got %v, want R alone", got)
	}
}

func TestUnknownPaths(t *testing.T) {
	t.Parallel()
	_, c := setup(t, Config{Tenant: "prod"})
	for _, path := range []string{
		"/odata/Nothing", "/odata/QueueItems(1", "/odata/QueueItems()", "/odata/Jobs(1)/Nothing", "/api/Nothing",
	} {
		c.get(http.StatusNotFound, path)
	}
	c.do(http.StatusNotFound, http.MethodPut, "/odata/Jobs", nil)
	for _, base := range []string{"https://orchestrator.test/acme/other/orchestrator_", "https://orchestrator.test/acme/orchestrator_", "https://orchestrator.test/acme"} {
		c.base = base
		if x := c.get(http.StatusOK, "/odata/Folders"); !strings.HasPrefix(x.answer.Get("Content-Type"), "text/html") {
			t.Errorf("%s: got %s, want an HTML page", base, x.answer.Get("Content-Type"))
		}
	}
}

// TestCloseLeavesNothing closes a Server in the middle of everything; the bubble fails if a goroutine stays.
func TestCloseLeavesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, c := setup(t, Config{
			Robots: Robots{Count: 1, JobTime: time.Hour},
			Faults: Faults{Rate: 0.5, Latency: time.Minute, LateBy: time.Hour},
		})
		for i := range 20 {
			go func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*10*time.Second)
				defer cancel()
				_, _ = c.try(ctx, http.MethodPost, startPath, start(nil)) // however it ends
			}()
		}
		time.Sleep(90 * time.Second)
		s.Close()
		s.Close()
	})
}
