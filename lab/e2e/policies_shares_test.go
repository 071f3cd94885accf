package e2e

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// chiSquareP returns how likely it is that counts drawn in proportion to three
// weights are as far from their expectations as these, or farther. With three
// classes there are two degrees of freedom, for which the distribution function
// has a closed form.
func chiSquareP(counts, weights [3]float64) float64 {
	calls, total, chiSquare := 0.0, 0.0, 0.0
	for i := range counts {
		calls += counts[i]
		total += weights[i]
	}
	for i := range counts {
		expected := calls * weights[i] / total
		chiSquare += (counts[i] - expected) * (counts[i] - expected) / expected
	}
	return math.Exp(-chiSquare / 2)
}

func TestChiSquareP_KnowsTheTable(t *testing.T) {
	even := [3]float64{1, 1, 1}
	require.InDelta(t, 1, chiSquareP([3]float64{100, 100, 100}, even), 1e-12)
	// χ² = 600/100 = 6; the table has p = 0.05 at 5.991.
	require.InDelta(t, 0.0498, chiSquareP([3]float64{110, 110, 80}, even), 0.0001)
	require.Less(t, chiSquareP([3]float64{33_333, 33_333, 33_334}, [3]float64{1, 2, 4}), 1e-6)
}

// The draws come from the runtime's own random source, which cannot be seeded:
// p > 0.01 alone would fail one run in a hundred of a perfect policy. So a try
// that misses is repeated with fresh draws. A perfect policy fails three in a
// row once in a million runs, and one whose shares are off by a hundredth of a
// heavy backend's fails most single tries at this number of calls.
func TestPolicies_WeightedRandomSharesPassChiSquare(t *testing.T) {
	calls := 100_000
	if testing.Short() {
		calls = 10_000
	}
	servers := startPolicyServers(t, 3)
	c, _ := dialManual(t, endpointsOf(servers, weights124...), weightedRandom.serviceConfig())
	c.awaitAll(t, servers)
	const bound, tries = 0.01, 3
	p := 0.0
	for try := 1; try <= tries && p <= bound; try++ {
		counts := c.spreadParallel(t, calls, 100)
		p = chiSquareP([3]float64{
			float64(counts[servers[0].addr]), float64(counts[servers[1].addr]), float64(counts[servers[2].addr]),
		}, [3]float64{1, 2, 4})
		t.Logf("try %d: %v, p = %.4f", try, counts, p)
	}
	require.Greaterf(t, p, bound, "shares are not the weights in any of %d tries", tries)
}

func TestPolicies_WeightedSmoothIsOffByAtMostTwoCalls(t *testing.T) {
	servers := startPolicyServers(t, 3)
	c, _ := dialManual(t, endpointsOf(servers, weights124...), weightedSmooth.serviceConfig())
	c.awaitAll(t, servers)
	for _, calls := range []int{10, 100, 1_000, 3_000} {
		weightedSmooth.requireShares(t, c, servers, weights124, calls)
	}
}

func TestPolicies_RoundRobinCountsDifferByAtMostOne(t *testing.T) {
	servers := startPolicyServers(t, 3)
	c, _ := dialManual(t, endpointsOf(servers, weights124...), roundRobin.serviceConfig())
	c.awaitAll(t, servers)
	for _, calls := range []int{10, 100, 1_000} {
		counts := c.spread(t, calls)
		low, high := calls, 0
		for _, s := range servers {
			low, high = min(low, counts[s.addr]), max(high, counts[s.addr])
		}
		require.LessOrEqual(t, high-low, 1, "%d calls: %v", calls, counts)
	}
}
