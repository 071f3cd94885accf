package balancers

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/balancer/base"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/experimental/balancer/weight"
	"google.golang.org/grpc/grpclog"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/serviceconfig"

	"github.com/steelyard-go/steelyard/attrs"
)

var logger = grpclog.Component("steelyard")

// policy is what the channel needs of a registered policy: see configured.
type policy interface {
	configure(serviceconfig.LoadBalancingConfig) error
	slowStart() time.Duration
	level() bool
	build(Snapshot) balancer.Picker
}

// channel is the gRPC balancer of one channel.
//
// gRPC calls a balancer and its listeners one at a time, but parents such as
// outlier detection have a goroutine of their own, timers have theirs, and a
// listener may be called from within the call that registers it. So mu guards
// everything, and calls that may come straight back wait in after until mu is
// released. UpdateState is made with mu held: that keeps pickers in order.
type channel struct {
	name   string
	cc     balancer.ClientConn
	policy policy
	ctx    context.Context // for the policy: ends when the channel closes
	cancel context.CancelFunc

	mu          sync.Mutex
	closed      bool
	updating    bool                 // a new list is being taken over
	lists       uint64               // how many there have been
	populated   bool                 // one of them named an endpoint
	endpoints   map[string]*endpoint // by identity
	sorted      []*endpoint          // the same, by address
	localZone   string
	sessions    uint64 // how many connections have been made
	slowStart   slowStart
	states      balancer.ConnectivityStateEvaluator
	state       connectivity.State
	connErr     error // the last reason why a connection failed or was unhealthy
	resolverErr error // the last resolver error, nil after a good list
	pace        pace
	after       []func() // to be called once mu is released
}

func newChannel(name string, cc balancer.ClientConn, p policy) *channel {
	ctx, cancel := context.WithCancel(context.Background())
	return &channel{
		name:      name,
		cc:        cc,
		policy:    p,
		ctx:       ctx,
		cancel:    cancel,
		endpoints: make(map[string]*endpoint),
		state:     connectivity.Connecting,
	}
}

// locked runs f with mu held, then what f left to be called without it. Once
// the channel is closed nothing runs.
func (c *channel) locked(f func()) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return
	}
	f()
	after := c.after
	c.after = nil
	c.mu.Unlock()
	for _, call := range after {
		call()
	}
}

// UpdateClientConnState takes over the resolver's list and the config. A
// config of another policy is refused whole: list and config stay as they were.
func (c *channel) UpdateClientConnState(s balancer.ClientConnState) (err error) {
	c.locked(func() {
		if err = c.policy.configure(s.BalancerConfig); err != nil {
			c.resolverErrorLocked(err)
			return
		}
		c.setSlowStartLocked(c.policy.slowStart())
		c.resolverErr = nil
		c.localZone = attrs.LocalZone(s.ResolverState)
		c.setEndpointsLocked(endpointsOf(s.ResolverState))
		if len(c.sorted) == 0 {
			err = balancer.ErrBadResolverState
		}
		c.publishLocked()
	})
	return err
}

// endpointsOf returns the list's endpoints: those it names or, where a
// resolver or a parent hands down addresses only, one for each address.
func endpointsOf(s resolver.State) []resolver.Endpoint {
	if len(s.Endpoints) > 0 {
		return s.Endpoints
	}
	list := make([]resolver.Endpoint, len(s.Addresses))
	for i, a := range s.Addresses {
		list[i] = resolver.Endpoint{Addresses: []resolver.Address{a}, Attributes: a.BalancerAttributes}
	}
	return list
}

// setEndpointsLocked makes the endpoints those of list. Of duplicates the
// first counts; endpoints without an address are left out.
func (c *channel) setEndpointsLocked(list []resolver.Endpoint) {
	c.updating = true
	defer func() { c.updating = false }()
	first := !c.populated
	c.lists++
	before := c.sorted
	c.sorted = make([]*endpoint, 0, len(list))
	largest := uint32(attrs.MaxWeight)
	for _, e := range list {
		if len(e.Addresses) == 0 {
			continue
		}
		id := identity(e)
		ep, known := c.endpoints[id]
		if !known {
			ep = newEndpointLocked(c, id)
			ep.original = first
			c.endpoints[id] = ep
		}
		if ep.seen == c.lists {
			continue // a duplicate
		}
		ep.seen = c.lists
		ep.attrs = attrs.FromEndpoint(e)
		ep.attrs.Weight = max(ep.attrs.Weight, 1)
		largest = max(largest, grpcWeight(e, ep))
		ep.setAddressesLocked(e.Addresses)
		c.sorted = append(c.sorted, ep)
	}
	for _, ep := range before {
		if ep.seen != c.lists {
			ep.removeLocked()
			delete(c.endpoints, ep.id)
		}
	}
	if largest > attrs.MaxWeight {
		c.scaleWeightsLocked(list, largest)
	}
	if !slices.IsSortedFunc(c.sorted, byAddress) { // most resolvers keep an order
		slices.SortFunc(c.sorted, byAddress)
	}
	c.populated = c.populated || len(c.sorted) > 0
	c.state = c.states.CurrentState()
}

// scaleWeightsLocked brings gRPC's own endpoint weights into range, the largest to
// the largest that there is. Those from xDS are fractions of 2³¹: cut one by one,
// most would be the same.
func (c *channel) scaleWeightsLocked(list []resolver.Endpoint, largest uint32) {
	for _, e := range slices.Backward(list) { // of duplicates the first counts
		if ep := c.endpoints[identity(e)]; ep != nil {
			if w := grpcWeight(e, ep); w > 0 {
				ep.attrs.Weight = uint32(max(1, uint64(w)*attrs.MaxWeight/uint64(largest)))
			}
		}
	}
}

// grpcWeight returns gRPC's own weight of an endpoint if that is where its weight
// comes from, else 0.
func grpcWeight(e resolver.Endpoint, ep *endpoint) uint32 {
	if w := weight.FromEndpoint(e).Weight; min(w, attrs.MaxWeight) == ep.attrs.Weight {
		return w
	}
	return 0
}

func byAddress(a, b *endpoint) int {
	return cmp.Or(strings.Compare(a.addrs[0].Addr, b.addrs[0].Addr), strings.Compare(a.id, b.id))
}

// identity names an endpoint by the set of its addresses, whatever their order.
func identity(e resolver.Endpoint) string {
	if len(e.Addresses) == 1 {
		return e.Addresses[0].Addr
	}
	addrs := make([]string, len(e.Addresses))
	for i, a := range e.Addresses {
		addrs[i] = a.Addr
	}
	slices.Sort(addrs)
	return strings.Join(slices.Compact(addrs), ",")
}

// ResolverError keeps a good list; it matters while there is none, and in the
// text of errors while nothing is connected.
func (c *channel) ResolverError(err error) {
	c.locked(func() { c.resolverErrorLocked(err) })
}

func (c *channel) resolverErrorLocked(err error) {
	c.resolverErr = err
	c.state = c.states.CurrentState() // TRANSIENT_FAILURE while there is no list
	if len(c.sorted) == 0 || c.state == connectivity.TransientFailure {
		c.publishLocked()
	}
}

// UpdateSubConnState is never called: every SubConn has a StateListener.
func (c *channel) UpdateSubConnState(sc balancer.SubConn, s balancer.SubConnState) {
	logger.Errorf("%s: UpdateSubConnState(%v, %v) called unexpectedly", c.name, sc, s)
}

// ExitIdle has nothing to do: a backend that goes IDLE reconnects at once.
func (c *channel) ExitIdle() {}

// Close shuts all connections down. Pickers that are out stay safe to use.
func (c *channel) Close() {
	c.locked(func() {
		c.closed = true
		c.cancel()
		c.pace.pause.stop()
		c.slowStart.step.stop()
		for _, ep := range c.sorted {
			ep.removeLocked()
		}
	})
}

// movedLocked records that ep went from one state to another and brings the
// picker up to date. With a short list that is a build for each change. With a
// long one builds keep a pause: an addition waits for its end, a departure
// must not, and is taken out of the picker by a guard around it.
func (c *channel) movedLocked(ep *endpoint, from, to connectivity.State) {
	before := c.state
	c.state = c.states.RecordTransition(from, to)
	if to == connectivity.Ready {
		c.startSlowlyLocked(ep)
	}
	switch {
	case c.updating:
		// The list's own picker comes when all of it is in place.
	case c.state != connectivity.Ready:
		if c.state != before || c.state == connectivity.TransientFailure {
			c.publishLocked()
		}
	case from != connectivity.Ready && to != connectivity.Ready:
		// Neither came nor went.
	case before != connectivity.Ready || !c.pace.resting():
		c.publishLocked()
	case to == connectivity.Ready:
		c.pace.readmit(ep.active.sc)
	default:
		if guarded := c.pace.exclude(ep.active.sc); guarded != nil {
			c.cc.UpdateState(balancer.State{ConnectivityState: c.state, Picker: guarded})
		}
	}
}

// rebuild is for the policy to ask for a build.
func (c *channel) rebuild() { c.locked(c.rebuildLocked) }

// rebuildLocked brings the picker up to date where no backend came or went, at
// the end of the pause if there is one.
func (c *channel) rebuildLocked() {
	switch {
	case c.state != connectivity.Ready:
		// The next picker will be up to date.
	case c.pace.resting():
		c.pace.owed = true
	default:
		c.publishLocked()
	}
}

// restedLocked runs at the end of a pause and makes the build that it held up.
func (c *channel) restedLocked() {
	if c.pace.owed && c.state == connectivity.Ready {
		c.publishLocked()
	}
}

// publishLocked hands gRPC the picker for how things stand now.
func (c *channel) publishLocked() {
	var picker balancer.Picker
	switch c.state {
	case connectivity.Ready:
		start := time.Now()
		picker = c.policy.build(c.snapshotLocked())
		c.pace.builtLocked(c, picker, time.Since(start))
	case connectivity.TransientFailure:
		picker = base.NewErrPicker(c.failureLocked())
	default:
		picker = base.NewErrPicker(balancer.ErrNoSubConnAvailable)
	}
	c.cc.UpdateState(balancer.State{ConnectivityState: c.state, Picker: picker})
}

func (c *channel) snapshotLocked() Snapshot {
	s := Snapshot{
		Members:   make([]Backend, len(c.sorted)),
		LocalZone: c.localZone,
		Context:   c.ctx,
		Rebuild:   c.rebuild,
	}
	for i, ep := range c.sorted {
		s.Members[i] = Backend{Address: ep.addrs[0], Attrs: ep.attrs, Load: ep.load, Session: ep.session, Ramp: ep.ramp}
		if ep.state == connectivity.Ready {
			s.Members[i].SubConn = ep.active.sc
		}
	}
	s.sortOut(c.policy.level())
	return s
}

// failureLocked says why no call can be made. It is not a status error on
// purpose, and wraps none: gRPC makes it Unavailable for ordinary calls and lets
// calls wait that asked to wait for ready, where a status error would end both.
func (c *channel) failureLocked() error {
	switch n := len(c.sorted); {
	case n == 0 && c.resolverErr != nil:
		return fmt.Errorf("%s: no endpoints: last resolver error: %s", c.name, c.resolverErr.Error())
	case n == 0:
		return fmt.Errorf("%s: no endpoints: the resolver's list is empty", c.name)
	case c.resolverErr != nil:
		return fmt.Errorf("%s: none of %d endpoints is connected; last connection error: %s; last resolver error: %s",
			c.name, n, c.connErr.Error(), c.resolverErr.Error())
	default:
		return fmt.Errorf("%s: none of %d endpoints is connected; last connection error: %s", c.name, n, c.connErr.Error())
	}
}
