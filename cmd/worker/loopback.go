package main

import (
	"context"
	"errors"
	"net"
	"net/url"
	"strings"
	"syscall"
)

// listenLoopback listens on each address that the host's name may mean to the
// browser.
func listenLoopback(ctx context.Context, u *url.URL) ([]net.Listener, error) {
	port := u.Port()
	if port == "" {
		port = "80"
	}
	hosts := []string{u.Hostname()}
	if isLocalhost(u.Hostname()) {
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
	return isLocalhost(host) || ip != nil && ip.IsLoopback()
}

func isLocalhost(host string) bool { return strings.EqualFold(host, "localhost") }
