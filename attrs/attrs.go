// Package attrs holds what a registration says about one endpoint: its weight,
// its zone, whether it drains, and free labels. Resolvers put an [Attrs] on
// each endpoint, balancing policies read it, and neither needs to know the
// other.
//
//	import "github.com/steelyard-go/steelyard/attrs"
//
// The values travel in gRPC's resolver attributes and cost nothing at a call.
// They never take part in the identity of a connection: a new weight, zone or
// drain mark reaches the policies without a reconnect.
package attrs

import (
	"maps"
	"slices"

	"google.golang.org/grpc/attributes"
	"google.golang.org/grpc/experimental/balancer/weight"
	"google.golang.org/grpc/resolver"
)

// MaxWeight is the largest weight an endpoint can have. [Set] and [SetAddress]
// cut larger weights down to it.
const MaxWeight = 1_000_000

// Attrs is what a registration says about one endpoint. The zero value is an
// endpoint of which nothing is known: weight unset, zone unknown, not draining.
type Attrs struct {
	// Weight is the share of load relative to the other endpoints, at most
	// [MaxWeight]; 0 is unset and counts as 1.
	Weight uint32
	// Draining endpoints take no new calls; calls in flight finish.
	Draining bool
	// Zone is the failure domain, "" when unknown.
	Zone string
	// Labels are everything else the registration says. The map is shared by
	// all who read the endpoint and must not be modified once it is set.
	Labels map[string]string
}

// Equal reports whether o is an Attrs that says the same. It makes
// gRPC's attributes.Attributes.Equal compare endpoints by what they say; a nil and
// an empty Labels are equal.
func (a Attrs) Equal(o any) bool {
	b, ok := o.(Attrs)
	return ok && a.Weight == b.Weight && a.Draining == b.Draining && a.Zone == b.Zone &&
		maps.Equal(a.Labels, b.Labels)
}

// The keys are types of this package, so that nobody else's attributes collide
// with ours. Endpoint and address share one key: gRPC moves an address's
// BalancerAttributes to the endpoint it makes of a lone address.
type (
	endpointKey  struct{}
	localZoneKey struct{}
)

// Set returns a copy of e that carries a, on the endpoint and on each of its
// addresses: gRPC drops endpoint attributes behind an HTTP proxy and keeps
// those of the addresses. It also sets gRPC's own endpoint weight, which stock
// ring_hash and weighted pick_first honour. The endpoint's identity does not change.
func Set(e resolver.Endpoint, a Attrs) resolver.Endpoint {
	a.Weight = min(a.Weight, MaxWeight)
	set := with(a)
	e.Attributes = set(e.Attributes)
	e = weight.Set(e, weight.EndpointInfo{Weight: max(a.Weight, 1)})
	e.Addresses = slices.Clone(e.Addresses)
	for i := range e.Addresses {
		e.Addresses[i].BalancerAttributes = set(e.Addresses[i].BalancerAttributes)
	}
	return e
}

// with returns a function that adds a to attributes. Those that it makes of nothing
// are one and the same: an endpoint has an address or two, and lists can be long.
func with(a Attrs) func(*attributes.Attributes) *attributes.Attributes {
	var boxed any = a
	bare := attributes.New(endpointKey{}, boxed)
	return func(before *attributes.Attributes) *attributes.Attributes {
		if before == nil {
			return bare
		}
		return before.WithValue(endpointKey{}, boxed)
	}
}

// FromEndpoint returns what [Set] put on e or on its first address. Where no
// weight was set it falls back to gRPC's own endpoint weight, so that weights
// from xDS or from another resolver count too.
func FromEndpoint(e resolver.Endpoint) Attrs {
	a, ok := e.Attributes.Value(endpointKey{}).(Attrs)
	if !ok && len(e.Addresses) > 0 {
		a = FromAddress(e.Addresses[0])
	}
	if a.Weight == 0 {
		a.Weight = min(weight.FromEndpoint(e).Weight, MaxWeight)
	}
	return a
}

// SetAddress returns a copy of addr that carries a in its BalancerAttributes.
// It never touches Address.Attributes, which are part of a connection's
// identity: there a new weight would cost a reconnect.
func SetAddress(addr resolver.Address, a Attrs) resolver.Address {
	a.Weight = min(a.Weight, MaxWeight)
	addr.BalancerAttributes = addr.BalancerAttributes.WithValue(endpointKey{}, a)
	return addr
}

// FromAddress returns what [SetAddress] put on addr, or the zero Attrs.
func FromAddress(addr resolver.Address) Attrs {
	a, _ := addr.BalancerAttributes.Value(endpointKey{}).(Attrs)
	return a
}

// SetLocalZone returns a copy of s that tells the policies the zone of this
// client, "" when it is unknown.
func SetLocalZone(s resolver.State, zone string) resolver.State {
	s.Attributes = s.Attributes.WithValue(localZoneKey{}, zone)
	return s
}

// LocalZone returns the zone that [SetLocalZone] put on s, or "".
func LocalZone(s resolver.State) string {
	zone, _ := s.Attributes.Value(localZoneKey{}).(string)
	return zone
}
