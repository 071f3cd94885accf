package balancertest

import (
	"errors"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/resolver"
)

// patience is how long a connection that a test drives waits for the policy's
// Connect. Most policies connect at once; one behind a parent with a goroutine of
// its own, or one that waits for a timer, takes a while.
const patience = 2 * time.Second

var errRefused = errors.New("balancertest: connection refused")

// SubConn is a fake connection. The exported methods that balancer.SubConn also
// has are the policy's; Ready, Fail, Idle and SetHealth are the test's and, like
// all that drives a policy, must not be called from inside one. Safe for
// concurrent use.
type SubConn struct {
	balancer.SubConn // nil, embedded because gRPC asks for it

	channel   *Channel
	addresses []resolver.Address
	listener  func(balancer.SubConnState)
	connected chan struct{} // holds a token after a Connect

	driving sync.Mutex // one way through the states at a time

	mu       sync.Mutex
	state    connectivity.State
	told     connectivity.State // the last state that the listener heard of
	health   balancer.SubConnState
	hears    *healthListener // nil when none is registered
	inHealth bool            // the health listener is being called
}

// A healthListener is told from an earlier one by its address.
type healthListener struct {
	call func(balancer.SubConnState)
}

// NewSubConn returns a READY connection to addr that belongs to no channel, for
// the unit test of a picker.
func NewSubConn(addr string) *SubConn {
	s := newSubConn(detached(), []resolver.Address{{Addr: addr}}, func(balancer.SubConnState) {})
	s.state, s.told = connectivity.Ready, connectivity.Ready
	return s
}

func newSubConn(c *Channel, addresses []resolver.Address, listener func(balancer.SubConnState)) *SubConn {
	return &SubConn{
		channel:   c,
		addresses: addresses,
		listener:  listener,
		connected: make(chan struct{}, 1),
		health:    balancer.SubConnState{ConnectivityState: connectivity.Ready},
	}
}

// String returns the address, the first one if there are several.
func (s *SubConn) String() string { return s.addresses[0].Addr }

// Addresses returns what the policy asked to connect to.
func (s *SubConn) Addresses() []resolver.Address { return slices.Clone(s.addresses) }

// State returns the connection's state.
func (s *SubConn) State() connectivity.State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

// Ready establishes the connection: by way of IDLE and CONNECTING, as far as it
// is not there yet. The policy has heard of it when Ready returns. A policy that
// does not ask to Connect fails the test.
func (s *SubConn) Ready() {
	if s.State() != connectivity.Ready {
		s.attempt(balancer.SubConnState{ConnectivityState: connectivity.Ready})
	}
}

// Fail makes a connection attempt fail with err: the one that is under way, or
// else the next one, after the connection has been lost or the backoff has
// passed. A nil err stands for a refused connection.
func (s *SubConn) Fail(err error) {
	if err == nil {
		err = errRefused
	}
	s.attempt(balancer.SubConnState{ConnectivityState: connectivity.TransientFailure, ConnectionError: err})
}

// Idle loses the connection, or ends the backoff after a failed attempt.
func (s *SubConn) Idle() {
	s.driving.Lock()
	defer s.driving.Unlock()
	s.become(balancer.SubConnState{ConnectivityState: connectivity.Idle},
		connectivity.Connecting, connectivity.Ready, connectivity.TransientFailure)
}

// SetHealth sets what a health listener hears: the one registered now, and each
// that registers later, also after a reconnect. At first it is READY, as without
// any health check.
func (s *SubConn) SetHealth(state connectivity.State, err error) {
	s.channel.queue.run(func() {
		s.mu.Lock()
		s.health = balancer.SubConnState{ConnectivityState: state, ConnectionError: err}
		listener := s.hears
		s.mu.Unlock()
		s.tellHealth(listener)
	})
}

// attempt takes the connection through IDLE and CONNECTING to outcome.
func (s *SubConn) attempt(outcome balancer.SubConnState) {
	s.driving.Lock()
	defer s.driving.Unlock()
	s.become(balancer.SubConnState{ConnectivityState: connectivity.Idle},
		connectivity.Ready, connectivity.TransientFailure)
	for !s.become(outcome, connectivity.Connecting) {
		select {
		case <-s.connected:
		case <-time.After(patience):
			s.channel.errorf("balancertest: %v cannot become %v: the policy does not Connect it", s, outcome.ConnectivityState)
			return
		}
	}
}

// become moves the connection to next if it is in one of the states from, and
// reports whether that is settled: it is also when the connection, or its
// channel, is no more.
func (s *SubConn) become(next balancer.SubConnState, from ...connectivity.State) bool {
	settled := true
	s.channel.queue.run(func() {
		s.mu.Lock()
		moves := slices.Contains(from, s.state)
		settled = moves || s.state == connectivity.Shutdown
		if moves {
			s.state = next.ConnectivityState
		}
		s.mu.Unlock()
		if moves {
			s.tell(next)
		}
	})
	return settled
}

// tell is a task: it lets the policy hear of a new state.
func (s *SubConn) tell(update balancer.SubConnState) {
	s.mu.Lock()
	s.told = update.ConnectivityState
	s.hears = nil // a health listener is for one connection
	s.mu.Unlock()
	s.listener(update)
}
