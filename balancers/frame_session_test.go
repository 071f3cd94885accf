package balancers_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/resolver"

	"github.com/steelyard-go/steelyard/attrs"
	"github.com/steelyard-go/steelyard/balancertest"
)

func TestSession_IsNewWithEachConnection(t *testing.T) {
	const a, b = "a", "b"
	sick := func(c *balancertest.Channel) error {
		c.SubConn(a).SetHealth(connectivity.TransientFailure, nil)
		return nil
	}
	well := func(c *balancertest.Channel) error {
		c.SubConn(a).SetHealth(connectivity.Ready, nil)
		return nil
	}
	reconnect := func(c *balancertest.Channel) error { c.Idle(a); c.Ready(a); return nil }
	update := func(list ...resolver.Endpoint) func(*balancertest.Channel) error {
		return func(c *balancertest.Channel) error { return c.Update(list...) }
	}
	for name, test := range map[string]struct {
		steps []func(*balancertest.Channel) error
		isNew bool
	}{
		"lost and made anew": {steps: []func(*balancertest.Channel) error{reconnect}, isNew: true},
		"lost while ejected": {steps: []func(*balancertest.Channel) error{sick, reconnect, well}, isNew: true},
		"lost in a total outage": {isNew: true, steps: []func(*balancertest.Channel) error{
			func(c *balancertest.Channel) error { c.Fail(nil, b, a); c.Ready(a); return nil },
		}},
		"at the same address, made otherwise": {isNew: true, steps: []func(*balancertest.Channel) error{
			update(resolver.Endpoint{Addresses: []resolver.Address{{Addr: a, ServerName: "other"}}}, plain(b)[0]),
			func(c *balancertest.Channel) error { c.Ready(a); return nil },
		}},
		"out of the list and back, without a build between": {isNew: true, steps: []func(*balancertest.Channel) error{
			func(c *balancertest.Channel) error { c.Fail(nil, b); return nil },
			update(plain(b)...),
			update(plain(a, b)...),
			func(c *balancertest.Channel) error { c.Ready(a); return nil },
		}},
		"ejected and let back": {steps: []func(*balancertest.Channel) error{sick, well}},
		"drained for a while": {steps: []func(*balancertest.Channel) error{
			update(endpoint(attrs.Attrs{Draining: true}, a), plain(b)[0]),
			update(plain(a, b)...),
		}},
		"all sick for a while": {steps: []func(*balancertest.Channel) error{
			func(c *balancertest.Channel) error { c.Fail(nil, b); return nil },
			sick, well,
		}},
		"a new weight": {steps: []func(*balancertest.Channel) error{
			update(endpoint(attrs.Attrs{Weight: 7}, a), plain(b)[0]),
		}},
	} {
		t.Run(name, func(t *testing.T) {
			c, r := settled(t, "", a, b)
			before := r.member(a).Session
			require.NotZero(t, before)
			for _, step := range test.steps {
				require.NoError(t, step(c))
			}
			require.NotNil(t, r.member(a).SubConn)
			require.Equal(t, test.isNew, r.member(a).Session != before)
		})
	}
}

func TestSession_OfABackendThatIsDownIsItsLast(t *testing.T) {
	c, r := host(t)
	require.NoError(t, c.Update(plain("a", "b")...))
	c.Ready("b")
	require.Zero(t, r.member("a").Session, "never connected")
	c.Ready("a")
	last := r.member("a").Session
	c.Fail(nil, "a")
	require.Nil(t, r.member("a").SubConn)
	require.Equal(t, last, r.member("a").Session)
}

func TestSession_TellsOfAReturnWithinThePauseOfALongList(t *testing.T) {
	bubble(t, func(t *testing.T) {
		addrs := names(100)
		c, r := settled(t, "", addrs...)
		pass(soon)
		before, last := r.last(), addrs[99]
		builds, _ := r.count()
		c.Idle(addrs[0]) // has its build; the pause begins
		c.Idle(last)
		c.Ready(last)
		pass(soon)
		after, _ := r.count()
		require.Equal(t, 2, after-builds, "none of them saw the backend down")
		for _, m := range before.Members {
			isNew := r.member(m.Address.Addr).Session != m.Session
			require.Equal(t, m.Address.Addr == last, isNew, m.Address.Addr)
		}
	})
}
