package p2c_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/steelyard-go/steelyard/internal/policytest"
)

// addrs returns the addresses of endpoints first to last−1.
func addrs(first, last int) []string {
	list := make([]string, 0, last-first)
	for i := first; i < last; i++ {
		list = append(list, policytest.Addr(i))
	}
	return list
}

func TestZones_AZoneShortOfReadyBackendsHandsCallsOver(t *testing.T) {
	forAllZoned(t, func(t *testing.T, config string) {
		z := newZoned(t, config, 10, 10)
		z.Fail(nil, addrs(1, 10)...)
		// 1.4 × 1/10 of the zone.
		require.InDelta(t, 420, z.calls(t, 3000, "")["a"], 120)
		z.Ready(addrs(1, 5)...)
		require.InDelta(t, 2100, z.calls(t, 3000, "")["a"], 160)
		z.Ready(addrs(5, 10)...)
		require.Equal(t, map[string]int{"a": 300}, z.calls(t, 300, ""))
	})
}

// Backends that start slowly are not yet the capacity that they will be.
func TestZones_AZoneThatStartsSlowlyHandsCallsOver(t *testing.T) {
	for _, config := range []string{`{"slowStart":"1h"}`, `{"slowStart":"1h","load":"requests"}`, `{"slowStart":"1h","choices":3}`} {
		t.Run("config="+config, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				z := newZoned(t, config, 10, 10, 10)
				require.Equal(t, map[string]int{"a": 300}, z.calls(t, 300, ""), "a first list does not ramp")
				z.Fail(nil, addrs(0, 10)...)
				z.Ready(addrs(0, 10)...)
				local := func() int { return z.calls(t, 3000, "")["a"] }
				require.InDelta(t, 3000*1.4*1/10, local(), 120)
				pass(15 * time.Minute) // two steps of an hour's nine
				require.InDelta(t, 3000*1.4*3/10, local(), 170)
				pass(time.Hour)
				require.Equal(t, 3000, local())
			})
		})
	}
}

// A backend that breaks fails all the calls it has, one after the other.
func TestZones_OneBrokenBackendIsNoBrokenZone(t *testing.T) {
	for _, inFlight := range []int{3, 4, 9} {
		t.Run(fmt.Sprintf("in flight=%d", inFlight), func(t *testing.T) {
			forAllZoned(t, func(t *testing.T, config string) {
				z := newZoned(t, config, 30, 30)
				z.Fail(nil, addrs(1, 60)...)
				calls := begin(t, z.Channel, inFlight) // all of them to the one that is there
				z.Ready(addrs(1, 60)...)
				z.calls(t, 100, "")
				for _, call := range calls {
					call.Done(failed)
					pass(time.Millisecond)
				}
				require.Equal(t, map[string]int{"a": 300}, z.calls(t, 300, ""))
			})
		})
	}
}

func TestZones_ABrokenZoneIsLeftHoweverSmall(t *testing.T) {
	for _, backends := range []int{1, 2, 3, 30} {
		t.Run(fmt.Sprintf("backends=%d", backends), func(t *testing.T) {
			forAllZoned(t, func(t *testing.T, config string) {
				z := newZoned(t, config, backends, backends)
				z.calls(t, 100, "")
				require.LessOrEqual(t, z.calls(t, 3000, "a")["a"], 20, "of 3000 calls in 30 s")
			})
		})
	}
}

func TestZones_AZoneThatIsWellAgainIsBackSoon(t *testing.T) {
	forAllZoned(t, func(t *testing.T, config string) {
		z := newZoned(t, config, 10, 10)
		z.calls(t, 100, "")
		require.Less(t, z.calls(t, 100, "a")["a"], 20, "it is left")
		pass(20 * time.Second)
		require.Greater(t, z.calls(t, 100, "")["a"], 90)
	})
}

func TestZones_FailuresWhileThePreferenceIsOffSayNothingOfTheZone(t *testing.T) {
	forAllZoned(t, func(t *testing.T, config string) {
		z := newZoned(t, config, 3, 3)
		require.NoError(t, z.Configure(`{"zonePreference":"off"}`))
		for _, addr := range addrs(0, 3) {
			holdAt(t, z.Channel, addr).Done(failed)
		}
		require.NoError(t, z.Configure(config))
		require.Equal(t, map[string]int{"a": 100}, z.calls(t, 100, ""))
	})
}
