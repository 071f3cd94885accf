package bench

import (
	"encoding/json"
	"fmt"
	"iter"
	"net/netip"
	"net/url"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/orca"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/serviceconfig"

	"github.com/steelyard-go/steelyard/attrs"
)

// host is a fake channel around a policy. It differs from balancertest.Channel
// in what it is for: it checks nothing, and it can connect any number of
// backends of gRPC's own policies in time proportional to that number, see
// open. What it tells the policy it tells from one goroutine.
type host struct {
	tb       testing.TB
	of       policy
	policy   balancer.Balancer
	config   serviceconfig.LoadBalancingConfig
	state    atomic.Pointer[balancer.State]
	pickers  atomic.Int64 // how many have been published
	shutdown func()       // called by the next Shutdown of a connection
	during   func()       // what passes in a call that count makes

	goroutines int // how many there were before

	mu    sync.Mutex
	made  []*subConn
	asked []*subConn // told to connect and not connected yet
}

func newHost(tb testing.TB, p policy) *host {
	tb.Helper()
	builder := balancer.Get(p.lb)
	if builder == nil {
		tb.Fatalf("no policy is registered under the name %q", p.lb)
	}
	h := &host{tb: tb, of: p, during: func() {}, goroutines: runtime.NumGoroutine()}
	if p.config != "" {
		parser, ok := builder.(balancer.ConfigParser)
		if !ok {
			tb.Fatalf("%s takes no config", p.lb)
		}
		var err error
		if h.config, err = parser.ParseConfig(json.RawMessage(p.config)); err != nil {
			tb.Fatalf("config of %s: %v", p.label, err)
		}
	}
	h.policy = builder.Build(&clientConn{host: h}, balancer.BuildOptions{
		Target: resolver.Target{URL: url.URL{Scheme: "bench", Path: "/service"}},
	})
	return h
}

// endpoints returns the list of n backends, the weights being dealt out in turn.
func endpoints(n int, weights ...uint32) []resolver.Endpoint {
	list := make([]resolver.Endpoint, n)
	for i := range list {
		list[i] = endpoint(fmt.Sprintf("10.%d.%d.%d:8080", i>>16, i>>8&255, i&255), weights[i%len(weights)])
	}
	return list
}

// numberOf returns the number of a backend in endpoints' list.
func numberOf(addr string) int32 {
	ip := netip.MustParseAddrPort(addr).Addr().As4()
	return int32(ip[1])<<16 | int32(ip[2])<<8 | int32(ip[3])
}

func endpoint(addr string, weight uint32) resolver.Endpoint {
	return attrs.Set(resolver.Endpoint{Addresses: []resolver.Address{{Addr: addr}}}, attrs.Attrs{Weight: weight})
}

// opened returns a host of p with all of list connected, of a lazy policy those
// backends that the calls want, and with the weights in force.
func opened(tb testing.TB, p policy, list []resolver.Endpoint, calls iter.Seq[*call]) *host {
	tb.Helper()
	h := newHost(tb, p)
	h.open(list, calls)
	if p.reports {
		h.weigh(len(list))
		h.update(list)
	}
	if p.keyed() {
		h.settle() // the table of one backend, with which open begins, serves until that of all is built
	}
	return h
}

// open connects list. gRPC's own policies look at every backend when one
// changes, so that connecting them one by one takes time quadratic in their
// number, and 10,000 take minutes. But what changes while they take over a
// list they look at once, in its end. A backend that drops its second address
// is the way in: to them it is another one under the same name, so in the
// midst of the takeover they shut its old connection down, and then the others
// are connected.
func (h *host) open(list []resolver.Endpoint, calls iter.Seq[*call]) {
	before := slices.Clone(list)
	before[0].Addresses = append(slices.Clone(before[0].Addresses), resolver.Address{Addr: "192.0.2.1:8080"})
	h.update(before[:1])
	h.demand(h.of.numbered(1))
	h.update(before)
	h.shutdown = func() { h.demand(calls) }
	h.update(list)
	h.connect()
	h.update(list) // policies that take their time to build have built after this
}

// demand lets calls ask a lazy policy for their backends, and connects all that
// want to be.
func (h *host) demand(calls iter.Seq[*call]) {
	if h.of.lazy {
		for c := range calls {
			_, _ = h.picker().Pick(c.info)
		}
	}
	h.connect()
}

// connect connects all backends that want to be.
func (h *host) connect() {
	if h.of.lazy {
		h.awaitDemand()
	}
	for _, s := range h.take() {
		s.ready()
	}
}

// awaitDemand returns when the goroutines that lazy policies connect from have
// not been heard of for a while. One that comes later costs time, not truth:
// pick connects it.
func (h *host) awaitDemand() {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for before := -1; ; {
		<-tick.C
		h.mu.Lock()
		now := len(h.asked)
		h.mu.Unlock()
		if now == before {
			return
		}
		before = now
	}
}

// take returns the connections that were asked for.
func (h *host) take() []*subConn {
	h.mu.Lock()
	defer h.mu.Unlock()
	asked := h.asked
	h.asked = nil
	return asked
}

// weigh reports each backend's weight to the policy with the end of a call, as
// a server does that reports its load with every answer. Before the first
// report the policy serves its n backends in turn, so n calls reach all.
func (h *host) weigh(n int) {
	c := h.of.newCall()
	for range n {
		picked := h.pick(c)
		report := reportOf(orca.OOBListener.OnLoadReport)
		report.ApplicationUtilization, report.RpsFractional = 1, float64(picked.SubConn.(*subConn).weight)
		picked.Done(balancer.DoneInfo{ServerLoad: report})
	}
}

// reportOf returns an empty report of the type that listener hears. To name
// the type would be to depend on the xDS protocol's module.
func reportOf[R any](func(orca.OOBListener, *R)) *R { return new(R) }

// pick makes one call succeed, connecting what it needs.
func (h *host) pick(c *call) balancer.PickResult {
	picked, err := h.picker().Pick(c.info)
	for range 100 {
		if err == nil {
			return picked
		}
		h.connect()
		picked, err = h.picker().Pick(c.info)
	}
	h.tb.Fatalf("%s: pick: %v", h.of.label, err)
	return picked
}

// picker returns the one that was published last.
func (h *host) picker() balancer.Picker { return h.state.Load().Picker }

// update hands the policy a list.
func (h *host) update(list []resolver.Endpoint) {
	state := resolver.State{Endpoints: list}
	if h.of.addresses {
		state.Addresses = make([]resolver.Address, len(list))
		for i, e := range list {
			state.Addresses[i] = e.Addresses[0]
		}
	}
	err := h.policy.UpdateClientConnState(balancer.ClientConnState{ResolverState: state, BalancerConfig: h.config})
	if err != nil {
		h.tb.Fatalf("%s: update: %v", h.of.label, err)
	}
}

func (h *host) close() { h.policy.Close() }
