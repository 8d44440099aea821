package orchestrator

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync"
	"time"
)

// Step is a part of the way to Orchestrator.
type Step int

// The steps, in their order.
const (
	StepName    Step = iota + 1 // the host's name has addresses
	StepConnect                 // one of them takes connections
	StepTLS                     // the server shows a certificate that is trusted
	StepAnswer                  // and answers
)

// Route is what the way to Orchestrator looks like, without a login.
type Route struct {
	Host      string // of BaseURL
	Proxy     string // the proxy's address, without user and password; empty: none
	Addresses []string
	Connected string // the address that took the connection
	Took      time.Duration
	// TLS is nil where there is none, or where it has failed; Certificate is the
	// server's, of a failed handshake too.
	TLS         *tls.ConnectionState
	Certificate *x509.Certificate
	// CertificateAsked is that the server asked for a client certificate.
	CertificateAsked bool
	Status           string // of the answer
	Instead          string // what came where JSON was due; empty: JSON came
	// Failed is the step that Err is about, 0 where all went well.
	Failed Step
	Err    error
}

// FindRoute goes the way to Orchestrator once, on a connection of its own, with
// a small read that has no token: the answer is a refusal. It does not use
// Config.Login and Config.Transport. The error is of a BaseURL that is none.
func FindRoute(ctx context.Context, cfg Config) (Route, error) {
	base, err := parseBaseURL(cfg.BaseURL)
	if err != nil {
		return Route{}, fmt.Errorf("orchestrator configuration: %w", err)
	}
	return findRoute(ctx, cfg.withDefaults(), base, http.ProxyFromEnvironment)
}

func findRoute(ctx context.Context, cfg Config, base *url.URL, proxy func(*http.Request) (*url.URL, error)) (Route, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, cfg.Timeout, fmt.Errorf("no answer within %s", cfg.Timeout))
	defer cancel()
	w := &walk{secure: base.Scheme == "https", route: Route{Host: base.Host, Failed: StepAnswer}}
	transport := newTransport(cfg.RootCAs, nil)
	transport.DisableKeepAlives = true
	w.watch(transport, cfg.ClientCertificates, proxy)
	defer transport.CloseIdleConnections()
	address := *base
	address.Path += "/odata/Folders"
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, w.trace()), http.MethodGet, address.String(), nil)
	if err != nil {
		return Route{}, fmt.Errorf("orchestrator configuration: %w", err)
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", cfg.UserAgent)
	begin := time.Now()
	resp, err := (&http.Client{Transport: transport, CheckRedirect: neverRedirect}).Do(req)
	if err != nil {
		return w.failed(ctx, err), nil
	}
	defer resp.Body.Close() //nolint:errcheck // it has been read
	a, err := read(resp)
	if err != nil {
		return w.failed(ctx, err), nil
	}
	return w.arrived(a, time.Since(begin)), nil
}

// walk notes the steps; a dial that has lost a race may still report.
type walk struct {
	secure bool // the URL is https
	mu     sync.Mutex
	route  Route
}

func (w *walk) note(change func(*Route)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change(&w.route)
}

// watch has the transport tell of a proxy, and of a server that asks for a
// certificate, and show it all the same.
func (w *walk) watch(transport *http.Transport, certificates []tls.Certificate, proxyOf func(*http.Request) (*url.URL, error)) {
	transport.Proxy = func(req *http.Request) (*url.URL, error) {
		proxy, err := proxyOf(req)
		if proxy != nil {
			w.note(func(r *Route) { r.Proxy = proxy.Scheme + "://" + proxy.Host })
		}
		return proxy, err
	}
	transport.TLSClientConfig.GetClientCertificate = func(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		w.note(func(r *Route) { r.CertificateAsked = true })
		for i := range certificates {
			if info.SupportsCertificate(&certificates[i]) == nil {
				return &certificates[i], nil
			}
		}
		return new(tls.Certificate), nil // none
	}
}

func (w *walk) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		DNSStart: func(httptrace.DNSStartInfo) {
			w.note(func(r *Route) { r.Failed = StepName }) // till it ends, which may be never
		},
		DNSDone: func(info httptrace.DNSDoneInfo) {
			w.note(func(r *Route) {
				for _, address := range info.Addrs {
					r.Addresses = append(r.Addresses, address.String())
				}
				if info.Err == nil {
					r.Failed = StepConnect
				}
			})
		},
		ConnectDone: func(_, address string, err error) {
			w.note(func(r *Route) {
				if err == nil {
					r.Connected, r.Failed = address, StepAnswer
				} else if r.Connected == "" {
					r.Failed = StepConnect
				}
			})
		},
		TLSHandshakeDone: func(state tls.ConnectionState, err error) {
			w.note(func(r *Route) {
				if err != nil {
					r.Failed = StepTLS
					return
				}
				r.TLS = &state
				if len(state.PeerCertificates) > 0 {
					r.Certificate = state.PeerCertificates[0]
				}
			})
		},
	}
}

func (w *walk) failed(ctx context.Context, err error) Route {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.route
	if failed, ok := errors.AsType[*url.Error](err); ok {
		err = failed.Err // the rest of it is the address
	}
	if untrusted, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		r.Failed = StepTLS
		if len(untrusted.UnverifiedCertificates) > 0 {
			r.Certificate = untrusted.UnverifiedCertificates[0]
		}
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
		if r.Connected == "" && r.Failed != StepName {
			r.Failed = StepConnect
		}
	}
	if r.Failed == StepAnswer && w.secure && r.TLS == nil {
		r.Failed = StepTLS // it got no further, say since a proxy did not let it through
	}
	r.Err = err
	return r
}

func (w *walk) arrived(a answer, took time.Duration) Route {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.route
	r.Failed, r.Took, r.Status = 0, took, statusText(a.status)
	if !a.isJSON() {
		r.Instead = short(a.instead())
	}
	return r
}
