package orchestrator

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
)

func TestConfigFaultsNameFieldValueAndMend(t *testing.T) {
	t.Parallel()
	good := func() Config { return Config{BaseURL: testBase, Login: PersonalAccessToken("rt_x")} }
	tests := map[string]struct {
		change func(*Config)
		want   []string
	}{
		"empty":               {func(c *Config) { *c = Config{} }, []string{`BaseURL "" is no web address`, "no Login: give"}},
		"no scheme":           {func(c *Config) { c.BaseURL = "cloud.uipath.com/a/b/orchestrator_" }, []string{"is no web address: give one like"}},
		"other scheme":        {func(c *Config) { c.BaseURL = "ftp://host" }, []string{`BaseURL "ftp://host" is no web address`}},
		"user and query":      {func(c *Config) { c.BaseURL = "https://me:pw@host?key=abc" }, []string{`"https://…@host" holds more than host and path`}},
		"odata":               {func(c *Config) { c.BaseURL = "https://host/odata/" }, []string{"ends in /odata: leave that off"}},
		"cloud, too short":    {func(c *Config) { c.BaseURL = "https://cloud.uipath.com/org/tenant" }, []string{"org/tenant/orchestrator_"}},
		"retired":             {func(c *Config) { c.BaseURL = "https://platform.uipath.com/a/b" }, []string{"retired"}},
		"tenant":              {func(c *Config) { c.Tenant = "a\r\nX: y" }, []string{`line break or control character in Tenant "a\r\nX: y"`}},
		"tenant with a bell":  {func(c *Config) { c.Tenant = "a\a" }, []string{`line break or control character in Tenant "a\a"`}},
		"timeout":             {func(c *Config) { c.Timeout = -time.Second }, []string{"negative Timeout -1s: give"}},
		"roots and transport": {func(c *Config) { c.RootCAs, c.Transport = x509.NewCertPool(), http.DefaultTransport }, []string{"both Transport and RootCAs"}},
		"credentials": {
			func(c *Config) { c.Login = ClientCredentials{Scopes: []string{"offline_access"}} },
			[]string{"empty ClientID: give", "empty ClientSecret: give", `"offline_access" in Scopes: leave it out`},
		},
		"token url":      {func(c *Config) { c.BaseURL = "https://host/x"; c.Login = testCredentials }, []string{"give the address that ends in /connect/token"}},
		"token":          {func(c *Config) { c.Login = PersonalAccessToken("") }, []string{"empty PersonalAccessToken"}},
		"token and more": {func(c *Config) { c.Login = PersonalAccessToken("rt_x\n") }, []string{"give the token alone"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := good()
			test.change(&cfg)
			_, err := New(cfg)
			wantText(t, fmt.Sprint(err), append(test.want, "orchestrator configuration: ")...)
			if strings.Contains(fmt.Sprint(err), "pw") || strings.Contains(fmt.Sprint(err), "abc") {
				t.Errorf("a secret is in %q", err)
			}
		})
	}
	if _, err := New(good()); err != nil {
		t.Errorf("good configuration: %v", err)
	}
}

func TestRequestHeadersAndAddress(t *testing.T) {
	t.Parallel()
	var seen []*http.Request
	client := newTestClient(t, func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r)
		reply(w, 200, `{"Id":5}`)
	}, func(c *Config) { c.Tenant, c.BaseURL = "Default", testBase+"/" })
	if _, err := client.Job(t.Context(), testFolder, 5); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Job(t.Context(), Folder{}, 5); err != nil {
		t.Fatal(err)
	}
	if got, want := seen[0].URL.String(), testBase+"/odata/Jobs(5)"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for header, want := range map[string]string{
		"Accept": "application/json", "Authorization": "Bearer rt_test", "User-Agent": "waybill/devel",
		"X-UIPATH-TenantName": "Default", "X-UIPATH-OrganizationUnitId": "7",
	} {
		if got := seen[0].Header.Get(header); got != want {
			t.Errorf("%s: got %q, want %q", header, got, want)
		}
	}
	if _, ok := seen[1].Header["X-Uipath-Organizationunitid"]; ok {
		t.Error("a call without folder sends a folder header")
	}
}

func TestNonsenseAnswers(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		answer func(http.ResponseWriter)
		want   string
	}{
		"html":      {func(w http.ResponseWriter) { replyHTML(w, 200, htmlLogin) }, "200 OK with text/html instead of JSON"},
		"no body":   {func(w http.ResponseWriter) { w.WriteHeader(http.StatusNoContent) }, "204 No Content with an empty body"},
		"no member": {func(w http.ResponseWriter) { reply(w, 201, `{}`) }, "201 Created with JSON that lacks"},
		"redirect": {func(w http.ResponseWriter) {
			w.Header().Set("Location", "https://other.example/login?token=abc")
			w.WriteHeader(http.StatusTemporaryRedirect)
		}, "307 Temporary Redirect to https://other.example/login instead of an answer"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var calls atomic.Int32
			client := newTestClient(t, func(w http.ResponseWriter, _ *http.Request) {
				calls.Add(1)
				test.answer(w)
			}, func(c *Config) { c.RetryFor = time.Hour })
			_, err := client.StartJobs(t.Context(), testFolder, StartInfo{ReleaseKey: "r"})
			wantText(t, asError(t, err, Uncertain).Error(), "start jobs: "+test.want)
			_, err = client.AddQueueItem(t.Context(), testFolder, QueueItemData{Name: "q"})
			wantText(t, asError(t, err, Uncertain).Error(), "add queue item: "+test.want)
			_, err = client.Job(t.Context(), testFolder, 5)
			wantText(t, asError(t, err, Transient).Error(), "get job: "+test.want)
			if calls.Load() != 3 {
				t.Errorf("got %d calls, want 3: a moment's wait mends none of these", calls.Load())
			}
		})
	}
}

// TestWhatWasSent holds the line between "surely not done" and "may be done"
// against a real network connection.
func TestWhatWasSent(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		serve  func(net.Conn)
		listen bool
		want   Kind
	}{
		"nobody listens":          {listen: false, want: Transient},
		"cut after the request":   {listen: true, serve: func(c net.Conn) { readRequest(c); _ = c.Close() }, want: Uncertain},
		"answer that is not HTTP": {listen: true, serve: func(c net.Conn) { readRequest(c); _, _ = io.WriteString(c, "hello\n\n"); _ = c.Close() }, want: Uncertain},
		"answer that breaks off": {listen: true, serve: func(c net.Conn) {
			readRequest(c)
			_, _ = io.WriteString(c, "HTTP/1.1 201 Created\r\nContent-Length: 99\r\n\r\n{")
			_ = c.Close()
		}, want: Uncertain},
		"error that breaks off": {listen: true, serve: func(c net.Conn) {
			readRequest(c)
			_, _ = io.WriteString(c, "HTTP/1.1 409 Conflict\r\nContent-Length: 99\r\n\r\n{")
			_ = c.Close()
		}, want: Uncertain},
		"answers after the timeout": {listen: true, serve: func(c net.Conn) { readRequest(c); _, _ = io.Copy(io.Discard, c); _ = c.Close() }, want: Uncertain},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address := serve(t, test.listen, test.serve)
			client, err := New(Config{
				BaseURL: "http://" + address, Login: PersonalAccessToken("rt_x"), RetryFor: -1, Timeout: 300 * time.Millisecond,
			})
			if err != nil {
				t.Fatal(err)
			}
			defer client.CloseIdleConnections()
			_, err = client.StartJobs(t.Context(), testFolder, StartInfo{ReleaseKey: "r"})
			e := asError(t, err, test.want)
			if strings.Contains(e.Error(), "http://") {
				t.Errorf("the address is in %q", e)
			}
			_, err = client.Job(t.Context(), testFolder, 5)
			wantKind(t, err, Transient)
		})
	}
}

func readRequest(c net.Conn) {
	req, err := http.ReadRequest(bufio.NewReader(c))
	if err == nil {
		_, _ = io.Copy(io.Discard, req.Body)
	}
}

// serve accepts connections until the test ends, or gives an address on which
// nobody listens.
func serve(t *testing.T, listen bool, handle func(net.Conn)) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if !listen {
		_ = listener.Close()
		return listener.Addr().String()
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go handle(conn)
		}
	}()
	t.Cleanup(func() {
		_ = listener.Close()
		<-done
	})
	return listener.Addr().String()
}

func TestTLSHandshakeFailureIsSurelyNotDone(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(answers(201, `{}`))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	client, err := New(Config{BaseURL: server.URL, Login: PersonalAccessToken("rt_x"), RetryFor: -1})
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.StartJobs(t.Context(), testFolder, StartInfo{ReleaseKey: "r"})
	wantText(t, asError(t, err, Transient).Error(), "certificate")
}

func TestOwnTransportSpeaksHTTP2AndTrustsRootCAs(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Proto != "HTTP/2.0" {
			t.Errorf("got %s", r.Proto)
		}
		reply(w, 200, `{"Id":5}`)
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	client, err := New(Config{BaseURL: server.URL, Login: PersonalAccessToken("rt_x"), RootCAs: roots})
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseIdleConnections()
	if _, err := client.Job(t.Context(), testFolder, 5); err != nil {
		t.Error(err)
	}
}

// TestHTTP2Refusals: the transport by itself would send a write again after all
// three of these; after a protocol error that may do it twice.
func TestHTTP2Refusals(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		refuse func(*http2.Framer, uint32) error
		want   Kind
	}{
		"protocol error": {func(f *http2.Framer, id uint32) error { return f.WriteRSTStream(id, http2.ErrCodeProtocol) }, Uncertain},
		"refused stream": {func(f *http2.Framer, id uint32) error { return f.WriteRSTStream(id, http2.ErrCodeRefusedStream) }, Transient},
		"going away":     {func(f *http2.Framer, _ uint32) error { return f.WriteGoAway(0, http2.ErrCodeNo, nil) }, Transient},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var requests atomic.Int32
			certified := httptest.NewUnstartedServer(nil)
			certified.StartTLS()
			defer certified.Close()
			address := serve(t, true, func(raw net.Conn) {
				conn := tls.Server(raw, &tls.Config{Certificates: certified.TLS.Certificates, NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS12})
				defer func() { _ = conn.Close() }()
				refuseHTTP2(conn, &requests, test.refuse)
			})
			roots := x509.NewCertPool()
			roots.AddCert(certified.Certificate())
			client, err := New(Config{
				BaseURL: "https://" + address, Login: PersonalAccessToken("rt_x"), RootCAs: roots, RetryFor: -1, Timeout: 5 * time.Second,
			})
			if err != nil {
				t.Fatal(err)
			}
			defer client.CloseIdleConnections()
			_, err = client.StartJobs(t.Context(), testFolder, StartInfo{ReleaseKey: "r"})
			wantKind(t, err, test.want)
			if got := requests.Load(); got != 1 {
				t.Errorf("got %d requests, want 1", got)
			}
		})
	}
}

// refuseHTTP2 reads one whole request of a connection and answers it so.
func refuseHTTP2(conn net.Conn, requests *atomic.Int32, refuse func(*http2.Framer, uint32) error) {
	if _, err := io.ReadFull(conn, make([]byte, len(http2.ClientPreface))); err != nil {
		return
	}
	framer := http2.NewFramer(conn, conn)
	_ = framer.WriteSettings()
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return
		}
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				_ = framer.WriteSettingsAck()
			}
		case *http2.DataFrame:
			if frame.StreamEnded() {
				requests.Add(1)
				_ = refuse(framer, frame.StreamID)
			}
		}
	}
}

func TestCallersEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client := newTestClient(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
			func(c *Config) { c.RetryFor = time.Hour })
		because := errors.New("draining")

		before, cancel := context.WithCancelCause(t.Context())
		cancel(because)
		_, err := client.StartJobs(before, testFolder, StartInfo{ReleaseKey: "r"})
		e := asError(t, err, Transient)
		if !errors.Is(e, context.Canceled) || !errors.Is(e, because) {
			t.Errorf("before sending: got %v, want the context's error and its cause", e)
		}

		during, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(because) })
		_, err = client.StartJobs(during, testFolder, StartInfo{ReleaseKey: "r"})
		e = asError(t, err, Uncertain)
		if !errors.Is(e, context.Canceled) || !errors.Is(e, because) {
			t.Errorf("after sending: got %v, want the context's error and its cause", e)
		}

		_, err = client.StartJobs(t.Context(), testFolder, StartInfo{ReleaseKey: "r"})
		e = asError(t, err, Uncertain)
		wantText(t, e.Error(), "start jobs: no answer within 30s")
		if errors.Is(e, context.DeadlineExceeded) {
			t.Error("our own time limit counts as the caller's")
		}
	})
}

func TestAnswersAreLimited(t *testing.T) {
	t.Parallel()
	client := newTestClient(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "(1)") {
			reply(w, 400, `{"message":"`+strings.Repeat("x", maxErrorBody)+`"}`)
			return
		}
		reply(w, 200, `{"Id":5,"Info":"`+strings.Repeat("x", maxAnswer)+`"}`)
	})
	_, err := client.Job(t.Context(), testFolder, 1)
	if e := asError(t, err, Rejected); len(e.Message) > 2*maxMessage {
		t.Errorf("got a message of %d bytes", len(e.Message))
	}
	_, err = client.Job(t.Context(), testFolder, 2)
	wantText(t, asError(t, err, Transient).Error(), "get job: 200 OK: the answer is longer than 32 MiB")
}

func TestTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var ahead time.Duration
		client := newTestClient(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Date", time.Now().Add(ahead).UTC().Format(http.TimeFormat))
			if strings.HasSuffix(r.URL.Path, "(1)") {
				replyHTML(w, 502, htmlLogin)
				return
			}
			reply(w, 200, `{"Id":5}`)
		})
		if got := client.Time(); !got.IsZero() {
			t.Errorf("before any answer: got %s", got)
		}
		for _, ahead = range []time.Duration{0, 400 * time.Millisecond, 90 * time.Second, -time.Hour} {
			if _, err := client.Job(t.Context(), testFolder, 5); err != nil {
				t.Fatal(err)
			}
			time.Sleep(90 * time.Second) // nobody asks meanwhile
			if off := client.Time().Sub(time.Now().Add(ahead)); off.Abs() > time.Second/2 {
				t.Errorf("%s ahead: it is wrong by %s", ahead, off)
			}
		}
		ahead = 0
		_, _ = client.Job(t.Context(), testFolder, 1)
		if off := time.Until(client.Time()); off > -time.Minute {
			t.Errorf("got a time %s from now, which a proxy's page has told", off)
		}
	})
}

// FuzzBaseURL: an address that is refused may hold a secret, as a user part or
// behind a question mark; one that is taken holds none.
func FuzzBaseURL(f *testing.F) {
	const secret = "s3cr3t"
	for _, around := range [][2]string{
		{"https://me:", "@host"},
		{"https://me:", "@two@host"},
		{"https://me:a@", "@host"},
		{"me:", "@host"},
		{"https://me:?", "@host"},
		{"https://host?", ""},
		{"https://host/#", ""},
		{"0?@", ""},
		{"https://me:", "@ho st"},
		{"//me:", "@host/odata"},
		{"https://me:a#", "@host"},
		{"https://me:a/", "@platform.uipath.com"},
	} {
		f.Add(around[0], around[1])
	}
	for _, value := range []string{testBase, "http://host:8080/", "https://host/odata", "https://cloud.uipath.com/a", "https://[::1]:1", "https://host//", "ftp://host"} {
		f.Add(value, "")
	}
	f.Fuzz(func(t *testing.T, before, after string) {
		if base, err := parseBaseURL(before); err == nil {
			again, err := parseBaseURL(base.String())
			if err != nil || again.String() != base.String() {
				t.Errorf("%q became %q, and that %v, %v", before, base, again, err)
			}
		}
		if !strings.Contains(after, "@") && !strings.ContainsAny(before, "?#") {
			return // in the open
		}
		if u, err := url.Parse(before + secret + after); err == nil && strings.Contains(u.Host+u.Path, secret) {
			return // the same
		}
		if base, err := parseBaseURL(before + secret + after); err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("the secret is told: %v", err)
		} else if err == nil && (base.User != nil || base.RawQuery != "" || base.Fragment != "") {
			t.Errorf("%q was taken", base)
		}
	})
}

// FuzzDate: the clock shows what the Date header says, or is not known.
func FuzzDate(f *testing.F) {
	for _, date := range []string{"", "Wed, 21 Oct 2015 07:28:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", "Sat, 01 Jan 0000 00:00:00 GMT", time.Now().UTC().Format(http.TimeFormat), "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"} {
		f.Add(date)
	}
	f.Fuzz(func(t *testing.T, date string) {
		var c Client
		c.noteClock(http.Header{"Date": {date}})
		want, err := http.ParseTime(date)
		got := c.Time()
		if (err != nil) != got.IsZero() || err == nil && (got.Before(want) || got.After(want.Add(time.Minute))) {
			t.Errorf("%q: the clock shows %s", date, got)
		}
	})
}
