package etcdresolver

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/serviceconfig"

	"github.com/steelyard-go/steelyard/attrs"
)

// outcome is what discovery has to say about a service: its list, or why there
// is none; the zero outcome says nothing. It is immutable and shared by all channels.
type outcome struct {
	list   []*member // sorted by address
	held   int       // of those, by the guards
	err    error     // set exactly when the list is empty
	config *configText
}

// equal reports whether a channel that was told o need not be told p.
func (o *outcome) equal(p *outcome) bool {
	return slices.EqualFunc(o.list, p.list, (*member).says) && fmt.Sprint(o.err) == fmt.Sprint(p.err) && o.config.equal(p.config)
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
	meter   meter

	mu         sync.Mutex
	next       *outcome  // waits for delivery
	heard      time.Time // when etcd told the first of what waits, zero if it did not
	delivering bool      // a goroutine runs
	closed     bool

	// What follows belongs to the delivering goroutine.
	told   outcome
	why    string                     // its policy refused a list last; "" if it never did
	config *configText                // parsed last
	parsed *serviceconfig.ParseResult // the last one that was good, nil when there is none
}

// offer has o delivered and does not wait for it. heard is when etcd told the first
// of what is new in it, zero if it did not.
func (c *channel) offer(o *outcome, heard time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next = o
	if c.heard.IsZero() {
		c.heard = heard
	}
	if !c.delivering && !c.closed {
		c.delivering = true
		go c.deliverAll()
	}
}

func (c *channel) deliverAll() {
	for o, heard := c.take(); o != nil; o, heard = c.take() {
		c.deliver(o, heard)
	}
}

// take returns what is to be delivered next, or nil and the goroutine is to end.
func (c *channel) take() (o *outcome, heard time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	o, heard = c.next, c.heard
	c.next, c.heard = nil, time.Time{}
	if c.closed {
		o = nil
	}
	c.delivering = o != nil
	return o, heard
}

func (c *channel) deliver(o *outcome, heard time.Time) {
	if !c.told.equal(o) {
		// An error alone would leave a policy its old endpoints.
		if o.err == nil || len(c.told.list) > 0 {
			c.update(o)
			c.meter.updated(heard)
		}
		if o.err != nil {
			c.cc.ReportError(fmt.Errorf("%s: %w", c.meter.target, o.err)) // after the update: calls fail with the text that came last
		}
	}
	c.told = *o
	c.meter.holds(o)
}

func (c *channel) update(o *outcome) {
	state := o.state()
	if c.zone != "" {
		state = attrs.SetLocalZone(state, c.zone)
	}
	state.ServiceConfig = c.serviceConfig(o.config)
	// An error means that the policy has no use for this list. Asking etcd again
	// would give the same one: the next change is the next try.
	if err := c.cc.UpdateState(state); err != nil && len(state.Endpoints) > 0 {
		c.refused(err, len(state.Endpoints))
	}
}

// refused tells the log, once for each text.
func (c *channel) refused(err error, endpoints int) {
	if why := err.Error(); why != c.why {
		c.why = why
		c.service.log.Warn("etcdresolver: the channel's policy refused the list", "endpoints", endpoints, "error", err)
	}
}

// serviceConfig returns the config, parsed as this channel parses it, or the last
// good one in place of one that is bad.
func (c *channel) serviceConfig(config *configText) *serviceconfig.ParseResult {
	if config.equal(c.config) {
		return c.parsed
	}
	if !config.follows(c.config) {
		c.parsed = nil
	}
	c.config = config
	if config == nil {
		return nil
	}
	parsed := c.cc.ParseServiceConfig(config.json)
	if parsed.Err != nil {
		c.service.known.refuseConfig(config, parsed.Err, c.parsed != nil)
	} else {
		c.parsed = parsed
	}
	return c.parsed
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
