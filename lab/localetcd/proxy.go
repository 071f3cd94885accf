package localetcd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"
)

// acceptPause is how long the proxy waits for better times.
const acceptPause = 10 * time.Millisecond

// Proxy passes TCP connections on to a server, and can fail as a network does.
// The target is dialed anew for each connection; if it is down the connection is
// reset. Its methods are safe for concurrent use, at any time and in any order.
type Proxy struct {
	target    string
	listener  net.Listener
	accepting sync.WaitGroup
	running   sync.WaitGroup // the links

	mu    sync.Mutex
	cut   bool
	gate  chan struct{} // closed while bytes pass
	delay time.Duration
	links map[*link]struct{}
}

// StartProxy gives a test a proxy to target (host:port), which ends with the test.
func StartProxy(tb testing.TB, target string) *Proxy {
	tb.Helper()
	p, err := NewProxy(target)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := p.Close(); err != nil {
			tb.Errorf("localetcd: close: %v", err)
		}
	})
	return p
}

// NewProxy starts a proxy to target (host:port). Close ends it.
func NewProxy(target string) (*Proxy, error) {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", anyPort)
	if err != nil {
		return nil, fmt.Errorf("localetcd: proxy to %s: %w", target, err)
	}
	p := &Proxy{target: target, listener: l, gate: make(chan struct{}), links: map[*link]struct{}{}}
	close(p.gate)
	p.accepting.Go(p.accept)
	return p, nil
}

// Addr is the host:port to connect to in place of the target's.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Cut resets all connections, and each new one as soon as it is accepted.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = true
	for l := range p.links {
		l.reset()
	}
}

// Blackhole keeps all connections, and accepts new ones, but passes nothing on
// either way, not even the end of a connection.
func (p *Proxy) Blackhole() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = false
	if p.openLocked() {
		p.gate = make(chan struct{})
	}
}

// Mend ends [Proxy.Cut] and [Proxy.Blackhole]. As on a network that repeats
// what was lost, what a blackhole held is passed on.
func (p *Proxy) Mend() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = false
	if !p.openLocked() {
		close(p.gate)
	}
}

// Delay has each piece of data wait for d, each way; what comes in meanwhile
// waits for its turn. Zero, as at the start, ends it.
func (p *Proxy) Delay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

// Close ends the proxy and resets its connections. It may be called again.
func (p *Proxy) Close() error {
	err := p.listener.Close()
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	p.accepting.Wait()
	p.Cut()
	p.running.Wait()
	return err
}

func (p *Proxy) openLocked() bool {
	select {
	case <-p.gate:
		return true
	default:
		return false
	}
}

func (p *Proxy) accept() {
	for {
		conn, err := p.listener.Accept()
		switch {
		case err == nil:
			p.admit(conn)
		case errors.Is(err, net.ErrClosed):
			return
		default: // such as too many open files
			<-time.After(acceptPause)
		}
	}
}

// admit starts a link for the connection, or resets it while all are cut.
func (p *Proxy) admit(conn net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := newLink(p, conn)
	if p.cut {
		l.reset()
		return
	}
	p.links[l] = struct{}{}
	p.running.Go(func() {
		l.run()
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.links, l)
	})
}

// pass returns when a piece of data may go on, or with the error of ctx.
func (p *Proxy) pass(ctx context.Context) error {
	p.mu.Lock()
	delay := p.delay
	p.mu.Unlock()
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for {
		p.mu.Lock()
		gate, open := p.gate, p.openLocked()
		p.mu.Unlock()
		if open {
			return ctx.Err()
		}
		select {
		case <-gate:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
