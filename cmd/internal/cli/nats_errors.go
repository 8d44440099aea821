package cli

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"net"
	"net/url"
	"strings"

	"github.com/nats-io/nats.go"
)

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
		return Errorf(ExitCredentials, "NATS at %s refuses our credentials: check NATS_CREDS, NATS_NKEY or the context: %w", where, err)
	case badCertificate, unknownAuthority:
		return Errorf(ExitUsage, "NATS at %s shows a certificate that is not trusted here: name its authority with --nats-ca or NATS_CA: %w", where, err)
	case errors.Is(err, nats.ErrNoServers), errors.Is(err, nats.ErrTimeout), dialing:
		return Errorf(ExitUnreachable, "no NATS server answers at %s: is it running? `worker dev` starts one, --nats-url or NATS_URL says where another is: %w", where, err)
	}
	return Errorf(ExitUsage, "connect to NATS at %s: %w", where, err)
}

// explainAlert says what the server means by ending the TLS handshake. Go has
// no other form of what it said than the text.
func explainAlert(alert error, where string) error {
	text := alert.Error()
	switch {
	case strings.Contains(text, "protocol version"):
		return Errorf(ExitUsage, "NATS at %s speaks no TLS 1.2 or newer, and older is not spoken here: set the server's tls min_version: %w", where, alert)
	case strings.Contains(text, "certificate required"), strings.Contains(text, "handshake failure"):
		return Errorf(ExitCredentials, "NATS at %s wants a client certificate: name its files with --nats-cert and --nats-key, or NATS_CERT and NATS_KEY: %w", where, alert)
	case strings.Contains(text, "certificate"), strings.Contains(text, "closed by remote"):
		return Errorf(ExitCredentials, "NATS at %s refuses our client certificate, or wants one: check NATS_CERT and NATS_KEY, or the context: %w", where, alert)
	}
	return Errorf(ExitUsage, "NATS at %s ends the TLS handshake: %w", where, alert)
}

func hasPassword(urls string) bool {
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
