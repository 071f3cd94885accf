package etcdresolver

import (
	"fmt"
	"slices"
	"sync"

	"google.golang.org/grpc/resolver"

	"github.com/steelyard-go/steelyard/attrs"
)

// outcome is what discovery has to say about a service: its list, or why there
// is none; the zero outcome says nothing. It is immutable and shared by all channels.
type outcome struct {
	list []*member // sorted by address
	err  error     // set exactly when the list is empty
}

// equal reports whether channels that were told o need not be told p.
func (o *outcome) equal(p *outcome) bool {
	return slices.Equal(o.list, p.list) && fmt.Sprint(o.err) == fmt.Sprint(p.err)
}

// state makes what gRPC gets of the list. gRPC keeps the slices, and some policy
// may sort them: each channel has its own.
func (o *outcome) state() resolver.State {
	s := resolver.State{
		Endpoints: make([]resolver.Endpoint, len(o.list)),
		Addresses: make([]resolver.Address, len(o.list)),
	}
	for i, m := range o.list {
		s.Endpoints[i] = m.endpoint
		s.Addresses[i] = m.endpoint.Addresses[0]
	}
	return s
}

// channel is the resolver of one gRPC channel. Outcomes are delivered by a
// goroutine that lives only while there is something to deliver: UpdateState
// waits for the channel's policy, and a slow policy must hold up neither the
// watch nor the other channels. Such a channel skips to the newest outcome.
type channel struct {
	service *service
	cc      resolver.ClientConn
	zone    string

	mu         sync.Mutex
	next       *outcome // waits for delivery
	delivering bool     // a goroutine runs
	closed     bool

	listed bool // the channel has endpoints; belongs to the delivering goroutine
}

// offer has o delivered and does not wait for it.
func (c *channel) offer(o *outcome) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next = o
	if !c.delivering && !c.closed {
		c.delivering = true
		go c.deliverAll()
	}
}

func (c *channel) deliverAll() {
	for o := c.take(); o != nil; o = c.take() {
		c.deliver(o)
	}
}

// take returns what is to be delivered next, or nil and the goroutine is to end.
func (c *channel) take() *outcome {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.next
	c.next = nil
	if c.closed {
		o = nil
	}
	c.delivering = o != nil
	return o
}

func (c *channel) deliver(o *outcome) {
	// An error alone would leave a policy its old endpoints.
	if o.err == nil || c.listed {
		c.update(o.state())
	}
	c.listed = o.err == nil
	if o.err != nil {
		c.cc.ReportError(o.err) // after the update: calls fail with the text that came last
	}
}

func (c *channel) update(state resolver.State) {
	if c.zone != "" {
		state = attrs.SetLocalZone(state, c.zone)
	}
	// An error means that the policy has no use for this list. Asking etcd again
	// would give the same one: the next change is the next try.
	if err := c.cc.UpdateState(state); err != nil && len(state.Endpoints) > 0 {
		c.service.log.Warn("etcdresolver: the channel's policy refused the list", "endpoints", len(state.Endpoints), "error", err)
	}
}

// ResolveNow implements resolver.Resolver. A watch has nothing to resolve; but
// when the connection to etcd is being waited for, the next try comes now.
func (c *channel) ResolveNow(resolver.ResolveNowOptions) { c.service.hurry() }

// Close implements resolver.Resolver. It waits for nothing; a delivery under
// way may still end after it.
func (c *channel) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.service.leave(c)
}
