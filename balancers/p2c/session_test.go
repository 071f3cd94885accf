package p2c_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"

	"github.com/steelyard-go/steelyard/attrs"
	"github.com/steelyard-go/steelyard/balancers/p2c"
	"github.com/steelyard-go/steelyard/balancertest"
	"github.com/steelyard-go/steelyard/internal/policytest"
)

// answer makes n calls of 10 ms each, one after the other, that end with what
// done holds for their address, well if it holds nothing.
func answer(t *testing.T, c *balancertest.Channel, n int, done map[string]balancer.DoneInfo) map[string]int {
	t.Helper()
	counts := make(map[string]int)
	for range n {
		call := policytest.Begin(t, c.Picker(), t.Context())
		counts[call.Addr]++
		pass(10 * time.Millisecond)
		info, ok := done[call.Addr]
		if !ok {
			info = answered
		}
		call.Done(info)
	}
	return counts
}

// While none is READY there are no builds, so none sees that b was away.
func TestPolicy_AfterATotalOutageAllAreUnknown(t *testing.T) {
	forAll(t, func(t *testing.T, config string) {
		c := policytest.Channel(t, p2c.Name, config, ab(1)...)
		answer(t, c, 50, map[string]balancer.DoneInfo{"a": failed, "b": failed})
		c.Fail(nil, "a")
		c.Fail(nil, "b")
		c.Ready("b")
		c.Ready("a")
		require.InDelta(t, 100, answer(t, c, 200, nil)["a"], 45)
	})
}

func TestPolicy_AConnectionMadeAnewBetweenTwoBuildsIsUnknown(t *testing.T) {
	forAll(t, func(t *testing.T, config string) {
		x := policytest.Addr(30)
		c := policytest.Channel(t, p2c.Name, config, policytest.Alike(70)...)
		for range 4 {
			holdAt(t, c, x).Done(failed)
		}
		require.Zero(t, peek(t, c.Picker(), 3000)[x])
		pass(time.Second)
		require.NoError(t, c.Update(policytest.Alike(70)...)) // the pause between builds begins
		c.Idle(x)
		c.Ready(x)
		pass(time.Second)
		require.Greater(t, peek(t, c.Picker(), 3000)[x], 10, "43 are its share")
	})
}

func TestPolicy_WhoeverDrainsOrIsIllIsKnownAfterwards(t *testing.T) {
	forAll(t, func(t *testing.T, config string) {
		c := policytest.Channel(t, p2c.Name, config, ab(1)...)
		answer(t, c, 50, map[string]balancer.DoneInfo{"a": failed})
		list := ab(1)
		require.NoError(t, c.Update(attrs.Set(list[0], attrs.Attrs{Draining: true}), list[1]))
		require.NoError(t, c.Update(list...))
		require.Less(t, peek(t, c.Picker(), 100)["a"], 5)
		c.SubConn("a").SetHealth(connectivity.TransientFailure, nil)
		c.SubConn("a").SetHealth(connectivity.Ready, nil)
		require.Less(t, peek(t, c.Picker(), 100)["a"], 5)
	})
}

func TestPolicy_AfterAnOutageNoLoadReportCounts(t *testing.T) {
	forAll(t, func(t *testing.T, config string) {
		c := policytest.Channel(t, p2c.Name, config, ab(1)...)
		report := func(busy float64) balancer.DoneInfo {
			return balancer.DoneInfo{BytesSent: true, BytesReceived: true, ServerLoad: utilization{application: busy}}
		}
		answer(t, c, 200, map[string]balancer.DoneInfo{"a": report(3), "b": report(0.1)})
		require.Less(t, peek(t, c.Picker(), 300)["a"], 100)
		c.Fail(nil, "a", "b")
		c.Ready("a", "b")
		require.InDelta(t, 150, peek(t, c.Picker(), 300)["a"], 52)
	})
}

// Ten that all fail from the start, so that there is no latency to compare with.
func TestPolicy_FailuresBeforeTheFirstSuccessAreForgotten(t *testing.T) {
	for _, config := range []string{latencyLoad, requestsLoad} {
		synctest.Test(t, func(t *testing.T) {
			servers := alikeServers(10)
			for i, s := range servers {
				s.took, s.err = time.Duration(1+10*i)*time.Millisecond, errDown
			}
			tr, _ := newLiveTraffic(t, config, servers...)
			for _, share := range tr.run(t, 5*time.Second, 5*time.Millisecond) {
				require.Positive(t, share, config)
			}
			for _, s := range servers {
				s.took, s.err = 10*time.Millisecond, nil
			}
			tr.run(t, 20*time.Second, 5*time.Millisecond)
			shares := tr.run(t, 20*time.Second, 5*time.Millisecond)
			for i, s := range servers {
				require.InDeltaf(t, 0.1, shares[s], 0.04, "%s: server %d", config, i)
			}
		})
	}
}
