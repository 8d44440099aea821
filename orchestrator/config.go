package orchestrator

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"
	"time"
	"unicode"
)

const (
	defaultTimeout  = 30 * time.Second
	defaultRetryFor = 10 * time.Second
)

// Config says where an Orchestrator is and how to talk to it.
type Config struct {
	// BaseURL is where the API begins, without "/odata":
	//
	//	https://cloud.uipath.com/org/tenant/orchestrator_   Automation Cloud
	//	https://host/org/tenant/orchestrator_               Automation Suite
	//	https://host                                        on-premises
	BaseURL string
	// Tenant is sent as X-UIPATH-TenantName when not empty; on-premises needs
	// it, elsewhere it does no harm.
	Tenant string
	// Login is how to get a token. Required.
	Login Login
	// Transport carries all requests, those for tokens included. Nil means one
	// of the client's own: HTTP/2, proxies from the environment, TLS 1.2 or
	// newer, many idle connections.
	Transport http.RoundTripper
	// RootCAs are the authorities the client's own transport trusts; nil means
	// the system's.
	RootCAs *x509.CertPool
	// ClientCertificates are what the client's own transport shows to a server
	// or proxy that asks for one.
	ClientCertificates []tls.Certificate
	// UserAgent is sent with every request; default "waybill/" and the version.
	UserAgent string
	// Timeout limits one HTTP exchange, answer included; default 30 s.
	Timeout time.Duration
	// RetryFor is the longest time for which one operation repeats what is
	// surely not done; default 10 s, negative: never.
	RetryFor time.Duration
	// Logger tells of repeats and renewals, never of payloads; nil: discard.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	c.UserAgent = cmp.Or(c.UserAgent, defaultUserAgent())
	c.Timeout = cmp.Or(c.Timeout, defaultTimeout)
	c.RetryFor = cmp.Or(c.RetryFor, defaultRetryFor)
	if c.Transport == nil {
		c.Transport = newTransport(c.RootCAs, c.ClientCertificates)
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// validate names every fault at once, each with its field, value and mend.
func (c Config) validate() error {
	_, urlErr := parseBaseURL(c.BaseURL)
	faults := []error{urlErr}
	if c.Login == nil {
		faults = append(faults, errors.New("no Login: give ClientCredentials or another of the ways in"))
	}
	if strings.ContainsFunc(c.Tenant, unicode.IsControl) { // which no header can carry
		faults = append(faults, fmt.Errorf("line break or control character in Tenant %q: give the tenant's name alone", c.Tenant))
	}
	if c.Timeout < 0 {
		faults = append(faults, fmt.Errorf("negative Timeout %s: give a positive time, or 0 for %s", c.Timeout, defaultTimeout))
	}
	if (c.RootCAs != nil || c.ClientCertificates != nil) && c.Transport != nil {
		faults = append(faults, errors.New("both Transport and RootCAs or ClientCertificates are set: put these into the transport's TLS configuration"))
	}
	return errors.Join(faults...)
}

// parseBaseURL checks a base URL and takes off what does not belong to it.
func parseBaseURL(value string) (*url.URL, error) {
	base, err := url.Parse(strings.TrimRight(value, "/?#"))
	if err != nil || base.Host == "" || base.Scheme != "https" && base.Scheme != "http" {
		return nil, fmt.Errorf("BaseURL %q is no web address: give one like https://cloud.uipath.com/org/tenant/orchestrator_", redactURL(value))
	}
	if base.User != nil || base.RawQuery != "" || base.Fragment != "" {
		return nil, fmt.Errorf("BaseURL %q holds more than host and path: leave out user, query and fragment", redactURL(value))
	}
	host := strings.ToLower(base.Hostname())
	if host == "platform.uipath.com" || host == "account.uipath.com" {
		return nil, fmt.Errorf("BaseURL %q points at a retired service: use https://cloud.uipath.com/org/tenant/orchestrator_", value)
	}
	if strings.HasSuffix(base.Path, "/odata") {
		return nil, fmt.Errorf("BaseURL %q ends in /odata: leave that off", value)
	}
	if _, ok := organization(base); host == "cloud.uipath.com" && !ok {
		return nil, fmt.Errorf("BaseURL %q lacks a part: Automation Cloud needs https://cloud.uipath.com/org/tenant/orchestrator_", value)
	}
	return base, nil
}

// redactURL is for a refused address: its user part, query and fragment may
// hold secrets, and where it is no address at all nobody knows which they are.
func redactURL(value string) string {
	scheme := ""
	for _, web := range []string{"https://", "http://"} {
		if strings.HasPrefix(value, web) {
			scheme = web
		}
	}
	rest := value[len(scheme):]
	at, end := strings.LastIndexByte(rest, '@'), strings.IndexAny(rest, "?#")
	switch {
	case end >= 0 && end < at:
		return scheme + "…" // a query with an @ in it, or a password with a ?
	case end >= 0:
		rest = rest[:end]
	}
	if at >= 0 {
		rest = "…" + rest[at:]
	}
	return scheme + rest
}

// organization gives the organization of a base URL of the cloud's form,
// /org/tenant/orchestrator_, which Automation Suite shares.
func organization(base *url.URL) (string, bool) {
	parts := strings.Split(strings.Trim(base.Path, "/"), "/")
	if len(parts) != 3 || parts[2] != "orchestrator_" || parts[0] == "" || parts[1] == "" {
		return "", false
	}
	return parts[0], true
}

func defaultUserAgent() string {
	version := "devel"
	if info, ok := debug.ReadBuildInfo(); ok && strings.HasPrefix(info.Main.Version, "v") {
		version = info.Main.Version
	}
	return "waybill/" + version
}
