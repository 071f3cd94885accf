package weighted_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/resolver"

	"github.com/steelyard-go/steelyard/attrs"
	"github.com/steelyard-go/steelyard/balancers/weighted"
	"github.com/steelyard-go/steelyard/internal/policytest"
)

// worstOff returns by how many calls a backend's count was off its share, at
// the worst, over all windows that start now. A count is furthest from its
// share right before and right after it changes, and at the end.
func worstOff(t *testing.T, picker balancer.Picker, endpoints []resolver.Endpoint, calls int) float64 {
	t.Helper()
	total, shares := 0.0, make(map[string]float64)
	for _, e := range endpoints {
		total += float64(attrs.FromEndpoint(e).Weight)
	}
	for _, e := range endpoints {
		shares[e.Addresses[0].Addr] = float64(attrs.FromEndpoint(e).Weight) / total
	}
	counts, worst := make(map[string]int), 0.0
	for call := range calls {
		addr := policytest.Begin(t, picker, t.Context()).Addr
		worst = max(worst, math.Abs(float64(call)*shares[addr]-float64(counts[addr])))
		counts[addr]++
		worst = max(worst, math.Abs(float64(call+1)*shares[addr]-float64(counts[addr])))
	}
	for addr, share := range shares {
		worst = max(worst, math.Abs(float64(calls)*share-float64(counts[addr])))
	}
	return worst
}

func TestSmooth_OffByAtMostTwoOverAnyWindow(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	long := make([]uint32, 3000)
	for i := range long {
		long[i] = 1 + random.Uint32N(100)
	}
	for name, weights := range map[string][]uint32{
		"one":       {5},
		"equal":     {3, 3, 3, 3},
		"1:2:4":     {1, 2, 4},
		"1:1000":    {1, 1000},
		"1:1000000": {1, 1_000_000},
		"primes":    {999_983, 500_009, 104_729, 7},
		"uneven":    uneven(20),
		"thirds":    {2, 1},
		"heavy":     {1, 1, 1, 1, 1, 1, 20},
		"unequal":   {999, 1000, 1001},
		"long":      long,
	} {
		t.Run(name, func(t *testing.T) {
			endpoints := policytest.Endpoints(weights...)
			for range 3 { // each picker starts elsewhere in the rotation
				picker := weighted.NewPickerBuilder(weighted.Config{Schedule: weighted.Smooth}).
					Build(policytest.BuildInfo(endpoints...))
				require.LessOrEqual(t, worstOff(t, picker, endpoints, 20_000), 2.0)
			}
		})
	}
}

func TestSmooth_ParallelPickersShareOneRotation(t *testing.T) {
	endpoints := policytest.Endpoints(1, 2, 4)
	picker := policytest.Channel(t, weighted.Name, smooth, endpoints...).Picker()
	counts := parallel(t, picker, 700)
	require.Equal(t, map[string]int{policytest.Addr(0): 800, policytest.Addr(1): 1600, policytest.Addr(2): 3200}, counts)
}

func TestSmooth_AHeavyBackendNeverClumps(t *testing.T) {
	picker := policytest.Channel(t, weighted.Name, smooth, policytest.Endpoints(1, 1, 1, 1, 4)...).Picker()
	last := policytest.Begin(t, picker, t.Context()).Addr
	for range 1000 {
		addr := policytest.Begin(t, picker, t.Context()).Addr
		require.NotEqual(t, addr == policytest.Addr(4), last == policytest.Addr(4), "half of the calls, every other one")
		last = addr
	}
}

// Clients that start together must not march in step.
func TestSmooth_TheStartIsRandomPerChannel(t *testing.T) {
	first := make(map[string]bool)
	for range 40 {
		c := policytest.Channel(t, weighted.Name, smooth, policytest.Alike(50)...)
		first[policytest.Begin(t, c.Picker(), t.Context()).Addr] = true
	}
	// Ten or fewer of 50 starts in 40 draws: less than one chance in 10¹⁷.
	require.Greater(t, len(first), 10)
}

func TestSmooth_TheRotationGoesOnAcrossRebuildsThatChangeNothing(t *testing.T) {
	weights := []uint32{1, 2, 4, 9}
	c := policytest.Channel(t, weighted.Name, smooth, policytest.Endpoints(weights...)...)
	for range 20 {
		counts := make(map[string]int)
		for range 16 { // all of the rotation, a picker for each call
			updates := c.Updates()
			require.NoError(t, c.Update(policytest.Endpoints(weights...)...))
			require.Greater(t, c.Updates(), updates, "a new picker")
			counts[policytest.Begin(t, c.Picker(), t.Context()).Addr]++
		}
		for i, w := range weights {
			require.Equal(t, int(w), counts[policytest.Addr(i)])
		}
	}
}

// Calls to a list that changes every few of them go by the weights all the
// same: no backend has its turn at the start.
func TestSmooth_AFlappingListFavoursNobody(t *testing.T) {
	for calls := 1; calls <= 3; calls++ {
		endpoints := policytest.Endpoints(1, 2, 4, 3)
		c := policytest.Channel(t, weighted.Name, smooth, endpoints...)
		short, all := make(map[string]int), make(map[string]int)
		for range 4000 {
			c.Idle(policytest.Addr(3))
			add(short, c.Count(t.Context(), calls))
			c.Ready(policytest.Addr(3))
			add(all, c.Count(t.Context(), calls))
		}
		policytest.RequireShares(t, endpoints[:3], short)
		policytest.RequireShares(t, endpoints, all)
	}
}

func add(to, counts map[string]int) {
	for addr, n := range counts {
		to[addr] += n
	}
}
