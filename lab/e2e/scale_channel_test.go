package e2e

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/resolver"

	"github.com/steelyard-go/steelyard/balancers/weighted"
)

// scaleChannel is a real channel with steelyard_weighted, connected to silent
// servers.
type scaleChannel struct {
	*scaleCC
	resolver.Builder
	watched *watchedPolicy
	conn    *grpc.ClientConn
}

var scaleChannels atomic.Int64

// dialScale connects a channel to all that builder finds, which must be n.
func dialScale(tb testing.TB, builder resolver.Builder, n int) *scaleChannel {
	tb.Helper()
	c := &scaleChannel{Builder: builder, scaleCC: newScaleCC(nil)}
	c.watched = newWatchedPolicy(fmt.Sprintf("scale_watched_%d", scaleChannels.Add(1)))
	balancer.Register(c.watched) // no other channel is at work
	var err error
	c.conn, err = grpc.NewClient("etcd:///"+scaleService,
		grpc.WithResolvers(c),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(dialSilentServer),
		grpc.WithReadBufferSize(0), grpc.WithWriteBufferSize(0),
		grpc.WithIdleTimeout(0),
		grpc.WithDefaultServiceConfig(fmt.Sprintf(`{"loadBalancingConfig":[{%q:{}}]}`, c.watched.Name())))
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = c.conn.Close() })
	c.conn.Connect()
	require.Eventually(tb, func() bool { return c.watched.ready.Load() == int64(n) }, scaleLimit, tick)
	return c
}

// Build implements resolver.Builder.
func (c *scaleChannel) Build(target resolver.Target, cc resolver.ClientConn, opts resolver.BuildOptions) (resolver.Resolver, error) {
	c.ClientConn = cc
	var err error
	c.resolver, err = c.Builder.Build(target, c.scaleCC, opts)
	return c.scaleCC, err
}

const scalePicks = 31

// watchedPolicy is steelyard_weighted in one channel, and looks at what it does.
type watchedPolicy struct {
	balancer.Builder
	balancer.ConfigParser
	name    string
	ready   atomic.Int64 // connections now
	made    atomic.Int64 // connections ever
	pickers chan watchedPicker

	mu     sync.Mutex
	marked balancer.SubConn // to the first address
}

// watchedPicker is a picker that the channel has since at.
type watchedPicker struct {
	at    time.Time
	heavy bool // the first address gets most of the calls
}

func newWatchedPolicy(name string) *watchedPolicy {
	policy := balancer.Get(weighted.Name)
	return &watchedPolicy{
		Builder:      policy,
		ConfigParser: policy.(balancer.ConfigParser),
		name:         name,
		pickers:      make(chan watchedPicker, 1000),
	}
}

func (p *watchedPolicy) Name() string { return p.name }

func (p *watchedPolicy) Build(cc balancer.ClientConn, opts balancer.BuildOptions) balancer.Balancer {
	return p.Builder.Build(&watchedConn{ClientConn: cc, policy: p}, opts)
}

// watchedConn is the channel as the policy sees it.
type watchedConn struct {
	balancer.ClientConn
	policy *watchedPolicy
}

func (c *watchedConn) NewSubConn(addrs []resolver.Address, opts balancer.NewSubConnOptions) (balancer.SubConn, error) {
	p, listener, ready := c.policy, opts.StateListener, false
	opts.StateListener = func(s balancer.SubConnState) {
		if now := s.ConnectivityState == connectivity.Ready; now != ready {
			ready = now
			p.ready.Add(map[bool]int64{true: 1, false: -1}[now])
		}
		listener(s)
	}
	sc, err := c.ClientConn.NewSubConn(addrs, opts)
	p.made.Add(1)
	if addrs[0].Addr == scaleAddr(0) {
		p.mu.Lock()
		p.marked = sc
		p.mu.Unlock()
	}
	return sc, err
}

func (c *watchedConn) UpdateState(s balancer.State) {
	c.ClientConn.UpdateState(s)
	at := time.Now()
	if s.ConnectivityState != connectivity.Ready {
		return
	}
	select {
	case c.policy.pickers <- watchedPicker{at, c.policy.isHeavy(s.Picker)}:
	default: // nobody waits for one
	}
}

// isHeavy asks a picker itself, so often that chance cannot mislead it: with ten
// endpoints the first one gets a tenth of the picks when all weigh the same.
func (p *watchedPolicy) isHeavy(picker balancer.Picker) bool {
	p.mu.Lock()
	marked := p.marked
	p.mu.Unlock()
	hits := 0
	for range scalePicks {
		if picked, err := picker.Pick(balancer.PickInfo{}); err == nil && picked.SubConn == marked {
			hits++
		}
	}
	return hits > scalePicks/2
}
