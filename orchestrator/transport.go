package orchestrator

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"time"
)

// newTransport is made for many calls to one host: the default of two idle
// connections per host would open a new one for nearly every call. Idle ones
// are dropped after half the shortest time that common servers and gateways
// keep them, so that a POST hardly ever meets one that is just being closed.
func newTransport(roots *x509.CertPool, certificates []tls.Certificate) *http.Transport {
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         dialer.DialContext,
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, Certificates: certificates},
		TLSHandshakeTimeout: 10 * time.Second,
		ForceAttemptHTTP2:   true,
		HTTP2:               &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 10 * time.Second},
		MaxIdleConns:        512,
		MaxIdleConnsPerHost: 256,
		IdleConnTimeout:     30 * time.Second,
	}
}

// neverRedirect: Orchestrator's API does not redirect. Following would carry a
// token or a write to wherever a proxy points.
func neverRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// sending follows how far a request got.
type sending struct {
	reports atomic.Bool // the transport tells at all; a test's RoundTripper may not
	wrote   atomic.Bool // a complete header went out on the present connection
}

// trace resets at each connection: the transport takes another one only for a
// request of which the first had taken nothing.
func (s *sending) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GetConn: func(string) {
			s.reports.Store(true)
			s.wrote.Store(false)
		},
		WroteHeaders: func() { s.wrote.Store(true) },
	}
}

// surelyNot tells that the server cannot have acted on the request: no complete
// header was written, no connection was made, or HTTP/2 itself said so.
func (s *sending) surelyNot(err error) bool {
	if s.reports.Load() && !s.wrote.Load() {
		return true
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return true
	}
	return refusedStream(err)
}

// refusedStream recognizes the two ways in which HTTP/2 guarantees that a
// request was not processed. The standard library has no type for them; should
// its words change, such a write counts as uncertain, which is safe.
func refusedStream(err error) bool {
	text := err.Error()
	return strings.Contains(text, "cannot retry err") &&
		(strings.Contains(text, "graceful shutdown GOAWAY") || strings.Contains(text, "REFUSED_STREAM"))
}

// adviseTLS says what to change about a connection that does not come about
// because of certificates.
func adviseTLS(err error) error {
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
	op, ok := errors.AsType[*net.OpError](err)
	switch {
	case untrusted:
		return fmt.Errorf("%w: where an authority of your own has signed it, or a proxy's, name that in RootCAs (caFile, UIPATH_CA)", err)
	case ok && op.Op == "remote error" && strings.Contains(op.Error(), "certificate"): // a TLS alert, for which there is no type
		return fmt.Errorf("%w: the server wants a client certificate that it trusts: set ClientCertificates (certFile and keyFile, UIPATH_CERT and UIPATH_KEY)", err)
	}
	return err
}
