package balancertest

import (
	"errors"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
	estats "google.golang.org/grpc/experimental/stats"
	"google.golang.org/grpc/resolver"
)

// This file is what a policy sees of the fakes: balancer.ClientConn, and the
// methods of balancer.SubConn.

// clientConn is the channel as its policy sees it.
type clientConn struct {
	balancer.ClientConn // nil, embedded because gRPC asks for it
	channel             *Channel
}

func (cc *clientConn) NewSubConn(addresses []resolver.Address, opts balancer.NewSubConnOptions) (balancer.SubConn, error) {
	c := cc.channel
	if len(addresses) == 0 {
		c.errorf("balancertest: NewSubConn without an address")
		return nil, errors.New("balancertest: cannot create SubConn with empty address list")
	}
	s := newSubConn(c, addresses, opts.StateListener)
	if s.listener == nil {
		//nolint:staticcheck // deprecated, and what gRPC does
		s.listener = func(update balancer.SubConnState) { c.policy.UpdateSubConnState(s, update) }
	}
	if !c.add(s) {
		return nil, errors.New("balancertest: the channel is closed")
	}
	return s, nil
}

func (cc *clientConn) UpdateState(state balancer.State) { cc.channel.publish(state) }

func (cc *clientConn) ResolveNow(resolver.ResolveNowOptions) { cc.channel.resolveNows.Add(1) }

func (cc *clientConn) Target() string { return target }

func (cc *clientConn) MetricsRecorder() estats.MetricsRecorder {
	return estats.UnimplementedMetricsRecorder{}
}

func (cc *clientConn) RemoveSubConn(sc balancer.SubConn) {
	cc.channel.errorf("balancertest: RemoveSubConn(%v): use SubConn.Shutdown", sc)
}

func (cc *clientConn) UpdateAddresses(sc balancer.SubConn, _ []resolver.Address) {
	cc.channel.errorf("balancertest: UpdateAddresses(%v): make a new SubConn", sc)
}

// add reports whether the channel is open and s therefore part of it.
func (c *Channel) add(s *SubConn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.created.Add(1)
	for _, address := range s.addresses {
		c.live[address.Addr] = s
	}
	return true
}

func (c *Channel) remove(s *SubConn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shutDown.Add(1)
	for _, address := range s.addresses {
		if c.live[address.Addr] == s {
			delete(c.live, address.Addr)
		}
	}
}

func (c *Channel) publish(state balancer.State) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		c.errorf("balancertest: UpdateState(%v) after Close", state.ConnectivityState)
		return
	}
	if state.Picker == nil {
		c.errorf("balancertest: UpdateState(%v) without a picker", state.ConnectivityState)
		return
	}
	c.updates.Add(1)
	c.latest.Store(&state)
}

// errorf fails the test, from whatever goroutine found the fault.
func (c *Channel) errorf(format string, args ...any) {
	if c.tb == nil {
		return
	}
	c.tb.Helper()
	c.tb.Errorf(format, args...)
}

// Connect begins a connection attempt if the connection is IDLE.
func (s *SubConn) Connect() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == connectivity.Shutdown {
		s.channel.errorf("balancertest: Connect on %v after its Shutdown", s)
	}
	if s.state != connectivity.Idle {
		return
	}
	s.state = connectivity.Connecting
	s.tellLaterLocked()
	select {
	case s.connected <- struct{}{}:
	default:
	}
}

// Shutdown ends the connection.
func (s *SubConn) Shutdown() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == connectivity.Shutdown {
		return
	}
	s.state = connectivity.Shutdown
	s.tellLaterLocked()
	s.channel.remove(s)
}

// tellLaterLocked queues the news of s.state; s.mu is held, so that the queue
// has the same order as the states.
func (s *SubConn) tellLaterLocked() {
	update := balancer.SubConnState{ConnectivityState: s.state}
	s.channel.queue.later(func() { s.tell(update) })
}

// RegisterHealthListener lets listener hear the connection's health, see
// SetHealth, until the connection leaves READY or another listener takes its
// place. A nil listener only drops the one before.
func (s *SubConn) RegisterHealthListener(listener func(balancer.SubConnState)) {
	registered := s.registerHealth(listener)
	if s.channel.queuedHealth {
		s.channel.queue.later(func() { s.tellHealth(registered) })
		return
	}
	s.tellHealth(registered)
}

// registerHealth returns nil when there is no listener to tell.
func (s *SubConn) registerHealth(listener func(balancer.SubConnState)) *healthListener {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inHealth {
		s.channel.errorf("balancertest: RegisterHealthListener on %v from within its health listener", s)
		return nil
	}
	if s.state == connectivity.Shutdown || s.told != connectivity.Ready {
		s.channel.errorf("balancertest: RegisterHealthListener on %v, which is not READY", s)
		return nil
	}
	s.hears = nil
	if listener != nil {
		s.hears = &healthListener{call: listener}
	}
	return s.hears
}

// tellHealth lets listener hear the health, unless it is registered no more.
func (s *SubConn) tellHealth(listener *healthListener) {
	s.mu.Lock()
	if listener == nil || listener != s.hears {
		s.mu.Unlock()
		return
	}
	update := s.health
	s.inHealth = true
	s.mu.Unlock()
	listener.call(update)
	s.mu.Lock()
	s.inHealth = false
	s.mu.Unlock()
}

// UpdateAddresses is deprecated by gRPC and fails the test.
func (s *SubConn) UpdateAddresses([]resolver.Address) {
	s.channel.errorf("balancertest: UpdateAddresses on %v: make a new SubConn", s)
}

// GetOrBuildProducer fails the test: a fake connection has no producers.
func (s *SubConn) GetOrBuildProducer(balancer.ProducerBuilder) (balancer.Producer, func()) {
	s.channel.errorf("balancertest: GetOrBuildProducer on %v: a fake connection has no producers", s)
	return nil, func() {}
}
