package balancertest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/balancer/base"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/serviceconfig"

	"github.com/steelyard-go/steelyard/attrs"
)

const target = "balancertest:///service"

// Channel is a fake channel that hosts a policy. Update, Configure, Ready and
// the other methods by which a test drives the policy return when the policy has
// heard all that follows from them; they must not be called from inside the
// policy. Safe for concurrent use.
type Channel struct {
	tb           testing.TB // nil for a detached channel
	policy       balancer.Balancer
	parser       balancer.ConfigParser // nil when the policy has no config
	queue        *queue
	queuedHealth bool
	latest       atomic.Pointer[balancer.State]

	created, shutDown, updates, resolveNows atomic.Int64

	mu     sync.Mutex
	live   map[string]*SubConn // by every address
	config serviceconfig.LoadBalancingConfig
	state  *resolver.State // nil before the first one
	closed bool
}

// Option changes a fake channel.
type Option func(*Channel)

// WithQueuedHealth makes the first health update come after the policy has
// returned from what it was told before, as it does in gRPC, and not from inside
// RegisterHealthListener. Without it a policy is tested harder: one that holds a
// lock across RegisterHealthListener hangs. Stock pick_first, and with it
// round_robin and all that build on pick_first, needs this option.
func WithQueuedHealth() Option {
	return func(c *Channel) { c.queuedHealth = true }
}

// NewChannel returns a channel that hosts the policy registered under the name
// policy. configJSON is the policy's own config, without its name, and "" for
// no config at all. Either of them wrong ends the test. The channel is closed
// when the test ends.
func NewChannel(tb testing.TB, policy, configJSON string, opts ...Option) *Channel {
	tb.Helper()
	builder := balancer.Get(policy)
	if builder == nil {
		tb.Fatalf("balancertest: no policy is registered under the name %q", policy)
	}
	c := detached()
	c.tb = tb
	for _, opt := range opts {
		opt(c)
	}
	c.parser, _ = builder.(balancer.ConfigParser)
	if err := c.Configure(configJSON); err != nil {
		tb.Fatalf("balancertest: config of %s: %v", policy, err)
	}
	parsed, err := url.Parse(target)
	if err != nil {
		tb.Fatalf("balancertest: %v", err)
	}
	c.policy = builder.Build(&clientConn{channel: c}, balancer.BuildOptions{Target: resolver.Target{URL: *parsed}})
	tb.Cleanup(c.Close)
	return c
}

// detached returns a channel without a policy, for a connection without a channel.
func detached() *Channel {
	c := &Channel{queue: newQueue(), live: make(map[string]*SubConn)}
	c.latest.Store(&balancer.State{
		ConnectivityState: connectivity.Connecting,
		Picker:            base.NewErrPicker(balancer.ErrNoSubConnAvailable),
	})
	return c
}

// Endpoint returns an endpoint with one address, which carries a.
func Endpoint(addr string, a attrs.Attrs) resolver.Endpoint {
	return attrs.Set(resolver.Endpoint{Addresses: []resolver.Address{{Addr: addr}}}, a)
}

// Update lets the resolver find endpoints and returns what the policy answers.
func (c *Channel) Update(endpoints ...resolver.Endpoint) error {
	return c.UpdateState(resolver.State{Endpoints: endpoints})
}

// UpdateState lets the resolver find s. The policy gets it as it is; a real
// channel makes Endpoints of the Addresses when a resolver gives only those.
func (c *Channel) UpdateState(s resolver.State) error {
	c.mu.Lock()
	c.state = &s
	config := c.config
	c.mu.Unlock()
	return c.UpdateClientConnState(balancer.ClientConnState{ResolverState: s, BalancerConfig: config})
}

// Configure gives the policy a new config, in the form that NewChannel takes,
// together with the last resolver state if there is one. It returns what is
// wrong with the config, or what the policy answers.
func (c *Channel) Configure(configJSON string) error {
	var config serviceconfig.LoadBalancingConfig
	if configJSON != "" {
		if c.parser == nil {
			return errors.New("the policy takes no config")
		}
		var err error
		if config, err = c.parser.ParseConfig(json.RawMessage(configJSON)); err != nil {
			return err
		}
	}
	c.mu.Lock()
	c.config = config
	state := c.state
	c.mu.Unlock()
	if state == nil {
		return nil
	}
	return c.UpdateState(*state)
}

// UpdateClientConnState hands s to the policy and returns its answer. It is the
// door for what the other methods cannot say, such as the config of another
// policy, and the channel does not remember s.
func (c *Channel) UpdateClientConnState(s balancer.ClientConnState) (err error) {
	c.queue.run(func() { err = c.policy.UpdateClientConnState(s) })
	return err
}

// ResolverError lets the resolver fail with err.
func (c *Channel) ResolverError(err error) {
	c.queue.run(func() { c.policy.ResolverError(err) })
}

// ExitIdle asks the policy to connect.
func (c *Channel) ExitIdle() {
	c.queue.run(c.policy.ExitIdle)
}

// Close closes the policy. After that it hears nothing more, and must have
// nothing more to say. A second Close does nothing.
func (c *Channel) Close() {
	c.queue.run(func() {
		c.policy.Close()
		c.queue.close()
		c.mu.Lock()
		defer c.mu.Unlock()
		c.closed = true
	})
}

// SubConn returns the connection to addr that the policy has made and not shut
// down, the latest one if there are several, or nil.
func (c *Channel) SubConn(addr string) *SubConn {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.live[addr]
}

// Ready does [SubConn.Ready] for the connection to each address.
func (c *Channel) Ready(addrs ...string) { c.each(addrs, (*SubConn).Ready) }

// Fail does [SubConn.Fail] for the connection to each address.
func (c *Channel) Fail(err error, addrs ...string) {
	c.each(addrs, func(s *SubConn) { s.Fail(err) })
}

// Idle does [SubConn.Idle] for the connection to each address.
func (c *Channel) Idle(addrs ...string) { c.each(addrs, (*SubConn).Idle) }

func (c *Channel) each(addrs []string, drive func(*SubConn)) {
	for _, addr := range addrs {
		if s := c.SubConn(addr); s != nil {
			drive(s)
		} else {
			c.errorf("balancertest: the policy has no connection to %s", addr)
		}
	}
}

// State returns the channel's state as the policy last gave it, at first CONNECTING.
func (c *Channel) State() connectivity.State { return c.latest.Load().ConnectivityState }

// Picker returns the picker that the policy last gave. At first it is one that
// lets calls wait.
func (c *Channel) Picker() balancer.Picker { return c.latest.Load().Picker }

// Pick asks the latest picker once, whatever it answers.
func (c *Channel) Pick(ctx context.Context) (balancer.PickResult, error) {
	result, err := c.Picker().Pick(balancer.PickInfo{FullMethodName: "/balancertest.Service/Call", Ctx: ctx})
	if err != nil {
		return result, err
	}
	if s, ok := result.SubConn.(*SubConn); !ok || s.channel != c {
		c.errorf("balancertest: the picker returned %v (%T), which is no connection of this channel", result.SubConn, result.SubConn)
	}
	return result, nil
}

// Count makes n calls, one after the other, and returns how many went to each
// address. A pick that fails ends it and fails the test.
func (c *Channel) Count(ctx context.Context, n int) map[string]int {
	counts := make(map[string]int)
	for range n {
		result, err := c.Pick(ctx)
		if err != nil {
			c.errorf("balancertest: pick: %v", err)
			break
		}
		counts[fmt.Sprint(result.SubConn)]++
		if result.Done != nil {
			result.Done(balancer.DoneInfo{BytesSent: true, BytesReceived: true})
		}
	}
	return counts
}

// Created returns how many connections the policy has made.
func (c *Channel) Created() int { return int(c.created.Load()) }

// ShutDown returns how many connections the policy has shut down.
func (c *Channel) ShutDown() int { return int(c.shutDown.Load()) }

// Updates returns how often the policy has called UpdateState.
func (c *Channel) Updates() int { return int(c.updates.Load()) }

// ResolveNows returns how often the policy has called ResolveNow.
func (c *Channel) ResolveNows() int { return int(c.resolveNows.Load()) }
