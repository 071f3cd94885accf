package attrs_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	"github.com/steelyard-go/steelyard/attrs"
)

// gRPC keeps a connection for as long as AddressMapV2, or EndpointMap, finds
// its address again.

func TestSetAddress_KeepsTheConnectionsIdentity(t *testing.T) {
	addr := resolver.Address{Addr: "a:1", ServerName: "name"}
	conns := resolver.NewAddressMapV2[string]()
	conns.Set(attrs.SetAddress(addr, attrs.Attrs{Weight: 1}), "connection")
	for _, a := range []attrs.Attrs{{}, {Weight: 7}, {Draining: true}, {Zone: "b"}, {Labels: map[string]string{"a": "b"}}} {
		got, ok := conns.Get(attrs.SetAddress(addr, a))
		require.Truef(t, ok, "%+v", a)
		require.Equal(t, "connection", got)
	}
	_, ok := conns.Get(addr)
	require.True(t, ok, "nor does it count that anything was set at all")
}

func TestSet_KeepsTheConnectionsIdentity(t *testing.T) {
	e := endpoint("a:1", "b:1")
	policies := resolver.NewEndpointMap[string]()
	policies.Set(attrs.Set(e, attrs.Attrs{Weight: 1}), "policy")
	conns := resolver.NewAddressMapV2[string]()
	conns.Set(e.Addresses[0], "connection")
	for _, a := range []attrs.Attrs{{}, {Weight: 7}, {Draining: true}, {Zone: "b"}, {Labels: map[string]string{"a": "b"}}} {
		changed := attrs.Set(e, a)
		_, ok := policies.Get(changed)
		require.Truef(t, ok, "%+v", a)
		_, ok = conns.Get(changed.Addresses[0])
		require.Truef(t, ok, "%+v", a)
		require.Nil(t, changed.Addresses[0].Attributes)
	}
}

func TestAttrs_EqualByWhatTheySay(t *testing.T) {
	labels := func(kv ...string) map[string]string { return map[string]string{kv[0]: kv[1]} }
	for _, tc := range []struct {
		name string
		a, b attrs.Attrs
		want bool
	}{
		{"zero", attrs.Attrs{}, attrs.Attrs{}, true},
		{"nil and empty labels", attrs.Attrs{}, attrs.Attrs{Labels: map[string]string{}}, true},
		{"equal labels", attrs.Attrs{Labels: labels("a", "1")}, attrs.Attrs{Labels: labels("a", "1")}, true},
		{"another value", attrs.Attrs{Labels: labels("a", "1")}, attrs.Attrs{Labels: labels("a", "2")}, false},
		{"another label", attrs.Attrs{Labels: labels("a", "")}, attrs.Attrs{Labels: labels("b", "")}, false},
		{"no labels", attrs.Attrs{Labels: labels("a", "1")}, attrs.Attrs{}, false},
		{"weight", attrs.Attrs{Weight: 1}, attrs.Attrs{Weight: 2}, false},
		{"draining", attrs.Attrs{Draining: true}, attrs.Attrs{}, false},
		{"zone", attrs.Attrs{Zone: "a"}, attrs.Attrs{Zone: "b"}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			require.Equal(t, tc.want, tc.a.Equal(tc.b))
			require.Equal(t, tc.want, tc.b.Equal(tc.a))
			a, b := attrs.Set(endpoint("a:1"), tc.a), attrs.Set(endpoint("a:1"), tc.b)
			require.Equal(t, tc.want, a.Attributes.Equal(b.Attributes), "the endpoint's attributes")
			require.Equal(t, tc.want, a.Addresses[0].Equal(b.Addresses[0]), "the address")
		})
	}
	require.False(t, full.Equal(nil))
	require.False(t, full.Equal("full"))
	require.False(t, full.Equal(&full))
}

// recorder is a policy that keeps what gRPC hands it.
type recorder struct {
	balancer.Balancer
	states chan resolver.State
}

func (r recorder) Name() string { return "attrs_test_recorder" }
func (r recorder) Build(balancer.ClientConn, balancer.BuildOptions) balancer.Balancer {
	return r
}
func (r recorder) Close()    {}
func (r recorder) ExitIdle() {}
func (r recorder) UpdateClientConnState(s balancer.ClientConnState) error {
	r.states <- s.ResolverState
	return nil
}

// gRPC makes an endpoint of an address that a resolver gives by itself, and
// moves its BalancerAttributes to the endpoint's Attributes.
func TestFromEndpoint_ReadsAnAddressThatGRPCMadeAnEndpoint(t *testing.T) {
	r := recorder{states: make(chan resolver.State, 1)}
	balancer.Register(r)
	found := manual.NewBuilderWithScheme("attrstest")
	found.InitialState(resolver.State{Addresses: []resolver.Address{
		attrs.SetAddress(resolver.Address{Addr: "127.0.0.1:1"}, full),
	}})
	conn, err := grpc.NewClient("attrstest:///service", grpc.WithResolvers(found),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"attrs_test_recorder":{}}]}`))
	require.NoError(t, err)
	defer conn.Close()
	conn.Connect()
	select {
	case s := <-r.states:
		require.Len(t, s.Endpoints, 1)
		require.Equal(t, "127.0.0.1:1", s.Endpoints[0].Addresses[0].Addr)
		require.Equal(t, full, attrs.FromEndpoint(s.Endpoints[0]))
	case <-time.After(10 * time.Second):
		require.Fail(t, "the channel handed nothing down")
	}
}
