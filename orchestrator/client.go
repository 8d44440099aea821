package orchestrator

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"
)

// Client calls one tenant's Orchestrator. It is safe for concurrent use and
// meant to be kept: it holds the token, the connections and what was looked up.
type Client struct {
	base      *url.URL
	tenant    string
	userAgent string
	timeout   time.Duration
	retryFor  time.Duration
	http      *http.Client
	session   *session
	log       *slog.Logger

	clock atomic.Pointer[reading]

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
		base:      base,
		tenant:    cfg.Tenant,
		userAgent: cfg.UserAgent,
		timeout:   cfg.Timeout,
		retryFor:  cfg.RetryFor,
		http:      &http.Client{Transport: cfg.Transport, CheckRedirect: neverRedirect},
		session:   session,
		log:       cfg.Logger,
	}, nil
}

// Close ends the client. It waits for a renewal of a user's login that is under
// way, so that its refresh token is stored and not lost, and tries once more to
// store one that could not be. Its error says what may be lost. Calls that are
// made later fail as soon as they need another token.
func (c *Client) Close(ctx context.Context) error {
	defer c.CloseIdleConnections()
	return c.session.close(ctx)
}

// CloseIdleConnections closes what the transport keeps open for later calls.
func (c *Client) CloseIdleConnections() { c.http.CloseIdleConnections() }

// reading is what Orchestrator's clock has shown, and when that was by ours.
type reading struct {
	theirs, ours time.Time
}

// Time is what Orchestrator's clock shows, to within a second: the newest
// answer's Date and the time that has passed since. It goes by the speed of
// this machine's clock alone, not by what that is set to. Until an answer was
// seen it is the zero time.
func (c *Client) Time() time.Time {
	r := c.clock.Load()
	if r == nil {
		return time.Time{}
	}
	return r.theirs.Add(time.Since(r.ours))
}

// noteClock takes the time from an answer just received. The header cuts off
// the fraction of its second: on average half of one.
func (c *Client) noteClock(header http.Header) {
	date, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		return
	}
	c.clock.Store(&reading{theirs: date.Add(time.Second / 2), ours: time.Now()})
}

// call is one operation of the API.
type call struct {
	op     string
	class  Class
	method string
	base   *url.URL // where path begins; nil: BaseURL
	path   string
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
	if err != nil && err.Code == codeFolderUnknown && err.Kind == Rejected && id != 0 {
		err = c.doInMovedFolder(ctx, cl, id, err)
	}
	if err != nil {
		return err.advised(cl.op)
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
	if err == nil || err.StatusCode != http.StatusUnauthorized || cl.base != nil { // another host knows nothing of our token
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

// ErrNotSent is in the error of a call that was not sent since the caller's
// last look forbade it.
var ErrNotSent = errors.New("not sent")

type lastLookKey struct{}

// WithLastLook has each try of a call that is made with the context ask look
// right before it is sent, after whatever login and pause. Where look returns an
// error nothing is sent: the call's *Error is Transient, has ErrNotSent and
// look's error in it, and the call is not repeated.
func WithLastLook(ctx context.Context, look func() error) context.Context {
	return context.WithValue(ctx, lastLookKey{}, look)
}

func lastLook(ctx context.Context) error {
	look, ok := ctx.Value(lastLookKey{}).(func() error)
	if !ok {
		return nil
	}
	if err := look(); err != nil {
		return fmt.Errorf("%w: %w", ErrNotSent, err)
	}
	return nil
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
	if err := lastLook(ctx); err != nil {
		return &Error{Op: cl.op, Kind: Transient, Class: cl.class, Err: err}
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
	if a.isJSON() && cl.base == nil { // else a proxy's, or another host's, with a clock of its own
		c.noteClock(a.header)
	}
	return a.hiding([]string{token}, func(a answer) *Error { return a.check(cl) })
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
	// The base was parsed once: parsing it again for each call took as long as
	// the rest of making the request.
	address := *cmp.Or(cl.base, c.base)
	address.RawPath = address.EscapedPath() + cl.path // as it is written, with parentheses
	address.Path += cl.path
	address.RawQuery = cl.query
	req, err := http.NewRequestWithContext(ctx, cl.method, "", nil)
	if err != nil {
		return nil, errors.New("the method of the call is not valid")
	}
	req.URL, req.Host = &address, address.Host
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
		err = u.Err
	}
	return adviseTLS(err)
}

// contextError is the caller's end with its cause.
func contextError(ctx context.Context) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, ctx.Err()) {
		return fmt.Errorf("%w: %w", ctx.Err(), cause)
	}
	return ctx.Err() //nolint:wrapcheck // it becomes the cause of an *Error
}
