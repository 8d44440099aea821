package main

import (
	"errors"
	"net"
	"net/url"
	"strings"
	"syscall"
	"testing"
)

// The other address will do only where this one is not there at all: whoever has
// it would get what the browser comes back with.
func TestListenLoopback(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		six   error // what there is about ::1
		fails bool
	}{
		{"no such address", syscall.EADDRNOTAVAIL, false},
		{"no such family", syscall.EAFNOSUPPORT, false},
		{"no such address, Windows", syscall.Errno(10049), false},
		{"no such family, Windows", syscall.Errno(10047), false},
		{"in use", syscall.EADDRINUSE, true},
		{"in use, Windows", syscall.Errno(10048), true},
		{"not permitted", syscall.EACCES, true},
		{"not permitted, Windows", syscall.Errno(10013), true},
		{"whatever else", errors.New("no more files"), true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var tried []string
			by := net.ListenConfig{Control: func(_, address string, _ syscall.RawConn) error {
				tried = append(tried, address)
				if strings.HasPrefix(address, "[") {
					return test.six
				}
				return nil
			}}
			u := &url.URL{Scheme: "http", Host: "localhost:" + freePort(t)}
			listeners, err := listenLoopback(t.Context(), by, u)
			for _, one := range listeners {
				if err := one.Close(); err != nil {
					t.Error(err)
				}
			}
			if len(tried) < 2 {
				t.Skip("this machine does not know IPv6: ", err)
			}
			if test.fails && (!errors.Is(err, test.six) || listeners != nil) {
				t.Errorf("got %d listeners, %v; want %v", len(listeners), err, test.six)
			}
			if !test.fails && (err != nil || len(listeners) != 1) {
				t.Errorf("got %d listeners, %v; want one", len(listeners), err)
			}
			if err == nil {
				return
			}
			again, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:"+u.Port())
			if err != nil {
				t.Fatalf("the address that was to be had is still listened on: %v", err)
			}
			if err := again.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}
