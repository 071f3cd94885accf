package balancers

import (
	"slices"
	"time"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/resolver"

	"github.com/steelyard-go/steelyard/attrs"
)

// attemptDelay is how long one address may take before the next one is tried
// beside it: the connection attempt delay of RFC 8305, taken up by gRFC A61.
const attemptDelay = 250 * time.Millisecond

// endpoint is one backend: READY while one of its addresses is connected and
// healthy. Most have one address; of several, the first that connects serves,
// the way gRPC's pick_first goes about it. The channel's mutex guards it.
type endpoint struct {
	channel *channel
	id      string
	addrs   []resolver.Address
	attrs   attrs.Attrs
	load    *Load
	session uint64 // the number of the latest connection
	seen    uint64 // the number of the last list it stood in

	ramp     uint32 // tenths of its weight that it carries while READY
	original bool   // came with the channel's first list and has not been READY yet

	state  connectivity.State // READY, CONNECTING or TRANSIENT_FAILURE
	conns  []*conn            // to the addresses tried, in no order; only active once one is connected
	active *conn              // the connected one, healthy or not
	next   int                // index in addrs of the next address to try
	delay  alarm              // until then
}

func newEndpointLocked(c *channel, id string) *endpoint {
	ep := &endpoint{channel: c, id: id, load: new(Load), state: connectivity.Connecting, ramp: fullRamp}
	c.states.RecordTransition(connectivity.Shutdown, ep.state)
	return ep
}

// setAddressesLocked takes the endpoint's addresses over. Connections to what
// is still there are kept, whatever else the list says of it now.
func (ep *endpoint) setAddressesLocked(addrs []resolver.Address) {
	same := slices.EqualFunc(ep.addrs, addrs, sameConnection)
	ep.addrs = addrs
	if same {
		return
	}
	ep.conns = slices.DeleteFunc(ep.conns, func(cn *conn) bool {
		stays := slices.ContainsFunc(addrs, func(a resolver.Address) bool { return sameConnection(a, cn.addr) })
		if !stays {
			cn.shutdownLocked()
		}
		return !stays
	})
	if ep.active != nil && !ep.active.closed {
		return
	}
	ep.moveLocked(connectivity.Connecting)
	ep.active = nil
	ep.startLocked()
}

// sameConnection reports whether one connection can stand for both addresses.
// BalancerAttributes are not part of it: what they say changes without one.
func sameConnection(a, b resolver.Address) bool {
	return a.Addr == b.Addr && a.ServerName == b.ServerName && a.Attributes.Equal(b.Attributes)
}

// startLocked begins to try the addresses from the first.
func (ep *endpoint) startLocked() {
	ep.next = 0
	for _, cn := range ep.conns {
		cn.failed = false
	}
	ep.tryNextLocked()
}

// tryNextLocked tries the next address that is not known to be failing, and
// sets the alarm for the one after it. When all have failed the endpoint has:
// from then on each reconnects by itself after its backoff.
func (ep *endpoint) tryNextLocked() {
	ep.delay.stop()
	for ep.next < len(ep.addrs) {
		cn := ep.connLocked(ep.addrs[ep.next])
		ep.next++
		switch {
		case cn == nil:
			continue
		case cn.state == connectivity.TransientFailure:
			cn.failed = true
			continue
		case cn.state == connectivity.Idle:
			ep.channel.after = append(ep.channel.after, cn.sc.Connect)
		}
		if ep.next < len(ep.addrs) {
			ep.delay.set(ep.channel, attemptDelay, ep.tryNextLocked)
		}
		return
	}
	if !slices.ContainsFunc(ep.conns, func(cn *conn) bool { return !cn.failed }) {
		ep.moveLocked(connectivity.TransientFailure)
	}
}

// connLocked returns the connection to addr, a new one if there is none yet,
// nil if gRPC refuses to make it, which it does only while it closes.
func (ep *endpoint) connLocked(addr resolver.Address) *conn {
	for _, cn := range ep.conns {
		if sameConnection(cn.addr, addr) {
			return cn
		}
	}
	cn := &conn{endpoint: ep, addr: addr, state: connectivity.Idle}
	sc, err := ep.channel.cc.NewSubConn([]resolver.Address{addr}, balancer.NewSubConnOptions{StateListener: cn.changed})
	if err != nil {
		logger.Warningf("%s: connection to %q: %v", ep.channel.name, addr.Addr, err)
		ep.channel.connErr = err
		return nil
	}
	cn.sc = sc
	ep.conns = append(ep.conns, cn)
	return cn
}

// moveLocked changes the endpoint's state and tells the channel.
// TRANSIENT_FAILURE is sticky (gRFC A62): it ends with success, not with the
// next attempt, lest a channel whose backends are all down looks connecting.
func (ep *endpoint) moveLocked(to connectivity.State) {
	from := ep.state
	if from == to && to != connectivity.TransientFailure ||
		from == connectivity.TransientFailure && to == connectivity.Connecting {
		return
	}
	ep.state = to
	ep.channel.movedLocked(ep, from, to)
}

// connectedLocked makes cn the one that serves, once it is healthy, and shuts
// the others down.
func (ep *endpoint) connectedLocked(cn *conn) {
	ep.delay.stop()
	ep.active = cn
	ep.channel.sessions++
	ep.session = ep.channel.sessions
	for _, other := range ep.conns {
		if other != cn {
			other.shutdownLocked()
		}
	}
	ep.conns = []*conn{cn}
	cn.watchHealthLocked()
}

// lostLocked follows the loss of the connection that served: back to the first
// address.
func (ep *endpoint) lostLocked() {
	ep.moveLocked(connectivity.Connecting)
	ep.active = nil
	ep.startLocked()
}

// removeLocked shuts the endpoint down, after its last picker was replaced.
func (ep *endpoint) removeLocked() {
	ep.delay.stop()
	for _, cn := range ep.conns {
		cn.shutdownLocked()
	}
	ep.channel.states.RecordTransition(ep.state, connectivity.Shutdown)
}
