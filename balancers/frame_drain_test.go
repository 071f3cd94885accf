package balancers_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/resolver"

	"github.com/steelyard-go/steelyard/attrs"
	"github.com/steelyard-go/steelyard/balancertest"
)

func TestFrame_DrainingBackendsServeOnlyWhenAllDrain(t *testing.T) {
	c, _ := host(t)
	draining := func(addr string) resolver.Endpoint { return endpoint(attrs.Attrs{Draining: true}, addr) }
	a, b := plain("a")[0], plain("b")[0]
	require.NoError(t, c.Update(a, b))
	for _, step := range []struct {
		name string
		do   func() error
		want []string
	}{
		{"none drains", func() error { c.Ready("a", "b"); return nil }, []string{"a", "b"}},
		{"one drains", func() error { return c.Update(draining("a"), b) }, []string{"b"}},
		{"the other is lost", func() error { c.Idle("b"); return nil }, []string{"a"}},
		{"the other is back", func() error { c.Ready("b"); return nil }, []string{"b"}},
		{"the other is ejected", func() error {
			c.SubConn("b").SetHealth(connectivity.TransientFailure, nil)
			return nil
		}, []string{"a"}},
		{"the other is let back", func() error { c.SubConn("b").SetHealth(connectivity.Ready, nil); return nil }, []string{"b"}},
		{"all drain", func() error { return c.Update(draining("a"), draining("b")) }, []string{"a", "b"}},
		{"one drains no more", func() error { return c.Update(a, draining("b")) }, []string{"a"}},
		{"the draining one leaves", func() error { return c.Update(a) }, []string{"a"}},
	} {
		require.NoError(t, step.do(), step.name)
		require.Equal(t, step.want, serving(c), step.name)
	}
	require.Equal(t, 2, c.Created(), "draining costs no connection")
}

func TestFrame_CallsInFlightOnADrainingBackendFinish(t *testing.T) {
	c, r := host(t)
	require.NoError(t, c.Update(plain("a")...))
	c.Ready("a")
	begun, err := c.Pick(t.Context())
	require.NoError(t, err)
	require.NoError(t, c.Update(endpoint(attrs.Attrs{Draining: true}, "a"), plain("b")[0]))
	c.Ready("b")
	require.Equal(t, []string{"b"}, serving(c))
	require.Equal(t, connectivity.Ready, c.SubConn("a").State(), "its connection stays")
	require.EqualValues(t, 1, r.member("a").Load.InFlight())
	begun.Done(balancer.DoneInfo{})
	require.Zero(t, r.member("a").Load.InFlight())
}

func TestFrame_CloseEndsEverything(t *testing.T) {
	for _, n := range []int{2, 100} {
		bubble(t, func(t *testing.T) {
			c, r := host(t)
			addrs := names(n)
			list := append(plain(addrs...), endpoint(attrs.Attrs{}, "x1", "x2")) // with a timer for x2
			require.NoError(t, c.Update(list...))
			c.Ready(addrs...) // a long list owes a build now
			picked, err := c.Pick(t.Context())
			require.NoError(t, err)
			builds, _ := r.count()
			updates := c.Updates()
			c.Close()
			pass(time.Second)
			require.Equal(t, c.Created(), c.ShutDown())
			require.Equal(t, updates, c.Updates())
			after, _ := r.count()
			require.Equal(t, builds, after, "a closed channel builds no more")
			picked.Done(balancer.DoneInfo{})
			_, err = c.Pick(t.Context())
			require.NoError(t, err, "a picker that is out stays safe to use")
		})
	}
}

func TestFrame_CloseBeforeAnything(t *testing.T) {
	register()
	c := balancertest.NewChannel(t, testPolicy, "{}")
	c.Close()
	require.Zero(t, c.Updates())
}
