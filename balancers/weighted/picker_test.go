package weighted_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/resolver"

	"github.com/steelyard-go/steelyard/attrs"
	"github.com/steelyard-go/steelyard/balancers/weighted"
	"github.com/steelyard-go/steelyard/balancertest"
	"github.com/steelyard-go/steelyard/internal/policytest"
)

const smooth = `{"schedule":"smooth"}`

// uneven returns n weights, none like its neighbour.
func uneven(n int) []uint32 {
	weights := make([]uint32, n)
	for i := range weights {
		weights[i] = uint32(1 + (i*37)%50)
	}
	return weights
}

func TestRandom_SharesEqualWeights(t *testing.T) {
	for name, weights := range map[string][]uint32{
		"one":     {5},
		"equal":   {1, 1, 1, 1},
		"1:2:4":   {1, 2, 4},
		"1:1000":  {1, 1000},
		"hundred": uneven(100),
	} {
		t.Run(name, func(t *testing.T) {
			endpoints := policytest.Endpoints(weights...)
			c := policytest.Channel(t, weighted.Name, "", endpoints...)
			policytest.RequireShares(t, endpoints, c.Count(t.Context(), 300_000))
		})
	}
}

func TestRandom_ParallelSharesEqualWeights(t *testing.T) {
	endpoints := policytest.Endpoints(1, 2, 4, 8)
	picker := policytest.Channel(t, weighted.Name, "", endpoints...).Picker()
	policytest.RequireShares(t, endpoints, parallel(t, picker, 40_000))
}

// parallel has eight goroutines make each picks and returns how many went where.
func parallel(t *testing.T, picker balancer.Picker, each int) map[string]int {
	t.Helper()
	const workers = 8
	sent := make([]map[string]int, workers)
	var wg sync.WaitGroup
	for w := range workers {
		sent[w] = make(map[string]int)
		wg.Go(func() {
			for range each {
				result, err := picker.Pick(balancer.PickInfo{Ctx: t.Context()})
				if err != nil {
					t.Error(err)
					return
				}
				sent[w][fmt.Sprint(result.SubConn)]++
			}
		})
	}
	wg.Wait()
	counts := make(map[string]int)
	for _, own := range sent {
		for addr, n := range own {
			counts[addr] += n
		}
	}
	return counts
}

// Draws that knew of each other would be a rotation in disguise: after a call
// to a backend, the next goes anywhere in proportion to weight again.
func TestRandom_PicksAreIndependent(t *testing.T) {
	endpoints := policytest.Endpoints(1, 1, 2)
	picker := policytest.Channel(t, weighted.Name, "", endpoints...).Picker()
	next := make(map[string]map[string]int)
	last := policytest.Begin(t, picker, t.Context()).Addr
	for range 100_000 {
		addr := policytest.Begin(t, picker, t.Context()).Addr
		if next[last] == nil {
			next[last] = make(map[string]int)
		}
		next[last][addr]++
		last = addr
	}
	require.Len(t, next, 3)
	for _, counts := range next {
		policytest.RequireShares(t, endpoints, counts)
	}
}

func TestPolicy_NewWeightsMoveSharesAndKeepSubConns(t *testing.T) {
	for _, config := range []string{"", smooth} {
		t.Run("config="+config, func(t *testing.T) {
			c := policytest.Channel(t, weighted.Name, config, policytest.Endpoints(1, 1, 2)...)
			for _, weights := range [][]uint32{{1, 8, 2}, {8, 1, 2}, {1_000_000, 1_000_000, 500_000}} {
				endpoints := policytest.Endpoints(weights...)
				require.NoError(t, c.Update(endpoints...))
				policytest.RequireShares(t, endpoints, c.Count(t.Context(), 60_000))
			}
			require.Equal(t, 3, c.Created())
			require.Zero(t, c.ShutDown())
		})
	}
}

func TestPolicy_ConfigMovesFromOneScheduleToTheOther(t *testing.T) {
	endpoints := policytest.Endpoints(1, 2, 4)
	c := policytest.Channel(t, weighted.Name, "", endpoints...)
	for range 3 {
		require.NoError(t, c.Configure(smooth))
		require.LessOrEqual(t, worstOff(t, c.Picker(), endpoints, 7000), 2.0)
		require.NoError(t, c.Configure(`{"schedule":"random"}`))
		// 7,000 independent draws stay within two calls of their shares all the
		// way through less than once in 10¹².
		require.Greater(t, worstOff(t, c.Picker(), endpoints, 7000), 2.0)
	}
	require.Equal(t, 3, c.Created())
}

func TestPolicy_UnsetWeightsCountAsOne(t *testing.T) {
	c := policytest.Channel(t, weighted.Name, smooth,
		balancertest.Endpoint("a", attrs.Attrs{}),
		resolver.Endpoint{Addresses: []resolver.Address{{Addr: "b"}}},
		balancertest.Endpoint("c", attrs.Attrs{Weight: 2}))
	require.Equal(t, map[string]int{"a": 100, "b": 100, "c": 200}, c.Count(t.Context(), 400))
}

func TestPolicy_OnlyReadyBackendsShare(t *testing.T) {
	for _, config := range []string{"", smooth} {
		endpoints := policytest.Endpoints(1, 2, 4)
		c := policytest.Channel(t, weighted.Name, config, endpoints...)
		c.Idle(policytest.Addr(1))
		policytest.RequireShares(t, []resolver.Endpoint{endpoints[0], endpoints[2]}, c.Count(t.Context(), 50_000))
		c.Ready(policytest.Addr(1))
		policytest.RequireShares(t, endpoints, c.Count(t.Context(), 70_000))
	}
}

func TestPolicy_DrainingTakesNoCallsWhileOthersDo(t *testing.T) {
	for _, config := range []string{"", smooth} {
		heavy := balancertest.Endpoint("a", attrs.Attrs{Weight: 1000, Draining: true})
		c := policytest.Channel(t, weighted.Name, config, heavy, balancertest.Endpoint("b", attrs.Attrs{Weight: 1}))
		require.Equal(t, map[string]int{"b": 1000}, c.Count(t.Context(), 1000))
		endpoints := []resolver.Endpoint{
			balancertest.Endpoint("a", attrs.Attrs{Weight: 4, Draining: true}),
			balancertest.Endpoint("b", attrs.Attrs{Weight: 1, Draining: true}),
		}
		require.NoError(t, c.Update(endpoints...))
		policytest.RequireShares(t, endpoints, c.Count(t.Context(), 50_000)) // all drain: all serve
	}
}

func TestNewPickerBuilder_SharesEqualWeights(t *testing.T) {
	for _, cfg := range []weighted.Config{{}, {Schedule: weighted.Random}, {Schedule: weighted.Smooth}} {
		endpoints := policytest.Endpoints(1, 2, 4)
		picker := weighted.NewPickerBuilder(cfg).Build(policytest.BuildInfo(endpoints...))
		counts := make(map[string]int)
		for range 70_000 {
			counts[policytest.Begin(t, picker, t.Context()).Addr]++
		}
		policytest.RequireShares(t, endpoints, counts)
	}
}

func TestPicker_AllocatesNothing(t *testing.T) {
	for _, schedule := range []string{weighted.Random, weighted.Smooth} {
		for _, preference := range []string{"on", "off"} {
			for _, slowStart := range []string{"0s", "1h"} {
				config := fmt.Sprintf(`{"schedule":%q,"zonePreference":%q,"slowStart":%q}`, schedule, preference, slowStart)
				t.Run(config, func(t *testing.T) {
					// A quarter is in the zone: local and remote ones take calls.
					c := inZones(t, config, zoned(uneven(100), "a", "b", "b", "b")...)
					c.Fail(nil, policytest.Addr(0))
					c.Ready(policytest.Addr(0))
					require.NoError(t, c.Configure(config)) // rebuilds at once
					picker := c.Picker()
					policytest.RequireAllocs(t, 0, func() {
						for range 10 { // what one pick in ten allocates shows
							if _, err := picker.Pick(balancer.PickInfo{}); err != nil {
								t.Fatal(err)
							}
						}
					})
				})
			}
		}
	}
}
