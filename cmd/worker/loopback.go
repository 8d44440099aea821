package main

import (
	"context"
	"errors"
	"net"
	"net/url"
	"slices"
	"strings"
	"syscall"
)

// listenLoopback listens on each address that the host's name may mean to the
// browser, as far as this machine has it. If one of them cannot be had for
// another reason, the browser might come back to whoever has it.
func listenLoopback(ctx context.Context, by net.ListenConfig, u *url.URL) ([]net.Listener, error) {
	port := u.Port()
	if port == "" {
		port = "80"
	}
	hosts := []string{u.Hostname()}
	if isLocalhost(u.Hostname()) {
		hosts = []string{"127.0.0.1", "::1"}
	}
	var listeners []net.Listener
	var missing error
	for _, host := range hosts {
		listener, err := by.Listen(ctx, "tcp", net.JoinHostPort(host, port))
		if isNoAddress(err) {
			missing = errors.Join(missing, err)
			continue
		}
		if err != nil {
			for _, one := range listeners {
				_ = one.Close() // it was only asked for
			}
			return nil, err //nolint:wrapcheck // it names the address
		}
		listeners = append(listeners, listener)
	}
	if len(listeners) == 0 {
		return nil, missing
	}
	return listeners, nil
}

// isNoAddress tells that this machine has no such address, or none of its family.
func isNoAddress(err error) bool {
	e, ok := errors.AsType[syscall.Errno](err)
	return ok && slices.Contains([]syscall.Errno{
		syscall.EADDRNOTAVAIL, syscall.EAFNOSUPPORT,
		10049, 10047, // on Windows, where syscall's numbers of these names are made up
	}, e)
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return isLocalhost(host) || ip != nil && ip.IsLoopback()
}

func isLocalhost(host string) bool { return strings.EqualFold(host, "localhost") }
