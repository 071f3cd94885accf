package balancers_test

import (
	"encoding/json"
	"fmt"
	"sync"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/serviceconfig"
)

const spyPolicy = "steelyard_test_spy"

// spy is a parent of the test policy that notes what passes by, and that can
// repeat to its child what a health listener heard before, as a parent with a
// goroutine of its own may do.
type spy struct {
	mu        sync.Mutex
	events    []string
	listeners []func(balancer.SubConnState) // every one registered, in order
}

// registerSpy makes the parent available.
func registerSpy() *spy {
	s := &spy{}
	balancer.Register(spyBuilder{s})
	return s
}

func (s *spy) note(event string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, event)
}

// take returns the events since it was last called.
func (s *spy) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	events := s.events
	s.events = nil
	return events
}

type spyBuilder struct{ spy *spy }

func (spyBuilder) Name() string { return spyPolicy }

func (b spyBuilder) Build(cc balancer.ClientConn, opts balancer.BuildOptions) balancer.Balancer {
	return balancer.Get(testPolicy).Build(&spyClientConn{cc, b.spy}, opts)
}

func (spyBuilder) ParseConfig(text json.RawMessage) (serviceconfig.LoadBalancingConfig, error) {
	return balancer.Get(testPolicy).(balancer.ConfigParser).ParseConfig(text)
}

type spyClientConn struct {
	balancer.ClientConn
	spy *spy
}

func (cc *spyClientConn) NewSubConn(addrs []resolver.Address, opts balancer.NewSubConnOptions) (balancer.SubConn, error) {
	sc, err := cc.ClientConn.NewSubConn(addrs, opts)
	return &spySubConn{sc, cc.spy}, err
}

func (cc *spyClientConn) UpdateState(s balancer.State) {
	cc.spy.note(fmt.Sprintf("picker %v", s.ConnectivityState))
	s.Picker = spyPicker{s.Picker}
	cc.ClientConn.UpdateState(s)
}

type spySubConn struct {
	balancer.SubConn
	spy *spy
}

func (sc *spySubConn) Shutdown() {
	sc.spy.note(fmt.Sprintf("shutdown %v", sc.SubConn))
	sc.SubConn.Shutdown()
}

func (sc *spySubConn) RegisterHealthListener(listener func(balancer.SubConnState)) {
	sc.spy.mu.Lock()
	sc.spy.listeners = append(sc.spy.listeners, listener)
	sc.spy.mu.Unlock()
	sc.SubConn.RegisterHealthListener(listener)
}

// spyPicker gives gRPC its own connections back.
type spyPicker struct{ balancer.Picker }

func (p spyPicker) Pick(info balancer.PickInfo) (balancer.PickResult, error) {
	picked, err := p.Picker.Pick(info)
	if sc, ok := picked.SubConn.(*spySubConn); ok {
		picked.SubConn = sc.SubConn
	}
	return picked, err
}
