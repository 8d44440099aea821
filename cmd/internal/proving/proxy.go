package proving

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// Proxy is a piece of network between a worker and a server, which can be cut,
// can swallow everything, and can be slow.
type Proxy struct {
	listener net.Listener
	target   string
	done     sync.WaitGroup

	mu          sync.Mutex
	connections map[net.Conn]struct{}
	state       network
	changed     chan struct{} // closed when the state has changed
}

// network is what the proxy does with what it is given.
type network struct {
	cut     bool          // connections are refused
	stalled bool          // nothing passes
	delay   time.Duration // of each piece that passes
}

// NewProxy listens on a free port of the loopback address, and passes what
// comes on to the target, an address with port. It ends with Close.
func NewProxy(ctx context.Context, target string) (*Proxy, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("proxy for %s: %w", target, err)
	}
	p := &Proxy{listener: listener, target: target, connections: make(map[net.Conn]struct{}), changed: make(chan struct{})}
	p.done.Go(p.accept)
	return p, nil
}

// Address is where it listens.
func (p *Proxy) Address() string { return p.listener.Addr().String() }

// Cut resets all connections and refuses new ones until Mend.
func (p *Proxy) Cut() { p.become(network{cut: true}) }

// Stall lets nothing pass until Mend, which then resets the connections there
// are: what was swallowed never arrives.
func (p *Proxy) Stall() { p.become(network{stalled: true}) }

// Slow delays each piece that passes.
func (p *Proxy) Slow(delay time.Duration) { p.become(network{delay: delay}) }

// Mend ends whatever was done to it.
func (p *Proxy) Mend() { p.become(network{}) }

func (p *Proxy) become(next network) {
	p.mu.Lock()
	reset := next.cut || p.state.stalled
	p.state = next
	close(p.changed)
	p.changed = make(chan struct{})
	if reset {
		for c := range p.connections {
			_ = c.Close() // that is the point
		}
	}
	p.mu.Unlock()
}

// Close ends it and waits until it has ended.
func (p *Proxy) Close() {
	_ = p.listener.Close() // it is not needed any more
	p.Cut()
	p.done.Wait()
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			p.done.Go(func() { p.serve(client) })
		}
	}
}

func (p *Proxy) serve(client net.Conn) {
	defer p.drop(client)
	if !p.keep(client) {
		return
	}
	server, err := (&net.Dialer{Timeout: time.Second}).DialContext(context.Background(), "tcp", p.target)
	if err != nil {
		return // the client's connection is closed, as if nobody listened
	}
	defer p.drop(server)
	if !p.keep(server) {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { p.pass(server, client) })
	p.pass(client, server)
	both.Wait()
}

// keep notes a connection; it is refused where the network is cut.
func (p *Proxy) keep(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state.cut {
		return false
	}
	p.connections[c] = struct{}{}
	return true
}

func (p *Proxy) drop(c net.Conn) {
	_ = c.Close() // it may be closed already
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.connections, c)
}

// pass copies until either side ends, and then ends both.
func (p *Proxy) pass(to, from net.Conn) {
	defer to.Close()   //nolint:errcheck // it may be closed already
	defer from.Close() //nolint:errcheck // it may be closed already
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			p.wait()
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// wait is how long the network takes for one piece.
func (p *Proxy) wait() {
	for {
		p.mu.Lock()
		state, changed := p.state, p.changed
		p.mu.Unlock()
		if !state.stalled {
			if state.delay > 0 {
				<-time.After(state.delay)
			}
			return
		}
		<-changed
	}
}
