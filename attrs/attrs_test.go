package attrs_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/experimental/balancer/weight"
	"google.golang.org/grpc/resolver"

	"github.com/steelyard-go/steelyard/attrs"
)

func endpoint(addrs ...string) resolver.Endpoint {
	e := resolver.Endpoint{}
	for _, addr := range addrs {
		e.Addresses = append(e.Addresses, resolver.Address{Addr: addr})
	}
	return e
}

var full = attrs.Attrs{Weight: 5, Draining: true, Zone: "eu-1a", Labels: map[string]string{"version": "1.4.2"}}

func TestSet_FromEndpointGivesItBack(t *testing.T) {
	for name, a := range map[string]attrs.Attrs{
		"full":          full,
		"weight":        {Weight: 1},
		"heaviest":      {Weight: attrs.MaxWeight},
		"draining":      {Weight: 2, Draining: true},
		"zone":          {Weight: 3, Zone: "b"},
		"empty labels":  {Weight: 4, Labels: map[string]string{}},
		"several words": {Weight: 4, Labels: map[string]string{"a": "1", "b": ""}},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, a, attrs.FromEndpoint(attrs.Set(endpoint("a:1"), a)))
			require.Equal(t, a, attrs.FromEndpoint(attrs.Set(endpoint("a:1", "b:1"), a)))
			require.Equal(t, a, attrs.FromEndpoint(attrs.Set(endpoint(), a)), "an endpoint without addresses")
			require.Equal(t, a, attrs.FromAddress(attrs.SetAddress(resolver.Address{Addr: "a:1"}, a)))
		})
	}
}

func TestFromEndpoint_NothingSetIsTheZeroAttrs(t *testing.T) {
	require.Equal(t, attrs.Attrs{}, attrs.FromEndpoint(resolver.Endpoint{}))
	require.Equal(t, attrs.Attrs{}, attrs.FromEndpoint(endpoint("a:1")))
	require.Equal(t, attrs.Attrs{}, attrs.FromAddress(resolver.Address{Addr: "a:1"}))
}

func TestSet_TheLastOneCounts(t *testing.T) {
	e := attrs.Set(attrs.Set(endpoint("a:1"), full), attrs.Attrs{Weight: 9})
	require.Equal(t, attrs.Attrs{Weight: 9}, attrs.FromEndpoint(e))
	require.Equal(t, attrs.Attrs{Weight: 9}, attrs.FromAddress(e.Addresses[0]))
	require.Equal(t, weight.EndpointInfo{Weight: 9}, weight.FromEndpoint(e))
}

func TestSet_CapsTheWeight(t *testing.T) {
	for _, w := range []uint32{attrs.MaxWeight + 1, math.MaxUint32} {
		e := attrs.Set(endpoint("a:1"), attrs.Attrs{Weight: w})
		require.EqualValues(t, 1_000_000, attrs.FromEndpoint(e).Weight)
		require.EqualValues(t, 1_000_000, attrs.FromAddress(e.Addresses[0]).Weight)
		require.EqualValues(t, 1_000_000, weight.FromEndpoint(e).Weight)
		addr := attrs.SetAddress(resolver.Address{Addr: "a:1"}, attrs.Attrs{Weight: w})
		require.EqualValues(t, 1_000_000, attrs.FromAddress(addr).Weight)
	}
}

func TestSet_CarriesToAddressesAndToGRPCsWeight(t *testing.T) {
	e := attrs.Set(endpoint("a:1", "b:1"), full)
	for _, addr := range e.Addresses {
		require.Equal(t, full, attrs.FromAddress(addr))
	}
	require.Equal(t, weight.EndpointInfo{Weight: 5}, weight.FromEndpoint(e))

	unset := attrs.Set(endpoint("a:1"), attrs.Attrs{Zone: "b"})
	require.LessOrEqual(t, weight.FromEndpoint(unset).Weight, uint32(1), "unset counts as 1 in stock policies too")
	require.LessOrEqual(t, attrs.FromEndpoint(unset).Weight, uint32(1))
}

func TestFromEndpoint_ReadsTheAddressWhereTheEndpointsAttributesAreLost(t *testing.T) {
	e := attrs.Set(endpoint("a:1", "b:1"), full)
	e.Attributes = nil // as gRPC does behind an HTTP proxy
	require.Equal(t, full, attrs.FromEndpoint(e))
}

func TestFromEndpoint_FallsBackToGRPCsWeight(t *testing.T) {
	e := weight.Set(endpoint("a:1"), weight.EndpointInfo{Weight: 7})
	require.Equal(t, attrs.Attrs{Weight: 7}, attrs.FromEndpoint(e))

	zoned := attrs.FromEndpoint(e) // what a resolver between does to add a zone
	zoned.Zone = "b"
	require.Equal(t, attrs.Attrs{Weight: 7, Zone: "b"}, attrs.FromEndpoint(attrs.Set(e, zoned)))

	heavy := weight.Set(endpoint("a:1"), weight.EndpointInfo{Weight: math.MaxUint32})
	require.EqualValues(t, attrs.MaxWeight, attrs.FromEndpoint(heavy).Weight)

	ours := weight.Set(attrs.Set(endpoint("a:1"), attrs.Attrs{Weight: 5}), weight.EndpointInfo{Weight: 7})
	require.EqualValues(t, 5, attrs.FromEndpoint(ours).Weight, "a weight that was set goes first")
}

func TestSet_LeavesItsInputAsItWas(t *testing.T) {
	e := endpoint("a:1", "b:1")
	e.Addresses = append(e.Addresses, resolver.Address{})[:2] // room that an append could write to
	before := resolver.Endpoint{Addresses: append([]resolver.Address(nil), e.Addresses...)}
	labels := map[string]string{"version": "1"}
	attrs.Set(e, attrs.Attrs{Weight: 5, Labels: labels})
	require.Equal(t, before, e)
	require.Equal(t, map[string]string{"version": "1"}, labels)

	addr := resolver.Address{Addr: "a:1"}
	attrs.SetAddress(addr, full)
	require.Equal(t, resolver.Address{Addr: "a:1"}, addr)
}

func TestSet_KeepsWhatOthersSet(t *testing.T) {
	type other struct{}
	e := endpoint("a:1")
	e.Attributes = e.Attributes.WithValue(other{}, "theirs")
	e.Addresses[0].BalancerAttributes = e.Addresses[0].BalancerAttributes.WithValue(other{}, "theirs")
	e.Addresses[0].ServerName = "name"
	got := attrs.Set(e, full)
	require.Equal(t, "theirs", got.Attributes.Value(other{}))
	require.Equal(t, "theirs", got.Addresses[0].BalancerAttributes.Value(other{}))
	require.Equal(t, "name", got.Addresses[0].ServerName)
}

func TestSetLocalZone_LocalZoneGivesItBack(t *testing.T) {
	s := resolver.State{Endpoints: []resolver.Endpoint{endpoint("a:1")}}
	require.Empty(t, attrs.LocalZone(s))
	zoned := attrs.SetLocalZone(s, "eu-1a")
	require.Equal(t, "eu-1a", attrs.LocalZone(zoned))
	require.Equal(t, s.Endpoints, zoned.Endpoints)
	require.Empty(t, attrs.LocalZone(s), "the input is left as it was")
	require.Empty(t, attrs.LocalZone(attrs.SetLocalZone(zoned, "")))
	require.Equal(t, attrs.Attrs{}, attrs.FromEndpoint(zoned.Endpoints[0]), "the client's zone is nobody else's")
}
