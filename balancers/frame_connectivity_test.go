package balancers_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/status"
)

func TestFrame_CallsWaitWhileItConnects(t *testing.T) {
	c, _ := host(t)
	require.NoError(t, c.Update(plain("a", "b")...))
	require.Equal(t, connectivity.Connecting, c.State())
	_, err := c.Pick(t.Context())
	require.ErrorIs(t, err, balancer.ErrNoSubConnAvailable)
	c.Fail(nil, "a")
	require.Equal(t, connectivity.Connecting, c.State(), "b may still connect")
	_, err = c.Pick(t.Context())
	require.ErrorIs(t, err, balancer.ErrNoSubConnAvailable)
}

func TestFrame_ALostBackendReconnectsByItself(t *testing.T) {
	c, _ := host(t)
	require.NoError(t, c.Update(plain("a", "b")...))
	c.Ready("a", "b")
	c.Idle("a")
	require.Equal(t, connectivity.Connecting, c.SubConn("a").State())
	require.Equal(t, []string{"b"}, serving(c))
	c.Fail(nil, "a")
	c.Idle("a") // its backoff is over
	require.Equal(t, connectivity.Connecting, c.SubConn("a").State())
	c.Ready("a")
	require.Equal(t, []string{"a", "b"}, serving(c))
	require.Equal(t, 2, c.Created())
}

func TestFrame_FailureLastsUntilSomethingConnects(t *testing.T) {
	for _, n := range []int{2, 100} {
		c, _ := host(t)
		addrs := names(n)
		require.NoError(t, c.Update(plain(addrs...)...))
		c.Fail(errors.New("refused"), addrs...)
		require.Equal(t, connectivity.TransientFailure, c.State())
		for _, addr := range addrs {
			c.Idle(addr)
			require.Equal(t, connectivity.Connecting, c.SubConn(addr).State())
			require.Equal(t, connectivity.TransientFailure, c.State(), "trying again is no success")
		}
		c.Ready(addrs[1])
		require.Equal(t, connectivity.Ready, c.State())
		require.Equal(t, []string{addrs[1]}, serving(c))
	}
}

func TestFrame_AFreshEndpointAmongFailedOnesMakesItConnecting(t *testing.T) {
	c, _ := host(t)
	require.NoError(t, c.Update(plain("a")...))
	c.Fail(errors.New("refused"), "a")
	require.NoError(t, c.Update(plain("a", "b")...))
	require.Equal(t, connectivity.Connecting, c.State())
	require.NoError(t, c.Update(plain("a")...))
	require.Equal(t, connectivity.TransientFailure, c.State())
}

func TestFrame_FailuresSayWhoHowManyAndWhy(t *testing.T) {
	c, _ := host(t)
	require.NoError(t, c.Update(plain("a", "b", "c")...))
	for _, why := range []string{"refused once", "refused twice"} {
		c.Fail(errors.New(why), "a", "b", "c")
		_, err := c.Pick(t.Context())
		require.ErrorContains(t, err, "steelyard_test: none of 3 endpoints is connected")
		require.ErrorContains(t, err, why, "the last error counts")
		_, isStatus := status.FromError(err)
		require.False(t, isStatus, "a status error would end calls that wait for ready")
	}
}

func TestFrame_AResolverErrorKeepsAGoodState(t *testing.T) {
	c, _ := host(t)
	require.NoError(t, c.Update(plain("a", "b")...))
	c.Ready("a")
	c.ResolverError(errors.New("etcd is away"))
	require.Equal(t, connectivity.Ready, c.State())
	require.Equal(t, []string{"a"}, serving(c))
	c.Ready("b")
	require.Equal(t, []string{"a", "b"}, serving(c))
	require.Zero(t, c.ShutDown())

	c.Fail(errors.New("refused"), "a", "b")
	_, err := c.Pick(t.Context())
	require.ErrorContains(t, err, "refused")
	require.ErrorContains(t, err, "etcd is away")

	require.NoError(t, c.Update(plain("a", "b")...))
	_, err = c.Pick(t.Context())
	require.ErrorContains(t, err, "refused")
	require.NotContains(t, err.Error(), "etcd is away", "the resolver is well again")
}

func TestFrame_AResolverErrorWhileConnectingLetsCallsWait(t *testing.T) {
	c, _ := host(t)
	require.NoError(t, c.Update(plain("a")...))
	c.ResolverError(errors.New("etcd is away"))
	require.Equal(t, connectivity.Connecting, c.State())
	_, err := c.Pick(t.Context())
	require.ErrorIs(t, err, balancer.ErrNoSubConnAvailable)
}

func TestFrame_AResolverErrorBeforeAnyListFailsCalls(t *testing.T) {
	c, _ := host(t)
	c.ResolverError(errors.New("etcd is away"))
	require.Equal(t, connectivity.TransientFailure, c.State())
	_, err := c.Pick(t.Context())
	require.ErrorContains(t, err, "steelyard_test: ")
	require.ErrorContains(t, err, "etcd is away")
	_, isStatus := status.FromError(err)
	require.False(t, isStatus)

	require.NoError(t, c.Update(plain("a")...))
	require.Equal(t, connectivity.Connecting, c.State())
	c.Ready("a")
	require.Equal(t, []string{"a"}, serving(c))
}

func TestFrame_AnEmptyListEndsAllConnectionsAndSaysSo(t *testing.T) {
	for name, empty := range map[string]resolver.State{
		"no endpoints": {}, "empty lists": {Endpoints: []resolver.Endpoint{}, Addresses: []resolver.Address{}},
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := host(t)
			require.NoError(t, c.Update(plain("a", "b")...))
			c.Ready("a")
			require.ErrorIs(t, c.UpdateState(empty), balancer.ErrBadResolverState)
			require.Equal(t, connectivity.TransientFailure, c.State())
			_, err := c.Pick(t.Context())
			require.ErrorContains(t, err, "steelyard_test: no endpoints")
			require.Equal(t, 2, c.ShutDown())
			require.Nil(t, c.SubConn("a"))

			c.ResolverError(errors.New("etcd is away"))
			_, err = c.Pick(t.Context())
			require.ErrorContains(t, err, "etcd is away")

			require.NoError(t, c.Update(plain("a")...))
			c.Ready("a")
			require.Equal(t, []string{"a"}, serving(c))
		})
	}
}

func TestFrame_AnEmptyFirstListIsClearToo(t *testing.T) {
	c, r := host(t)
	require.ErrorIs(t, c.Update(), balancer.ErrBadResolverState)
	require.Equal(t, connectivity.TransientFailure, c.State())
	_, err := c.Pick(t.Context())
	require.ErrorContains(t, err, "steelyard_test: no endpoints")
	builds, _ := r.count()
	require.Zero(t, builds, "a policy never builds from nothing")
}

func TestFrame_ExitIdleIsHarmless(t *testing.T) {
	c, _ := host(t)
	c.ExitIdle()
	require.NoError(t, c.Update(plain("a")...))
	c.ExitIdle()
	c.Ready("a")
	c.ExitIdle()
	require.Equal(t, []string{"a"}, serving(c))
	require.Equal(t, 1, c.Created())
}
