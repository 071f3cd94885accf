package balancers

import (
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/resolver"

	"github.com/steelyard-go/steelyard/attrs"
)

// Backend is one endpoint of the resolver's list as a policy sees it while it
// builds a picker. It is a copy: what changes later comes with the next build,
// but for Load, which is shared by all builds of one channel.
type Backend struct {
	// SubConn is what a pick returns. It is nil only in [Snapshot.Members],
	// for an endpoint that takes no calls now.
	SubConn balancer.SubConn
	// Address is the endpoint's first address. It names the backend, whichever
	// of its addresses is connected.
	Address resolver.Address
	// Attrs is what the resolver said last. Weight is at least 1 here.
	Attrs attrs.Attrs
	// Load counts the calls in flight. It belongs to the endpoint: it is the
	// same one across rebuilds, reconnects and config changes.
	Load *Load
}

// Snapshot is what a policy can know of its channel when it builds a picker.
// Both slices are sorted by address, are the policy's to keep, and must not be
// modified.
type Snapshot struct {
	// Backends are the ones to choose from, at least one: READY, healthy, and
	// not draining unless all of them drain.
	Backends []Backend
	// Members are all endpoints of the resolver's list. SubConn is nil for
	// those that are not in Backends. Policies that map keys to backends build
	// their map from here, so that a backend that is down for a while moves
	// nothing but its own keys.
	Members []Backend
}

// Policy builds the pickers of one channel. It is called with the channel's
// lock held, one call at a time, never after the channel's Close; the pickers
// it returns are called concurrently.
type Policy[C any] func(cfg C, s Snapshot) balancer.Picker

// snapshot sorts out who takes calls. Of the members it is given, those with a
// SubConn are READY; it takes the SubConn from those that drain.
func snapshot(members []Backend) Snapshot {
	s := Snapshot{Members: members, Backends: make([]Backend, 0, len(members))}
	for _, b := range members {
		if b.SubConn != nil && !b.Attrs.Draining {
			s.Backends = append(s.Backends, b)
		}
	}
	if len(s.Backends) == 0 { // all drain: all serve
		for _, b := range members {
			if b.SubConn != nil {
				s.Backends = append(s.Backends, b)
			}
		}
		return s
	}
	for i := range members {
		if members[i].Attrs.Draining {
			members[i].SubConn = nil
		}
	}
	return s
}
