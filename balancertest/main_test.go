package balancertest_test

import (
	"fmt"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/resolver"

	"github.com/steelyard-go/steelyard/attrs"
	"github.com/steelyard-go/steelyard/balancertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// faults is a testing.TB that keeps the failures that a fake reports, so that
// tests can ask for them.
type faults struct {
	testing.TB
	mu   sync.Mutex
	list []string
}

func (f *faults) Errorf(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = append(f.list, fmt.Sprintf(format, args...))
}

func (f *faults) all() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.list
}

// probe is a policy that does what the test tells it and remembers what it heard.
type probe struct {
	balancer.Balancer
	cc       balancer.ClientConn
	onUpdate func(*probe, balancer.ClientConnState) error
	onState  func(*probe, balancer.SubConn, balancer.SubConnState)
	heard    []string
}

func (p *probe) UpdateClientConnState(s balancer.ClientConnState) error { return p.onUpdate(p, s) }

func (p *probe) ResolverError(err error) { p.heard = append(p.heard, "resolver error: "+err.Error()) }

func (p *probe) ExitIdle() { p.heard = append(p.heard, "exit idle") }

func (p *probe) Close() { p.heard = append(p.heard, "close") }

// connect makes one connection to each endpoint's first address.
func connect(p *probe, s balancer.ClientConnState) error {
	for _, e := range s.ResolverState.Endpoints {
		p.dial(e.Addresses[0]).Connect()
	}
	return nil
}

func (p *probe) dial(addresses ...resolver.Address) balancer.SubConn {
	var sc balancer.SubConn
	sc, _ = p.cc.NewSubConn(addresses, balancer.NewSubConnOptions{StateListener: func(s balancer.SubConnState) {
		p.heard = append(p.heard, fmt.Sprintf("%v %v", sc, s.ConnectivityState))
		if p.onState != nil {
			p.onState(p, sc, s)
		}
	}})
	return sc
}

type probeBuilder struct{ p *probe }

func (b probeBuilder) Name() string { return "balancertest_probe" }

func (b probeBuilder) Build(cc balancer.ClientConn, _ balancer.BuildOptions) balancer.Balancer {
	b.p.cc = cc
	return b.p
}

// host returns a channel that hosts p, and the faults it found.
func host(t *testing.T, p *probe, opts ...balancertest.Option) (*balancertest.Channel, *faults) {
	t.Helper()
	if p.onUpdate == nil {
		p.onUpdate = connect
	}
	balancer.Register(probeBuilder{p})
	f := &faults{TB: t}
	return balancertest.NewChannel(f, "balancertest_probe", "", opts...), f
}

func endpoints(addrs ...string) []resolver.Endpoint {
	list := make([]resolver.Endpoint, len(addrs))
	for i, addr := range addrs {
		list[i] = balancertest.Endpoint(addr, attrs.Attrs{})
	}
	return list
}

// pickerFunc is a picker.
type pickerFunc func(balancer.PickInfo) (balancer.PickResult, error)

func (f pickerFunc) Pick(info balancer.PickInfo) (balancer.PickResult, error) { return f(info) }

// always returns the state of a channel that sends every call to sc.
func always(sc balancer.SubConn) balancer.State {
	return balancer.State{
		ConnectivityState: connectivity.Ready,
		Picker: pickerFunc(func(balancer.PickInfo) (balancer.PickResult, error) {
			return balancer.PickResult{SubConn: sc}, nil
		}),
	}
}
