package balancers_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"

	"github.com/steelyard-go/steelyard/balancertest"
)

// healthWays are the ways in which a parent or gRPC may call a health listener.
var healthWays = map[string][]balancertest.Option{
	"inside the registration": nil,
	"after it":                {balancertest.WithQueuedHealth()},
}

func TestFrame_OnlyHealthyBackendsServe(t *testing.T) {
	for name, opts := range healthWays {
		t.Run(name, func(t *testing.T) {
			c, _ := host(t, opts...)
			require.NoError(t, c.Update(plain("a", "b")...))
			c.SubConn("a").SetHealth(connectivity.Connecting, nil)
			c.Ready("a")
			require.Equal(t, connectivity.Connecting, c.State(), "connected is not healthy")
			require.Empty(t, serving(c))
			c.Ready("b")
			require.Equal(t, []string{"b"}, serving(c))
			c.SubConn("a").SetHealth(connectivity.Ready, nil)
			require.Equal(t, []string{"a", "b"}, serving(c))
		})
	}
}

func TestFrame_AnEjectedBackendGetsNoCallUntilItIsLetBack(t *testing.T) {
	for name, opts := range healthWays {
		t.Run(name, func(t *testing.T) {
			c, r := host(t, opts...)
			require.NoError(t, c.Update(plain("a", "b")...))
			c.Ready("a", "b")
			c.SubConn("a").SetHealth(connectivity.TransientFailure, nil)
			require.Equal(t, []string{"b"}, serving(c))
			require.Nil(t, r.member("a").SubConn)
			require.Equal(t, connectivity.Ready, c.SubConn("a").State(), "the connection stays")
			c.SubConn("a").SetHealth(connectivity.Ready, nil)
			require.Equal(t, []string{"a", "b"}, serving(c))
			require.Equal(t, 2, c.Created())
		})
	}
}

func TestFrame_WhenNoneIsHealthyCallsFailWithTheReason(t *testing.T) {
	c, _ := host(t)
	require.NoError(t, c.Update(plain("a", "b")...))
	c.Ready("a", "b")
	c.SubConn("a").SetHealth(connectivity.TransientFailure, errors.New("sick a"))
	c.SubConn("b").SetHealth(connectivity.TransientFailure, errors.New("sick b"))
	require.Equal(t, connectivity.TransientFailure, c.State())
	_, err := c.Pick(t.Context())
	require.ErrorContains(t, err, "steelyard_test: none of 2 endpoints")
	require.ErrorContains(t, err, "sick b")
}

func TestFrame_EveryNewConnectionIsAskedForItsHealth(t *testing.T) {
	for name, opts := range healthWays {
		t.Run(name, func(t *testing.T) {
			c, _ := host(t, opts...)
			require.NoError(t, c.Update(plain("a", "b")...))
			c.Ready("a", "b")
			c.Idle("a")
			c.SubConn("a").SetHealth(connectivity.Connecting, nil)
			c.Ready("a")
			require.Equal(t, []string{"b"}, serving(c))
			c.SubConn("a").SetHealth(connectivity.Ready, nil)
			require.Equal(t, []string{"a", "b"}, serving(c))
		})
	}
}

func TestFrame_AConnectionLostWhileUnhealthyRecovers(t *testing.T) {
	c, _ := host(t)
	require.NoError(t, c.Update(plain("a")...))
	c.Ready("a")
	c.SubConn("a").SetHealth(connectivity.TransientFailure, errors.New("sick"))
	c.Idle("a")
	require.Equal(t, connectivity.TransientFailure, c.State())
	c.SubConn("a").SetHealth(connectivity.Ready, nil)
	require.Empty(t, serving(c), "healthy, and not connected")
	c.Ready("a")
	require.Equal(t, []string{"a"}, serving(c))
}

func TestFrame_TheHealthOfAnEarlierConnectionDoesNotCount(t *testing.T) {
	register()
	s := registerSpy()
	c := balancertest.NewChannel(t, spyPolicy, "")
	require.NoError(t, c.Update(plain("a", "b")...))
	c.Ready("b", "a")
	stale := s.listeners[1]
	say := func(state connectivity.State) { stale(balancer.SubConnState{ConnectivityState: state}) }

	c.Idle("a")
	say(connectivity.Ready)
	require.Equal(t, []string{"b"}, serving(c), "a is not connected")

	c.SubConn("a").SetHealth(connectivity.Connecting, nil)
	c.Ready("a")
	say(connectivity.Ready)
	require.Equal(t, []string{"b"}, serving(c), "a is not healthy")

	c.SubConn("a").SetHealth(connectivity.Ready, nil)
	say(connectivity.TransientFailure)
	require.Equal(t, []string{"a", "b"}, serving(c))

	require.NoError(t, c.Update(plain("b")...))
	say(connectivity.Ready)
	require.Equal(t, []string{"b"}, serving(c), "a has left the list")
	c.Close()
	say(connectivity.Ready)
}

func TestFrame_HealthOfLongListsIsHeardAtOnceToo(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c, _ := host(t)
		addrs := names(100)
		require.NoError(t, c.Update(plain(addrs...)...))
		c.Ready(addrs...)
		pass(soon)
		ejected := make(map[string]bool)
		for _, addr := range addrs[:50] {
			c.SubConn(addr).SetHealth(connectivity.TransientFailure, nil)
			ejected[addr] = true
			neverPicks(t, c, ejected, 100)
		}
		pass(soon)
		require.Equal(t, addrs[50:], serving(c))
		for _, addr := range addrs[:50] {
			c.SubConn(addr).SetHealth(connectivity.Ready, nil)
		}
		pass(soon)
		require.Equal(t, addrs, serving(c))
	})
}
