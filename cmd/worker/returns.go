package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"html/template"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
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

// showFor bounds how long the last page may take to reach the browser.
const showFor = 2 * time.Second

func newReturns() *returns { return &returns{arrivals: make(chan arrival), stop: func() {}} }

// listen has the browser come back to this machine.
func (r *returns) listen(ctx context.Context, redirectURL string) error {
	u, err := url.Parse(redirectURL)
	if err != nil || u.Scheme != "http" || !isLoopback(u.Hostname()) {
		return fmt.Errorf("the redirect URL %s is not one of this machine", redirectURL)
	}
	listeners, err := listenLoopback(ctx, u)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /", func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path != u.EscapedPath() && req.URL.Path+u.EscapedPath() != "/" {
			http.NotFound(w, req)
			return
		}
		r.serve(w, req, redirectURL)
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
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

// listenLoopback listens on each address that the host's name may mean to the
// browser.
func listenLoopback(ctx context.Context, u *url.URL) ([]net.Listener, error) {
	port := u.Port()
	if port == "" {
		port = "80"
	}
	hosts := []string{u.Hostname()}
	if u.Hostname() == "localhost" {
		hosts = []string{"127.0.0.1", "::1"}
	}
	var listeners []net.Listener
	var first error
	for _, host := range hosts {
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(host, port))
		if errors.Is(err, syscall.EADDRINUSE) {
			// The browser might come back to whoever has it.
			for _, one := range listeners {
				_ = one.Close() // it was only asked for
			}
			return nil, err //nolint:wrapcheck // it names the address
		}
		if err != nil { // there is no such address here
			first = errors.Join(first, err)
			continue
		}
		listeners = append(listeners, listener)
	}
	if len(listeners) == 0 {
		return nil, first
	}
	return listeners, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// serve hands an arrival over and shows what comes of it.
func (r *returns) serve(w http.ResponseWriter, req *http.Request, redirectURL string) {
	reply := make(chan page, 1)
	select {
	case r.arrivals <- arrival{address: redirectURL + "?" + req.URL.RawQuery, reply: reply}:
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
