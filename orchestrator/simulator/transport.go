package simulator

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"syscall"
)

// RoundTripper calls the Server in this process, whatever the host of the URL. Nothing of it touches the network, so it
// works inside a synctest bubble. A cut connection is ECONNRESET once the request is sent, a closed Server refuses the
// connection, and a caller whose context ends gets the context's cause while the Server goes on with the call, as a
// server would. It reports to an httptrace.ClientTrace what a connection would, except that there is no net.Conn.
func (s *Server) RoundTripper() http.RoundTripper { return roundTripper{s} }

type roundTripper struct{ server *Server }

func (t roundTripper) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx := r.Context()
	body, err := readBody(r)
	if err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx) //nolint:wrapcheck // as net/http does
	}
	served, hangUp := context.WithCancel(context.WithoutCancel(ctx))
	defer hangUp()
	request := serverRequest(served, r, body)
	answers := make(chan *recorder, 1)
	send := make(chan struct{})
	if !t.server.alarms.run(func() { <-send; answers <- t.record(request) }) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
	traceSent(ctx, r.URL.Host)
	close(send)
	select {
	case answer := <-answers:
		return answer.response(ctx, r)
	case <-ctx.Done():
		return nil, context.Cause(ctx) //nolint:wrapcheck // as net/http does
	}
}

// readBody takes the whole body before the call begins, since the Server may outlive the caller.
func readBody(r *http.Request) ([]byte, error) {
	if r.Body == nil {
		return nil, nil
	}
	body, err := io.ReadAll(r.Body)
	if closeErr := r.Body.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return nil, fmt.Errorf("read request body: %w", err)
	}
	return body, nil
}

// serverRequest is the request as the server's side would see it.
func serverRequest(ctx context.Context, r *http.Request, body []byte) *http.Request {
	request := r.Clone(ctx)
	request.Body = io.NopCloser(bytes.NewReader(body))
	request.ContentLength = int64(len(body))
	request.RequestURI = r.URL.RequestURI()
	request.RemoteAddr = "127.0.0.1:0"
	if request.Host == "" {
		request.Host = r.URL.Host
	}
	request.URL = &url.URL{
		Scheme: r.URL.Scheme, Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: r.URL.RawQuery,
	}
	return request
}

func traceSent(ctx context.Context, host string) {
	trace := httptrace.ContextClientTrace(ctx)
	if trace == nil {
		return
	}
	if trace.GetConn != nil {
		trace.GetConn(host)
	}
	if trace.GotConn != nil {
		trace.GotConn(httptrace.GotConnInfo{Reused: true})
	}
	if trace.WroteHeaders != nil {
		trace.WroteHeaders()
	}
	if trace.WroteRequest != nil {
		trace.WroteRequest(httptrace.WroteRequestInfo{})
	}
}

// recorder is the http.ResponseWriter of a call without a connection.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
	isCut  bool
}

func (t roundTripper) record(r *http.Request) (w *recorder) {
	w = &recorder{header: make(http.Header)}
	defer func() {
		if reason := recover(); reason == http.ErrAbortHandler { //nolint:errorlint // the very value is panicked with
			w.isCut = true
		} else if reason != nil {
			panic(reason)
		}
	}()
	t.server.ServeHTTP(w, r)
	return w
}

func (w *recorder) Header() http.Header { return w.header }

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

func (w *recorder) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(b) //nolint:wrapcheck // a buffer never fails
}

func (w *recorder) response(ctx context.Context, r *http.Request) (*http.Response, error) {
	if w.isCut {
		return nil, &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
	}
	if trace := httptrace.ContextClientTrace(ctx); trace != nil && trace.GotFirstResponseByte != nil {
		trace.GotFirstResponseByte()
	}
	w.WriteHeader(http.StatusOK)
	return &http.Response{
		Status:        fmt.Sprintf("%d %s", w.status, http.StatusText(w.status)),
		StatusCode:    w.status,
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        w.header,
		Body:          io.NopCloser(&w.body),
		ContentLength: int64(w.body.Len()),
		Request:       r,
	}, nil
}
