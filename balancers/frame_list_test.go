package balancers_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/attributes"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/experimental/balancer/weight"
	"google.golang.org/grpc/resolver"

	"github.com/steelyard-go/steelyard/attrs"
	"github.com/steelyard-go/steelyard/balancers"
	"github.com/steelyard-go/steelyard/balancertest"
)

func TestFrame_ServesEndpointsAndAddressesAlike(t *testing.T) {
	at := attrs.Attrs{Weight: 3, Zone: "eu-1a", Labels: map[string]string{"version": "1"}}
	address := func(addr string) resolver.Address { return attrs.SetAddress(resolver.Address{Addr: addr}, at) }
	for _, tc := range []struct {
		name  string
		state resolver.State
	}{
		{"endpoints", resolver.State{Endpoints: []resolver.Endpoint{endpoint(at, "b"), endpoint(at, "a")}}},
		{"addresses", resolver.State{Addresses: []resolver.Address{address("b"), address("a")}}},
		{"both", resolver.State{
			Endpoints: []resolver.Endpoint{endpoint(at, "b"), endpoint(at, "a")},
			Addresses: []resolver.Address{address("z")},
		}},
		{"endpoints whose attributes a proxy dropped", resolver.State{Endpoints: []resolver.Endpoint{
			{Addresses: []resolver.Address{address("b")}}, {Addresses: []resolver.Address{address("a")}},
		}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, r := host(t)
			require.NoError(t, c.UpdateState(tc.state))
			c.Ready("a", "b")
			require.Equal(t, []string{"a", "b"}, serving(c))
			for _, b := range r.last().Backends {
				require.True(t, at.Equal(b.Attrs), "%+v", b.Attrs)
			}
		})
	}
}

func TestFrame_WeightIsAtLeastOneAndMayComeFromGRPCsOwnAttribute(t *testing.T) {
	c, r := host(t)
	foreign := weight.Set(resolver.Endpoint{Addresses: []resolver.Address{{Addr: "b"}}}, weight.EndpointInfo{Weight: 7})
	require.NoError(t, c.Update(plain("a")[0], foreign))
	c.Ready("a", "b")
	require.EqualValues(t, 1, r.member("a").Attrs.Weight)
	require.EqualValues(t, 7, r.member("b").Attrs.Weight)
}

// gRPC's xDS resolver gives shares of the whole in 31 bits.
func TestFrame_WeightsOfXDSKeepTheirRatios(t *testing.T) {
	c, r := host(t)
	const whole = 1 << 31
	var list []resolver.Endpoint
	for addr, w := range map[string]uint32{"a": whole / 10, "b": 9 * (whole / 10), "c": 3} {
		list = append(list, weight.Set(plain(addr)[0], weight.EndpointInfo{Weight: w}))
	}
	ours := attrs.Set(plain("d")[0], attrs.Attrs{Weight: 5})
	require.NoError(t, c.Update(append(list, ours)...))
	c.Ready("a", "b", "c", "d")
	require.EqualValues(t, attrs.MaxWeight, r.member("b").Attrs.Weight)
	require.InDelta(t, attrs.MaxWeight/9, r.member("a").Attrs.Weight, 1)
	require.EqualValues(t, 1, r.member("c").Attrs.Weight, "too little to be told, and not nothing")
	require.NoError(t, c.Update(append(list[:3:3], list[0], ours)...), "a duplicate")
	require.InDelta(t, attrs.MaxWeight/9, r.member("a").Attrs.Weight, 1)
}

func TestFrame_BackendsAreSortedWhateverTheListsOrder(t *testing.T) {
	c, r := host(t)
	require.NoError(t, c.Update(plain("c", "a", "d", "b")...))
	c.Ready("d", "b", "a")
	sorted := func(backends []balancers.Backend) (addrs []string) {
		for _, b := range backends {
			addrs = append(addrs, b.Address.Addr)
		}
		return addrs
	}
	require.Equal(t, []string{"a", "b", "d"}, sorted(r.last().Backends))
	require.Equal(t, []string{"a", "b", "c", "d"}, sorted(r.last().Members))
	require.Nil(t, r.member("c").SubConn, "c is not connected")
	require.Equal(t, balancer.SubConn(c.SubConn("a")), r.member("a").SubConn)

	require.NoError(t, c.Update(plain("d", "c", "b", "a")...))
	require.Equal(t, []string{"a", "b", "d"}, sorted(r.last().Backends))
	require.Equal(t, 4, c.Created())
	require.Zero(t, c.ShutDown())
}

func TestFrame_DuplicatesCountOnce(t *testing.T) {
	pair := func(a, b string) resolver.Endpoint { return endpoint(attrs.Attrs{}, a, b) }
	for _, tc := range []struct {
		name    string
		state   resolver.State
		members []string
	}{
		{"endpoints", resolver.State{Endpoints: plain("a", "b", "a", "a")}, []string{"a", "b"}},
		{"addresses", resolver.State{Addresses: []resolver.Address{{Addr: "b"}, {Addr: "a"}, {Addr: "b"}}}, []string{"a", "b"}},
		{"an endpoint's addresses in another order", resolver.State{Endpoints: []resolver.Endpoint{pair("a", "c"), pair("c", "a")}}, []string{"a"}},
		{"an address twice in one endpoint", resolver.State{Endpoints: []resolver.Endpoint{pair("a", "a")}}, []string{"a"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, r := host(t)
			require.NoError(t, c.UpdateState(tc.state))
			c.Ready(tc.members...)
			require.Equal(t, tc.members, serving(c))
			require.Len(t, r.last().Members, len(tc.members))
			require.Equal(t, len(tc.members), c.Created())
		})
	}
}

func TestFrame_EndpointWithoutAddressesIsLeftOut(t *testing.T) {
	c, r := host(t)
	require.NoError(t, c.Update(resolver.Endpoint{}, plain("a")[0]))
	c.Ready("a")
	require.Len(t, r.last().Members, 1)
	require.ErrorIs(t, c.Update(resolver.Endpoint{}), balancer.ErrBadResolverState)
}

func TestFrame_NewAttributesReachTheNextPickWithoutAConnection(t *testing.T) {
	for _, tc := range []struct {
		name string
		next attrs.Attrs
	}{
		{"weight", attrs.Attrs{Weight: 9}},
		{"zone", attrs.Attrs{Weight: 1, Zone: "eu-1b"}},
		{"labels", attrs.Attrs{Weight: 1, Labels: map[string]string{"version": "2"}}},
		{"drain", attrs.Attrs{Weight: 1, Draining: true}},
	} {
		for _, n := range []int{3, 100} {
			t.Run(tc.name, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					c, r := host(t)
					addrs := names(n)
					list := plain(addrs...)
					require.NoError(t, c.Update(list...))
					c.Ready(addrs...)
					pass(soon)
					list[0] = endpoint(tc.next, addrs[0])
					require.NoError(t, c.Update(list...))
					require.True(t, tc.next.Equal(r.member(addrs[0]).Attrs), "%+v", r.member(addrs[0]).Attrs)
					require.Equal(t, !tc.next.Draining, serving(c)[0] == addrs[0])
					require.Equal(t, n, c.Created())
					require.Zero(t, c.ShutDown())
				})
			})
		}
	}
}

func TestFrame_AddressesOnlyListChangesWeightWithoutAConnection(t *testing.T) {
	c, r := host(t)
	for _, w := range []uint32{1, 7} {
		address := attrs.SetAddress(resolver.Address{Addr: "a"}, attrs.Attrs{Weight: w})
		require.NoError(t, c.UpdateState(resolver.State{Addresses: []resolver.Address{address}}))
		c.Ready("a")
		require.Equal(t, w, r.member("a").Attrs.Weight)
	}
	require.Equal(t, 1, c.Created())
	require.Zero(t, c.ShutDown())
}

func TestFrame_NewConnectionAttributesMakeANewConnection(t *testing.T) {
	c, _ := host(t)
	address := resolver.Address{Addr: "a"}
	require.NoError(t, c.Update(resolver.Endpoint{Addresses: []resolver.Address{address}}))
	c.Ready("a")
	old := c.SubConn("a")
	address.ServerName = "other.example"
	address.Attributes = attributes.New("credentials", "new")
	require.NoError(t, c.Update(resolver.Endpoint{Addresses: []resolver.Address{address}}))
	require.Equal(t, connectivity.Shutdown, old.State())
	require.Equal(t, "other.example", c.SubConn("a").Addresses()[0].ServerName)
}

func TestFrame_ARemovedEndpointLeavesThePickerFirst(t *testing.T) {
	for _, n := range []int{3, 100} {
		bubble(t, func(t *testing.T) {
			register()
			s := registerSpy()
			c := balancertest.NewChannel(t, spyPolicy, "")
			addrs := names(n)
			require.NoError(t, c.Update(plain(addrs...)...))
			c.Ready(addrs...)
			pass(soon)
			s.take()
			require.NoError(t, c.Update(plain(addrs[1:]...)...))
			require.Equal(t, []string{"picker READY", "shutdown " + addrs[0]}, s.take())
			require.NotContains(t, serving(c), addrs[0])
			require.Equal(t, 1, c.ShutDown())
		})
	}
}

func TestFrame_AListThatGivesWayToAnother(t *testing.T) {
	c, r := host(t)
	require.NoError(t, c.Update(plain("a", "b")...))
	c.Ready("a", "b")
	require.NoError(t, c.Update(plain("c", "d")...))
	require.Equal(t, connectivity.Connecting, c.State())
	require.Empty(t, serving(c), "nothing of the old list may serve: its connections are shut down")
	c.Ready("d")
	require.Equal(t, []string{"d"}, serving(c))
	require.Len(t, r.last().Members, 2)
	require.Equal(t, 2, c.ShutDown())
}
