package simulation

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
	estats "google.golang.org/grpc/experimental/stats"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/serviceconfig"

	"github.com/steelyard-go/steelyard/attrs"
)

// client is a fake channel around a policy. All that it tells the policy it
// tells from the goroutine that drives the simulation.
type client struct {
	zone   string
	policy balancer.Balancer
	config serviceconfig.LoadBalancingConfig
	picker atomic.Pointer[balancer.Picker]
	dialer *dialer
	conns  []*subConn // the latest to each server
}

// dialer connects what policies want connected. Policies may ask with their
// locks held and from goroutines of their own, so that Connect only takes note.
type dialer struct {
	servers map[string]*server
	waiting atomic.Int64 // how many asked

	mu       sync.Mutex
	asked    []*subConn
	shutdown func() // called by the next Shutdown of a connection
}

// connect connects all that asked, and all that ask because of it.
func (d *dialer) connect() {
	for d.waiting.Load() > 0 {
		d.mu.Lock()
		asked := d.asked
		d.asked = nil
		d.mu.Unlock()
		d.waiting.Add(-int64(len(asked)))
		for _, s := range asked {
			s.dial()
		}
	}
}

func newClient(p policy, zone string, d *dialer) (*client, error) {
	builder := balancer.Get(p.lb)
	if builder == nil {
		return nil, fmt.Errorf("%s: no policy is registered under the name %q", p.label, p.lb)
	}
	c := &client{zone: zone, dialer: d, conns: make([]*subConn, len(d.servers))}
	if p.config != "" {
		parser, ok := builder.(balancer.ConfigParser)
		if !ok {
			return nil, fmt.Errorf("%s: %s takes no config", p.label, p.lb)
		}
		var err error
		if c.config, err = parser.ParseConfig(json.RawMessage(p.config)); err != nil {
			return nil, fmt.Errorf("%s: config: %w", p.label, err)
		}
	}
	c.policy = builder.Build(&clientConn{client: c}, balancer.BuildOptions{
		Target: resolver.Target{URL: url.URL{Scheme: "simulation", Path: "/service"}},
	})
	return c, nil
}

// update hands the policy a list and connects what it wants to connect.
func (c *client) update(list []resolver.Endpoint) error {
	state := resolver.State{Endpoints: list}
	if c.zone != "" {
		state = attrs.SetLocalZone(state, c.zone)
	}
	err := c.policy.UpdateClientConnState(balancer.ClientConnState{ResolverState: state, BalancerConfig: c.config})
	if err != nil {
		return err
	}
	c.dialer.connect()
	return nil
}

// open is update for a long first list. gRPC's own policies look at every
// backend when one changes, and connecting them one by one takes time quadratic
// in their number. But what changes while they take over a list they look at
// once, in its end. A backend that drops its second address is the way in: to
// them it is another one under the same name, so in the midst of the takeover
// they shut its old connection down, and then the others are connected.
func (c *client) open(list []resolver.Endpoint) error {
	first := list[0]
	first.Addresses = append(first.Addresses[:1:1], resolver.Address{Addr: "192.0.2.1:8080"})
	if err := c.update([]resolver.Endpoint{first}); err != nil {
		return err
	}
	err := c.policy.UpdateClientConnState(balancer.ClientConnState{
		ResolverState:  resolver.State{Endpoints: append([]resolver.Endpoint{first}, list[1:]...)},
		BalancerConfig: c.config,
	})
	if err != nil {
		return err
	}
	c.dialer.shutdown = c.dialer.connect
	return c.update(list)
}

// clientConn is the client as its policy sees it.
type clientConn struct {
	balancer.ClientConn // nil, embedded because gRPC asks for it
	client              *client
}

func (cc *clientConn) NewSubConn(addrs []resolver.Address, opts balancer.NewSubConnOptions) (balancer.SubConn, error) {
	s := &subConn{
		client:   cc.client,
		server:   cc.client.dialer.servers[addrs[0].Addr],
		listener: opts.StateListener,
	}
	if s.server != nil {
		cc.client.conns[s.server.index] = s
	}
	return s, nil
}

func (cc *clientConn) UpdateState(s balancer.State) { cc.client.picker.Store(&s.Picker) }

func (cc *clientConn) ResolveNow(resolver.ResolveNowOptions) {}

func (cc *clientConn) Target() string { return "simulation:///service" }

func (cc *clientConn) MetricsRecorder() estats.MetricsRecorder {
	return estats.UnimplementedMetricsRecorder{}
}

// subConn is a fake connection.
type subConn struct {
	balancer.SubConn // nil, embedded because gRPC asks for it
	client           *client
	server           *server // nil for an address that nobody listens on
	state            connectivity.State
	listener         func(balancer.SubConnState)
	health           func(balancer.SubConnState)
	closed           atomic.Bool
}

// Connect has the connection dialed when the policy has returned.
func (s *subConn) Connect() {
	d := s.client.dialer
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked = append(d.asked, s)
	d.waiting.Add(1)
}

var errRefused = errors.New("connection refused")

// dial takes the connection from IDLE to where it gets.
func (s *subConn) dial() {
	s.tell(balancer.SubConnState{ConnectivityState: connectivity.Connecting})
	if s.server == nil || s.server.Down {
		s.tell(balancer.SubConnState{ConnectivityState: connectivity.TransientFailure, ConnectionError: errRefused})
		return
	}
	ready := balancer.SubConnState{ConnectivityState: connectivity.Ready}
	s.tell(ready)
	if s.health != nil && !s.closed.Load() {
		s.health(ready)
	}
}

// idle ends the connection, or the pause after a failed attempt.
func (s *subConn) idle() { s.tell(balancer.SubConnState{ConnectivityState: connectivity.Idle}) }

func (s *subConn) tell(state balancer.SubConnState) {
	if !s.closed.Load() {
		s.state = state.ConnectivityState
		s.health = nil // a health listener is for one connection
		s.listener(state)
	}
}

func (s *subConn) RegisterHealthListener(listener func(balancer.SubConnState)) { s.health = listener }

func (s *subConn) Shutdown() {
	s.closed.Store(true)
	if f := s.client.dialer.shutdown; f != nil {
		s.client.dialer.shutdown = nil
		f()
	}
}
