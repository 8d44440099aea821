package cli

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"strings"

	"github.com/nats-io/nats.go"
)

// ConnectError is why there is no connection to NATS, apart from what to do
// about it.
type ConnectError struct {
	Problem string
	Mend    string
	Err     error
}

// Error tells all of it.
func (e *ConnectError) Error() string { return e.Problem + ": " + e.Mend + ": " + e.Err.Error() }

// Found is what there is to see, without what to do about it.
func (e *ConnectError) Found() string { return e.Problem + ": " + e.Err.Error() }

// Unwrap gives what the client of NATS says.
func (e *ConnectError) Unwrap() error { return e.Err }

func unconnected(code Code, err error, where, problem, mend string) error {
	return &Error{Code: code, Err: &ConnectError{Problem: fmt.Sprintf(problem, where), Mend: mend, Err: err}}
}

// explain says what a failed connection means and what to do about it.
func explain(err error, where string) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err // the rest of it repeats the URL, password and all
	}
	if file, ok := errors.AsType[*fs.PathError](err); ok {
		return Errorf(ExitUsage, "NATS: %w", file) // a file that a context names
	}
	if alert, ok := errors.AsType[*net.OpError](err); ok && alert.Op == "remote error" {
		return explainAlert(alert.Err, where)
	}
	if strings.Contains(err.Error(), "closed by remote after TLS handshake") { // its alert was overtaken by the end of the connection
		return explainAlert(err, where)
	}
	_, dialing := errors.AsType[net.Error](err)
	_, badCertificate := errors.AsType[*tls.CertificateVerificationError](err)
	_, unknownAuthority := errors.AsType[x509.UnknownAuthorityError](err)
	switch {
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired),
		errors.Is(err, nats.ErrAuthRevoked), errors.Is(err, nats.ErrAccountAuthExpired):
		return unconnected(ExitCredentials, err, where, "NATS at %s refuses our credentials",
			"check the user and password in NATS_URL (nats://user:password@host), NATS_CREDS, NATS_NKEY or the context")
	case badCertificate, unknownAuthority:
		return unconnected(ExitUsage, err, where, "NATS at %s shows a certificate that is not trusted here", "name its authority with --nats-ca or NATS_CA")
	case errors.Is(err, nats.ErrNoServers), errors.Is(err, nats.ErrTimeout), errors.Is(err, io.EOF), dialing: // EOF: of a balancer with nobody behind it
		return unconnected(ExitUnreachable, err, where, "no NATS server answers at %s",
			"start NATS there (`worker dev` starts one to try things out), or say where it is with NATS_URL or --nats-url")
	}
	return Errorf(ExitUsage, "connect to NATS at %s: %w", where, err)
}

// explainAlert says what the server means by ending the TLS handshake. Go has
// no other form of what it said than the text.
func explainAlert(alert error, where string) error {
	text := alert.Error()
	switch {
	case strings.Contains(text, "protocol version"):
		return unconnected(ExitUsage, alert, where, "NATS at %s speaks no TLS 1.2 or newer, and older is not spoken here", "set the server's tls min_version")
	case strings.Contains(text, "certificate required"), strings.Contains(text, "handshake failure"):
		return unconnected(ExitCredentials, alert, where, "NATS at %s wants a client certificate", "name its files with --nats-cert and --nats-key, or NATS_CERT and NATS_KEY")
	case strings.Contains(text, "certificate"), strings.Contains(text, "closed by remote"):
		return unconnected(ExitCredentials, alert, where, "NATS at %s refuses our client certificate, or wants one", "check NATS_CERT and NATS_KEY, or the context")
	}
	return Errorf(ExitUsage, "NATS at %s ends the TLS handshake: %w", where, alert)
}

// HasPassword reports whether a URL, or one of several with commas between, names
// a user or has a password.
func HasPassword(urls string) bool {
	for one := range strings.SplitSeq(urls, ",") {
		if u, err := parseURL(one); err == nil && u.User != nil {
			return true
		}
	}
	return false
}

// redact leaves user names, passwords and tokens out of a list of URLs.
func redact(urls string) string {
	var shown []string
	for one := range strings.SplitSeq(urls, ",") {
		u, err := parseURL(one)
		if err != nil {
			return "the configured URL"
		}
		u.User = nil
		shown = append(shown, u.String())
	}
	return strings.Join(shown, ",")
}

// parseURL reads a URL as nats.go does, which adds a scheme where none is.
func parseURL(s string) (*url.URL, error) {
	s = strings.TrimSpace(s)
	if !strings.Contains(s, "://") {
		s = "nats://" + s
	}
	return url.Parse(s) //nolint:wrapcheck // the error shows the URL and is not to be shown
}
