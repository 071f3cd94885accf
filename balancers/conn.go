package balancers

import (
	"cmp"
	"errors"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/resolver"
)

// conn is the connection to one address of an endpoint. The channel's mutex
// guards it.
type conn struct {
	endpoint *endpoint
	addr     resolver.Address
	sc       balancer.SubConn
	state    connectivity.State
	failed   bool // since the endpoint last started from its first address
	closed   bool // shut down by us: what is still reported of it is stale
	watches  int  // counts health listeners; only the latest one's word counts
}

// What is said of a failure that comes without a reason.
var (
	errNotConnected = errors.New("not connected")
	errUnhealthy    = errors.New("not healthy, or ejected by outlier detection")
)

// changed listens to the SubConn's connectivity.
func (cn *conn) changed(s balancer.SubConnState) {
	cn.endpoint.channel.locked(func() {
		if !cn.closed {
			cn.changedLocked(s)
		}
	})
}

func (cn *conn) changedLocked(s balancer.SubConnState) {
	ep := cn.endpoint
	cn.state = s.ConnectivityState
	if cn.state == connectivity.TransientFailure {
		cn.failed = true
		ep.channel.connErr = cmp.Or(s.ConnectionError, errNotConnected)
	}
	switch {
	case cn.state == connectivity.Ready:
		if ep.active == nil {
			ep.connectedLocked(cn)
		}
	case cn == ep.active:
		ep.lostLocked()
	case cn.state == connectivity.Connecting:
		ep.moveLocked(connectivity.Connecting)
	case cn.state == connectivity.TransientFailure:
		ep.tryNextLocked()
	case cn.state == connectivity.Idle: // its backoff is over
		ep.channel.after = append(ep.channel.after, cn.sc.Connect)
	}
}

// watchHealthLocked asks how healthy the backend is: client-side health checks
// and outlier detection speak through this listener only, and it has to be
// registered anew each time the connection becomes READY. Where neither is
// configured gRPC says READY at once, perhaps before the call returns.
func (cn *conn) watchHealthLocked() {
	cn.watches++
	watch := cn.watches
	cn.endpoint.channel.after = append(cn.endpoint.channel.after, func() {
		cn.sc.RegisterHealthListener(func(s balancer.SubConnState) {
			cn.endpoint.channel.locked(func() {
				if watch == cn.watches && cn == cn.endpoint.active && !cn.closed {
					cn.healthChangedLocked(s)
				}
			})
		})
	})
}

func (cn *conn) healthChangedLocked(s balancer.SubConnState) {
	switch s.ConnectivityState {
	case connectivity.Ready:
		cn.endpoint.moveLocked(connectivity.Ready)
	case connectivity.TransientFailure:
		cn.endpoint.channel.connErr = cmp.Or(s.ConnectionError, errUnhealthy)
		cn.endpoint.moveLocked(connectivity.TransientFailure)
	default:
		cn.endpoint.moveLocked(connectivity.Connecting)
	}
}

func (cn *conn) shutdownLocked() {
	cn.closed = true
	cn.endpoint.channel.after = append(cn.endpoint.channel.after, cn.sc.Shutdown)
}
