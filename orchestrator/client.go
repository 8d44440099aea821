package orchestrator

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
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
	// Login is how to get a token. Required: ClientCredentials or
	// PersonalAccessToken.
	Login Login
	// Transport carries all requests, those for tokens included. Nil means one
	// of the client's own: HTTP/2, proxies from the environment, TLS 1.2 or
	// newer, many idle connections.
	Transport http.RoundTripper
	// RootCAs are the authorities the client's own transport trusts; nil means
	// the system's.
	RootCAs *x509.CertPool
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
		c.Transport = newTransport(c.RootCAs)
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
		faults = append(faults, errors.New("no Login: give ClientCredentials or a PersonalAccessToken"))
	}
	if strings.ContainsAny(c.Tenant, "\r\n") {
		faults = append(faults, fmt.Errorf("line break in Tenant %q: give the tenant's name alone", c.Tenant))
	}
	if c.Timeout < 0 {
		faults = append(faults, fmt.Errorf("negative Timeout %s: give a positive time, or 0 for %s", c.Timeout, defaultTimeout))
	}
	if c.RootCAs != nil && c.Transport != nil {
		faults = append(faults, errors.New("RootCAs and Transport are both set: put the authorities into the transport's TLS configuration"))
	}
	return errors.Join(faults...)
}

// parseBaseURL checks a base URL and takes off what does not belong to it.
func parseBaseURL(value string) (*url.URL, error) {
	base, err := url.Parse(strings.TrimRight(value, "/"))
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

// redactURL is for a refused address: its user part and query may hold secrets.
func redactURL(value string) string {
	value, _, _ = strings.Cut(value, "?")
	if scheme, rest, ok := strings.Cut(value, "://"); ok {
		if _, host, ok := strings.Cut(rest, "@"); ok {
			return scheme + "://…@" + host
		}
	}
	return value
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

// Client calls one tenant's Orchestrator. It is safe for concurrent use and
// meant to be kept: it holds the token, the connections and what was looked up.
type Client struct {
	base      string
	tenant    string
	userAgent string
	timeout   time.Duration
	retryFor  time.Duration
	http      *http.Client
	session   *session
	log       *slog.Logger

	clockOffset atomic.Int64 // nanoseconds

	folders  lookups[Folder]
	releases lookups[Release]
	queues   lookups[QueueDefinition]
}

// New makes a client. It checks the configuration and sends nothing.
func New(cfg Config) (*Client, error) {
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("orchestrator configuration: %w", err)
	}
	cfg = cfg.withDefaults()
	base, err := parseBaseURL(cfg.BaseURL)
	if err != nil {
		return nil, fmt.Errorf("orchestrator configuration: %w", err)
	}
	session, err := newSession(cfg, base)
	if err != nil {
		return nil, fmt.Errorf("orchestrator configuration: %w", err)
	}
	return &Client{
		base:      base.String(),
		tenant:    cfg.Tenant,
		userAgent: cfg.UserAgent,
		timeout:   cfg.Timeout,
		retryFor:  cfg.RetryFor,
		http:      &http.Client{Transport: cfg.Transport, CheckRedirect: neverRedirect},
		session:   session,
		log:       cfg.Logger,
	}, nil
}

// CloseIdleConnections closes what the transport keeps open for later calls.
func (c *Client) CloseIdleConnections() { c.http.CloseIdleConnections() }

// ClockOffset is Orchestrator's clock minus ours, as the newest answer's Date
// told it: 0 until an answer was seen and while the two are within a second,
// which is as fine as that header gets.
func (c *Client) ClockOffset() time.Duration { return time.Duration(c.clockOffset.Load()) }

// noteClock takes the time from an answer just received. The header cuts off
// the fraction of its second: on average half of one.
func (c *Client) noteClock(header http.Header) {
	date, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		return
	}
	offset := date.Add(time.Second / 2).Sub(time.Now())
	if offset.Abs() <= time.Second {
		offset = 0
	}
	c.clockOffset.Store(int64(offset))
}

// newTransport is made for many calls to one host: the default of two idle
// connections per host would open a new one for nearly every call. Idle ones
// are dropped after half the shortest time that common servers and gateways
// keep them, so that a POST hardly ever meets one that is just being closed.
func newTransport(roots *x509.CertPool) *http.Transport {
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         dialer.DialContext,
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
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

func defaultUserAgent() string {
	version := "devel"
	if info, ok := debug.ReadBuildInfo(); ok && strings.HasPrefix(info.Main.Version, "v") {
		version = info.Main.Version
	}
	return "waybill/" + version
}

// call is one operation of the API.
type call struct {
	op     string
	class  Class
	method string
	path   string // from BaseURL on
	query  string // encoded
	folder Folder // zero: the call belongs to no folder
	body   []byte // of a POST
	into   answerBody
}

// write tells whether sending the call twice could do something twice.
func (cl call) write() bool { return cl.method != http.MethodGet }

// do carries out a call: repeated while it is surely not done, once more with
// the folder's new id where the old one is no longer known.
func (c *Client) do(ctx context.Context, cl call) error {
	id := c.currentFolderID(cl.folder)
	err := c.retry(ctx, cl, id)
	if err != nil && err.Code == codeFolderUnknown && id != 0 {
		err = c.doInMovedFolder(ctx, cl, id, err)
	}
	if err != nil {
		return err
	}
	return nil
}

// attempt makes one try. A refused token is renewed once: 401 comes before the
// service looks at the request, so that repeating even a write is safe.
func (c *Client) attempt(ctx context.Context, cl call, folderID int64) *Error {
	token, err := c.session.current(ctx)
	if err != nil {
		return err.during(cl.op)
	}
	err = c.exchange(ctx, cl, folderID, token)
	if err == nil || err.StatusCode != http.StatusUnauthorized {
		return err
	}
	renewed, loginErr := c.session.renewed(ctx, token)
	if loginErr != nil {
		return loginErr.during(cl.op)
	}
	if renewed != token {
		err = c.exchange(ctx, cl, folderID, renewed)
	}
	if err != nil && err.StatusCode == http.StatusUnauthorized {
		err.Err = errors.New(c.session.login.refused())
	}
	return err
}

// during tells which operation needed the token.
func (e *Error) during(op string) *Error {
	copied := *e // the original may be shared with other callers
	copied.Op = op + ": " + e.Op
	return &copied
}

// exchange sends one request and reads its answer.
func (c *Client) exchange(ctx context.Context, cl call, folderID int64, token string) *Error {
	if ctx.Err() != nil {
		return &Error{Op: cl.op, Kind: Transient, Class: cl.class, Err: contextError(ctx)}
	}
	limited, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	var sent sending
	req, err := c.request(httptrace.WithClientTrace(limited, sent.trace()), cl, folderID, token)
	if err != nil {
		return rejected(cl.op, cl.class, err, "")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		kind := unknownKind(cl.write() && !sent.surelyNot(err))
		return &Error{Op: cl.op, Kind: kind, Class: cl.class, Err: c.lost(ctx, limited, err)}
	}
	defer resp.Body.Close() //nolint:errcheck // the answer has been read, or its error is told
	a, err := read(resp)
	if err != nil {
		return &Error{
			Op: cl.op, Kind: unknownKind(cl.write()), Class: cl.class, StatusCode: a.status, Err: c.lost(ctx, limited, err),
		}
	}
	c.log.LogAttrs(ctx, slog.LevelDebug, "orchestrator answered",
		slog.String("op", cl.op), slog.Int("status", a.status), slog.Int("bytes", len(a.body)))
	if a.isJSON() { // else a proxy's, with a clock of its own
		c.noteClock(a.header)
	}
	return a.check(cl)
}

// check is the one place where an answer becomes a result or an *Error.
func (a answer) check(cl call) *Error {
	if !a.ok() {
		return a.failure(cl.op, cl.class, cl.write())
	}
	if err := a.decode(cl.into); err != nil {
		return a.nonsense(cl.op, cl.class, cl.write(), err)
	}
	return nil
}

func (c *Client) request(ctx context.Context, cl call, folderID int64, token string) (*http.Request, error) {
	address := c.base + cl.path
	if cl.query != "" {
		address += "?" + cl.query
	}
	req, err := http.NewRequestWithContext(ctx, cl.method, address, nil)
	if err != nil {
		return nil, errors.New("the address of the call is not valid")
	}
	if cl.body != nil {
		// No GetBody: the transport must not send a write again by itself, which
		// it would do after a protocol error of HTTP/2 too.
		req.Body = io.NopCloser(bytes.NewReader(cl.body))
		req.ContentLength = int64(len(cl.body))
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("User-Agent", c.userAgent)
	if c.tenant != "" {
		req.Header.Set("X-Uipath-Tenantname", c.tenant)
	}
	if folderID != 0 {
		req.Header.Set("X-Uipath-Organizationunitid", strconv.FormatInt(folderID, 10))
	}
	return req, nil
}

// lost is the cause of an exchange without a usable answer: the caller's own
// end, our time limit, or the network's word without the address, whose query
// may hold what does not belong into a log.
func (c *Client) lost(ctx, limited context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return contextError(ctx)
	case limited.Err() != nil:
		return fmt.Errorf("no answer within %s", c.timeout)
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

// contextError is the caller's end with its cause.
func contextError(ctx context.Context) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, ctx.Err()) {
		return fmt.Errorf("%w: %w", ctx.Err(), cause)
	}
	return ctx.Err()
}

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
