package p2c_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/resolver"

	"github.com/steelyard-go/steelyard/attrs"
	"github.com/steelyard-go/steelyard/balancers/p2c"
	"github.com/steelyard-go/steelyard/balancertest"
	"github.com/steelyard-go/steelyard/internal/policytest"
)

// zoned is a channel in zone "a", with so many backends in each of the zones a,
// b and c.
type zoned struct {
	*balancertest.Channel
	zone map[string]string // by address
	list []resolver.Endpoint
}

func newZoned(t *testing.T, config string, perZone ...int) *zoned {
	t.Helper()
	z := &zoned{Channel: balancertest.NewChannel(t, p2c.Name, config), zone: make(map[string]string)}
	for i, n := range perZone {
		for range n {
			addr, zone := policytest.Addr(len(z.list)), string(rune('a'+i))
			z.zone[addr] = zone
			z.list = append(z.list, balancertest.Endpoint(addr, attrs.Attrs{Zone: zone}))
		}
	}
	require.NoError(t, z.UpdateState(attrs.SetLocalZone(resolver.State{Endpoints: z.list}, "a")))
	for addr := range z.zone {
		z.Ready(addr)
	}
	return z
}

// calls makes n calls one after the other, of which those to zones in failing
// fail, and returns how many went to each zone.
func (z *zoned) calls(t *testing.T, n int, failing string) map[string]int {
	t.Helper()
	counts := make(map[string]int)
	for range n {
		picked, err := z.Pick(t.Context())
		require.NoError(t, err)
		zone := z.zone[fmt.Sprint(picked.SubConn)]
		counts[zone]++
		pass(10 * time.Millisecond)
		info := balancer.DoneInfo{BytesSent: true, BytesReceived: true}
		if zone == failing {
			info.Err = errDown
		}
		picked.Done(info)
	}
	return counts
}

var zonedConfigs = []string{`{}`, `{"load":"requests"}`, `{"choices":3}`}

func forAllZoned(t *testing.T, test func(t *testing.T, config string)) {
	t.Helper()
	for _, config := range zonedConfigs {
		t.Run("config="+config, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, config) })
		})
	}
}

func TestZones_CallsStayInTheLocalZone(t *testing.T) {
	forAllZoned(t, func(t *testing.T, config string) {
		require.Equal(t, map[string]int{"a": 500}, newZoned(t, config, 3, 3, 3).calls(t, 500, ""))
	})
}

func TestZones_OffMeansAllAlike(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for zone, n := range newZoned(t, `{"zonePreference":"off"}`, 3, 3, 3).calls(t, 3000, "") {
			require.InDelta(t, 1000, n, 200, zone)
		}
	})
}

func TestZones_CallsLeaveAZoneThatIsBusy(t *testing.T) {
	forAllZoned(t, func(t *testing.T, config string) {
		z := newZoned(t, config, 2, 4, 4)
		counts := make(map[string]int)
		for range 20 { // none of them ends
			picked, err := z.Pick(t.Context())
			require.NoError(t, err)
			counts[z.zone[fmt.Sprint(picked.SubConn)]]++
		}
		require.Greater(t, counts["a"], 2*20/10, "more than without a preference")
		require.Less(t, counts["a"], 16)
	})
}

func TestZones_AZoneShortOfCapacityHandsCallsOver(t *testing.T) {
	forAllZoned(t, func(t *testing.T, config string) {
		// 1.4 × 3 zones × 1/10 of the weight.
		require.InDelta(t, 1260, newZoned(t, config, 1, 5, 4).calls(t, 3000, "")["a"], 150)
	})
}

func TestZones_ABrokenZoneIsLeftAsAWholeAndComesBack(t *testing.T) {
	forAllZoned(t, func(t *testing.T, config string) {
		z := newZoned(t, config, 10, 10, 10)
		z.calls(t, 100, "")
		z.calls(t, 100, "a")
		require.LessOrEqual(t, z.calls(t, 3000, "a")["a"], 12, "of 3000 calls in 30 s")
		pass(time.Minute)
		z.calls(t, 500, "")
		require.Greater(t, z.calls(t, 500, "")["a"], 450)
	})
}

func TestZones_ALocalZoneIsNotLeftWhereAllFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := newZoned(t, `{}`, 3, 3, 3)
		for addr := range z.zone {
			z.zone[addr] += "failing"
		}
		counts := make(map[string]int)
		for range 1000 {
			picked, err := z.Pick(t.Context())
			require.NoError(t, err)
			counts[z.zone[fmt.Sprint(picked.SubConn)]]++
			pass(10 * time.Millisecond)
			picked.Done(balancer.DoneInfo{Err: errDown})
		}
		require.Greater(t, counts["afailing"], 200)
	})
}

func TestZones_WithoutALocalBackendTheOthersServe(t *testing.T) {
	forAllZoned(t, func(t *testing.T, config string) {
		z := newZoned(t, config, 2, 2)
		z.Fail(nil, policytest.Addr(0), policytest.Addr(1))
		require.Equal(t, map[string]int{"b": 100}, z.calls(t, 100, ""))
		z.Ready(policytest.Addr(1))
		require.Positive(t, z.calls(t, 100, "")["a"])
	})
}

// A timer takes the place of the clock, and it must not depend on how many calls
// there are.
func TestScore_WithoutAClockAQuietClientForgetsFailuresInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		servers := make([]*server, 10)
		for i := range servers {
			servers[i] = &server{took: 10 * time.Millisecond}
		}
		bad := servers[0]
		bad.err = errDown
		tr := newTraffic(p2c.Config{Load: p2c.Requests}, servers...)
		tr.run(t, 60*time.Second, 200*time.Millisecond)
		bad.err = nil
		tr.run(t, 25*time.Second, 200*time.Millisecond)
		require.Greater(t, tr.run(t, 100*time.Second, 200*time.Millisecond)[bad], 0.07)
	})
}

func TestPolicy_SlowStartRampsTheShare(t *testing.T) {
	for _, config := range []string{`{"slowStart":"90s"}`, `{"slowStart":"90s","load":"requests"}`} {
		synctest.Test(t, func(t *testing.T) {
			c := policytest.Channel(t, p2c.Name, config, policytest.Alike(2)...)
			require.NoError(t, c.Update(policytest.Alike(3)...))
			c.Ready(policytest.Addr(2))
			require.Less(t, c.Count(t.Context(), 3000)[policytest.Addr(2)], 300, "a tenth of the others'")
			pass(95 * time.Second)
			require.InDelta(t, 1000, c.Count(t.Context(), 3000)[policytest.Addr(2)], 150)
		})
	}
}

func TestZones_OneCallInFlightIsNoReasonToLeave(t *testing.T) {
	forAllZoned(t, func(t *testing.T, config string) {
		z := newZoned(t, config, 3, 3, 3)
		counts := make(map[string]int)
		hold := func(n int) {
			for range n {
				picked, err := z.Pick(t.Context())
				require.NoError(t, err)
				counts[z.zone[fmt.Sprint(picked.SubConn)]]++
			}
		}
		hold(4)
		require.Equal(t, 4, counts["a"])
		hold(20)
		require.Less(t, counts["a"], 20, "but more of them are")
	})
}

func TestScore_ABackendThatWasSlowIsBackInTimeWithFewCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		servers := make([]*server, 10)
		for i := range servers {
			servers[i] = &server{took: 10 * time.Millisecond}
		}
		slow := servers[0]
		tr := newTraffic(p2c.Config{}, servers...)
		tr.run(t, 30*time.Second, 100*time.Millisecond)
		slow.took = 500 * time.Millisecond
		tr.run(t, 30*time.Second, 100*time.Millisecond)
		slow.took = 10 * time.Millisecond
		tr.run(t, 28*time.Second, 100*time.Millisecond)
		require.Greater(t, tr.run(t, 80*time.Second, 100*time.Millisecond)[slow], 0.05, "nearly none if it were not forgotten")
	})
}

func TestPolicy_ASecondDoneTeachesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &server{took: 5 * time.Millisecond}, &server{took: 5 * time.Millisecond}
		tr := newTraffic(p2c.Config{}, a, b)
		tr.run(t, 5*time.Second, 10*time.Millisecond)
		picked, err := tr.picker.Pick(balancer.PickInfo{})
		require.NoError(t, err)
		pass(5 * time.Millisecond)
		for range 20 {
			picked.Done(balancer.DoneInfo{Err: errDown})
		}
		pass(10 * time.Second)
		failed := tr.servers[fmt.Sprint(picked.SubConn)]
		require.InDelta(t, 0.5, tr.run(t, 2*time.Second, 10*time.Millisecond)[failed], 0.2)
	})
}
