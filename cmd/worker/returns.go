package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"html/template"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"waybill/orchestrator"
)

// returns are the addresses that the browser comes back to from the identity
// server: it calls them here, or somebody types them.
type returns struct {
	arrivals chan arrival
	stop     func()
}

// arrival is one of them.
type arrival struct {
	address string
	reply   chan<- page // to the browser; nil where somebody has typed the address
}

// page is what the browser gets to see: where to go next, what went wrong, or
// that it is done.
type page struct {
	next string
	err  error
}

// show answers the browser, if that is who came.
func (a arrival) show(p page) {
	if a.reply != nil {
		a.reply <- p
	}
}

var (
	errNoReturn = errors.New("the browser has not come back")
	errEmpty    = errors.New("no address was given")
)

// longestAddress is far more than any browser takes.
const longestAddress = 1 << 20

// showFor bounds how long the last page may take to reach the browser.
const showFor = 2 * time.Second

func newReturns() *returns { return &returns{arrivals: make(chan arrival), stop: func() {}} }

// listen has the browser come back to this machine.
func (r *returns) listen(ctx context.Context, redirectURL string) error {
	u, err := url.Parse(redirectURL)
	if err != nil || u.Scheme != "http" || !isLoopback(u.Hostname()) {
		return fmt.Errorf("the redirect URL %s is not one of this machine", redirectURL)
	}
	path := cmp.Or(u.EscapedPath(), "/")
	listeners, err := listenLoopback(ctx, net.ListenConfig{}, u)
	if err != nil {
		return err
	}
	// No ServeMux: it would redirect paths that are not clean.
	handler := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Method != http.MethodGet || req.URL.EscapedPath() != path {
			http.NotFound(w, req)
			return
		}
		address := *u
		address.RawQuery = req.URL.RawQuery // with the redirect URL's own in it
		r.serve(w, req, address.String())
	})
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	ended := make(chan struct{}, len(listeners))
	for _, listener := range listeners {
		go func() {
			_ = server.Serve(listener) // it ends when it is closed
			ended <- struct{}{}
		}()
	}
	r.stop = func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), showFor)
		defer cancel()
		if server.Shutdown(ctx) != nil {
			_ = server.Close() // a browser that keeps its connection
		}
		for range listeners {
			<-ended
		}
	}
	return nil
}

// serve hands an arrival over and shows what comes of it.
func (r *returns) serve(w http.ResponseWriter, req *http.Request, address string) {
	reply := make(chan page, 1)
	select {
	case r.arrivals <- arrival{address: address, reply: reply}:
	case <-req.Context().Done():
		return
	}
	select {
	case p := <-reply:
		p.write(w, req)
	case <-req.Context().Done():
	}
}

var shown = template.Must(template.New("page").Parse(`<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>waybill: {{.Title}}</title></head>
<body style="font-family: sans-serif; margin: 3em; max-width: 40em"><h1 id="done">{{.Title}}</h1><p>{{.Text}}</p></body></html>
`))

func (p page) write(w http.ResponseWriter, req *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Referrer-Policy", "no-referrer") // the address has a code in it
	if p.next != "" {
		http.Redirect(w, req, p.next, http.StatusFound)
		return
	}
	said := struct{ Title, Text string }{"Logged in", "You can close this page."}
	if p.err != nil {
		said.Title, said.Text = "Not logged in", p.err.Error()
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(http.StatusBadRequest)
	}
	_ = shown.Execute(w, said) // whoever asked has gone
}

// read takes addresses from standard input, one a line, until it ends.
func (r *returns) read(ctx context.Context, in io.Reader) {
	go func() {
		lines := bufio.NewScanner(in)
		lines.Buffer(nil, longestAddress)
		for lines.Scan() {
			select {
			case r.arrivals <- arrival{address: strings.TrimSpace(lines.Text())}:
			case <-ctx.Done():
				return
			}
		}
		select {
		case r.arrivals <- arrival{}:
		case <-ctx.Done():
		}
	}()
}

// wait gives the arrival that an authorization has sent the browser to. Others
// are turned away: anybody can have a browser call this machine.
func (r *returns) wait(ctx context.Context, a *orchestrator.Authorization) (arrival, error) {
	for {
		select {
		case <-ctx.Done():
			return arrival{}, context.Cause(ctx) //nolint:wrapcheck // the cause is our own
		case came := <-r.arrivals:
			if came.address == "" {
				return came, errEmpty
			}
			if came.reply == nil || a.Answers(came.address) {
				return came, nil
			}
			came.show(page{err: errors.New("this is not the answer to the login that waits here")})
		}
	}
}
