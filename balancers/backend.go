package balancers

import (
	"context"

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
	// Session is the number of the endpoint's latest connection, 0 before the
	// first: each one made gets a number that no other in the channel has had.
	// By it a policy knows a backend that was lost and came back, even if there
	// was no build meanwhile. Draining, ejection and ill health end no
	// connection. It is 0 where nobody tells: see [NewPickerBuilder].
	Session uint64
	// Ramp is how many tenths of its weight the backend is to carry: 10, or
	// fewer while it starts slowly (see [RegisterPolicy]).
	Ramp uint32
}

// Weight is the weight to choose by: that of Attrs, ramped, in tenths of its
// unit. It is at most ten million.
func (b Backend) Weight() uint32 { return b.Attrs.Weight * b.Ramp }

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
	// LocalZone is the zone that the channel is in, "" when nobody told: see
	// [attrs.SetLocalZone].
	LocalZone string
	// Context ends when the channel closes. Goroutines that a policy starts end
	// with it.
	Context context.Context
	// Rebuild asks for another build soon: when something is ready, say, that
	// the policy prepared in the background. It may be called at any time from
	// any goroutine, but not from within the build. It is nil where nobody can
	// build anew: see [NewPickerBuilder].
	Rebuild func()
}

// Policy builds the pickers of one channel. It is called with the channel's
// lock held, one call at a time, never after the channel's Close; the pickers
// it returns are called concurrently.
type Policy[C any] func(cfg C, s Snapshot) balancer.Picker

// sortOut fills in Backends: of the members, those that have a SubConn are
// READY. It takes the SubConn from those that drain, so members must be the
// snapshot's own. The policy is level if weights mean nothing to it.
func (s *Snapshot) sortOut(level bool) {
	ready, draining := 0, 0
	for i := range s.Members {
		if m := &s.Members[i]; m.SubConn != nil {
			ready++
			if m.Attrs.Draining {
				draining++
			}
		}
	}
	if draining < ready { // else all drain, and all serve
		for i := range s.Members {
			if m := &s.Members[i]; m.Attrs.Draining {
				m.SubConn = nil
			}
		}
		ready -= draining
	}
	rampTogether(s.Members, level)
	if ready == len(s.Members) {
		s.Backends = s.Members
		return
	}
	s.Backends = make([]Backend, 0, ready)
	for i := range s.Members {
		if s.Members[i].SubConn != nil {
			s.Backends = append(s.Backends, s.Members[i])
		}
	}
}
