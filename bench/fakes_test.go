package bench

import (
	"sync/atomic"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
	estats "google.golang.org/grpc/experimental/stats"
	"google.golang.org/grpc/resolver"

	"github.com/steelyard-go/steelyard/attrs"
)

// clientConn is the host as its policy sees it.
type clientConn struct {
	balancer.ClientConn // nil, embedded because gRPC asks for it
	host                *host
}

func (cc *clientConn) NewSubConn(addrs []resolver.Address, opts balancer.NewSubConnOptions) (balancer.SubConn, error) {
	cc.host.mu.Lock()
	defer cc.host.mu.Unlock()
	s := &subConn{
		host:     cc.host,
		addr:     addrs[0].Addr,
		number:   numberOf(addrs[0].Addr),
		weight:   attrs.FromAddress(addrs[0]).Weight,
		listener: opts.StateListener,
	}
	cc.host.made = append(cc.host.made, s)
	return s, nil
}

func (cc *clientConn) UpdateState(s balancer.State) {
	cc.host.state.Store(&s)
	cc.host.pickers.Add(1)
}

func (cc *clientConn) ResolveNow(resolver.ResolveNowOptions) {}

func (cc *clientConn) Target() string { return "bench:///service" }

func (cc *clientConn) MetricsRecorder() estats.MetricsRecorder {
	return estats.UnimplementedMetricsRecorder{}
}

// subConn is a fake connection.
type subConn struct {
	balancer.SubConn // nil, embedded because gRPC asks for it
	host             *host
	addr             string
	number           int32 // of the backend, the same for all connections to it
	weight           uint32
	listener         func(balancer.SubConnState)
	health           func(balancer.SubConnState)
	closed           atomic.Bool
	left             atomic.Int64 // when it left READY, by the clock of a churn; 0 when it may be picked
	picks            int          // counted by the benchmarks, one goroutine at a time
}

// ready takes the connection from IDLE to READY and healthy.
func (s *subConn) ready() {
	s.listener(balancer.SubConnState{ConnectivityState: connectivity.Connecting})
	s.listener(balancer.SubConnState{ConnectivityState: connectivity.Ready})
	if s.health != nil {
		s.health(balancer.SubConnState{ConnectivityState: connectivity.Ready})
	}
}

// Connect may be called with the policy's locks held, so it only takes note.
func (s *subConn) Connect() {
	s.host.mu.Lock()
	defer s.host.mu.Unlock()
	s.host.asked = append(s.host.asked, s)
}

func (s *subConn) RegisterHealthListener(listener func(balancer.SubConnState)) { s.health = listener }

func (s *subConn) Shutdown() {
	s.closed.Store(true)
	if f := s.host.shutdown; f != nil {
		s.host.shutdown = nil
		f()
	}
}
