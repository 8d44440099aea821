package orchestrator

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/url"
	"strings"
	"testing"
	"time"
)

// A proxy is told without its user and password, and so is that it lets nothing
// through.
func TestFindRouteByProxy(t *testing.T) {
	t.Parallel()
	refuses := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusProxyAuthRequired)
	}))
	t.Cleanup(refuses.Close)
	proxy, err := url.Parse(strings.Replace(refuses.URL, "http://", "http://user:pass@", 1))
	if err != nil {
		t.Fatal(err)
	}
	base, err := url.Parse(testBase)
	if err != nil {
		t.Fatal(err)
	}
	r, err := findRoute(t.Context(), Config{}.withDefaults(), base, http.ProxyURL(proxy))
	if err != nil {
		t.Fatal(err)
	}
	if r.Proxy != refuses.URL || r.Failed != StepTLS || r.Err == nil || strings.Contains(r.Err.Error(), "pass") {
		t.Errorf("got %+v", r)
	}
}

func TestFindRoute(t *testing.T) {
	t.Parallel()
	quiet := log.New(io.Discard, "", 0)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" || r.Method != http.MethodGet || r.URL.Path != "/odata/Folders" {
			t.Errorf("got %s %s", r.Method, r.URL)
		}
		reply(w, http.StatusUnauthorized, `{"message":"You are not authenticated!"}`)
	})
	plain := httptest.NewServer(handler)
	t.Cleanup(plain.Close)
	secured := httptest.NewUnstartedServer(handler)
	secured.Config.ErrorLog = quiet
	secured.StartTLS()
	t.Cleanup(secured.Close)
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		replyHTML(w, http.StatusOK, "<title>Sign in</title>")
	}))
	t.Cleanup(page.Close)
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	t.Cleanup(silent.Close)
	trusted := x509.NewCertPool()
	trusted.AddCert(secured.Certificate())

	for _, test := range []struct {
		name   string
		cfg    Config
		failed Step
		tls    bool
		says   string // of the error, or in place of JSON
	}{
		{name: "plain", cfg: Config{BaseURL: plain.URL}},
		{name: "TLS", cfg: Config{BaseURL: secured.URL, RootCAs: trusted}, tls: true},
		{name: "unknown authority", cfg: Config{BaseURL: secured.URL}, failed: StepTLS, says: "unknown authority"},
		{name: "no TLS there", cfg: Config{BaseURL: strings.Replace(plain.URL, "http:", "https:", 1)}, failed: StepTLS, says: "HTTP response to HTTPS client"},
		{name: "a page", cfg: Config{BaseURL: page.URL}, says: `a page titled "Sign in"`},
		{name: "nobody listens", cfg: Config{BaseURL: "http://127.0.0.1:1"}, failed: StepConnect, says: "refused"},
		{name: "no such name", cfg: Config{BaseURL: "http://no..where"}, failed: StepName, says: "no..where"},
		{name: "no answer", cfg: Config{BaseURL: silent.URL, Timeout: 50 * time.Millisecond}, failed: StepAnswer, says: "no answer within 50ms"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r, err := FindRoute(t.Context(), test.cfg)
			if err != nil {
				t.Fatal(err)
			}
			if r.Failed != test.failed || (r.Err != nil) != (test.failed != 0) || (r.TLS != nil) != test.tls {
				t.Errorf("got %+v", r)
			}
			if test.tls && r.Certificate == nil {
				t.Error("no certificate")
			}
			if test.failed == 0 && (r.Status == "" || r.Connected == "") {
				t.Errorf("got %+v", r)
			}
			said := r.Instead
			if r.Err != nil {
				said = r.Err.Error()
			}
			if !strings.Contains(said, test.says) || test.says == "" && said != "" {
				t.Errorf("got %q, want %q", said, test.says)
			}
		})
	}
	if _, err := FindRoute(t.Context(), Config{BaseURL: "cloud"}); err == nil {
		t.Error("a URL that is none was taken")
	}
}

// A resolver that does not answer is no connection that fails: what must be
// mended is the name.
func TestFindRouteWithoutNames(t *testing.T) {
	t.Parallel()
	for name, resolved := range map[string]bool{"none": false, "one": true} {
		w := &walk{route: Route{Failed: StepAnswer}}
		trace := w.trace()
		trace.DNSStart(httptrace.DNSStartInfo{})
		want := StepName
		if resolved {
			trace.DNSDone(httptrace.DNSDoneInfo{Addrs: []net.IPAddr{{IP: net.IPv4(192, 0, 2, 1)}}})
			want = StepConnect
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errors.New("no answer within 1s"))
		if r := w.failed(ctx, ctx.Err()); r.Failed != want || r.Err.Error() != "no answer within 1s" {
			t.Errorf("%s: failed at %d, %v; want %d", name, r.Failed, r.Err, want)
		}
	}
}
