package p2c_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/steelyard-go/steelyard/balancers/p2c"
	"github.com/steelyard-go/steelyard/balancertest"
	"github.com/steelyard-go/steelyard/internal/policytest"
)

func TestProbe_ABackendThatOnlyFindsNothingGetsItsShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		servers := alikeServers(10)
		empty := servers[0]
		empty.err = status.Error(codes.NotFound, "no")
		tr, _ := newLiveTraffic(t, `{}`, servers...)
		tr.run(t, 500*time.Millisecond, 250*time.Microsecond)
		require.InDelta(t, 0.1, tr.run(t, 2*time.Second, 250*time.Microsecond)[empty], 0.03)
	})
}

// A call that was canceled has told nothing, but it is over.
func TestProbe_EndsWithTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := policytest.Channel(t, p2c.Name, `{}`, ab(1)...)
		counts := answer(t, c, 200, map[string]balancer.DoneInfo{"a": canceled})
		require.InDelta(t, 100, counts["a"], 45)
	})
}

// mixed is traffic of 99 streams of 2 s to each call of 10 ms, a hundred of them
// a second. It returns the shares of the streams and of the calls.
func mixed(t *testing.T, tr *traffic, seconds int) (streams, calls map[*server]float64) {
	t.Helper()
	streams, calls = make(map[*server]float64), make(map[*server]float64)
	for range seconds {
		for _, part := range []struct {
			method       string
			took, length time.Duration
			shares       map[*server]float64
		}{
			{grpc_health_v1.Health_Watch_FullMethodName, 2 * time.Second, 990 * time.Millisecond, streams},
			{grpc_health_v1.Health_Check_FullMethodName, 10 * time.Millisecond, 10 * time.Millisecond, calls},
		} {
			tr.method = part.method
			for _, s := range tr.servers {
				s.took = part.took
			}
			for s, share := range tr.run(t, part.length, 10*time.Millisecond) {
				part.shares[s] += share / float64(seconds)
			}
		}
	}
	return streams, calls
}

// Streams do not tell how fast a backend is, so they are not held back until it
// has been measured, and do not hold the call back that measures it.
func TestProbe_ANewBackendGetsItsShareOfStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr, c := newLiveTraffic(t, `{}`, alikeServers(3)...)
		tr.run(t, time.Second, 10*time.Millisecond) // all three are measured
		mixed(t, tr, 10)
		joined := new(server)
		tr.servers[policytest.Addr(3)] = joined
		require.NoError(t, c.Update(policytest.Alike(4)...))
		c.Ready(policytest.Addr(3))
		streams, _ := mixed(t, tr, 5)
		require.Greater(t, streams[joined], 0.2, "it has fewer open than the others")
		streams, calls := mixed(t, tr, 60)
		require.InDelta(t, 0.25, streams[joined], 0.05)
		require.Greater(t, calls[joined], 4./60, "15 are its share")
	})
}

func TestProbe_HoldsNoStreamBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := balancertest.NewChannel(t, p2c.Name, `{}`)
		require.NoError(t, c.Update(ab(1)...))
		c.Ready("a")
		answer(t, c, 20, nil)
		c.Ready("b")
		holdAt(t, c, "b")
		require.Equal(t, map[string]int{"a": 20}, peek(t, c.Picker(), 20), "other calls are held back")
		counts := make(map[string]int)
		for range 21 {
			picked, err := c.Picker().Pick(balancer.PickInfo{FullMethodName: grpc_health_v1.Health_Watch_FullMethodName})
			require.NoError(t, err)
			counts[fmt.Sprint(picked.SubConn)]++
		}
		require.Equal(t, map[string]int{"a": 11, "b": 10}, counts)
	})
}
