package demo

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestChiSquareTail_MatchesTheTables(t *testing.T) {
	// Critical values as printed in any table of the distribution.
	for _, tc := range []struct {
		x       float64
		freedom int
		want    float64
	}{
		{3.841, 1, 0.05},
		{5.991, 2, 0.05},
		{7.815, 3, 0.05},
		{15.086, 5, 0.01},
		{20.515, 5, 0.001},
		{18.307, 10, 0.05},
		{140.169, 100, 0.005},
		{0, 5, 1},
	} {
		require.InEpsilon(t, tc.want, chiSquareTail(tc.x, tc.freedom), 0.005, "x=%v freedom=%d", tc.x, tc.freedom)
	}
}

func TestChiSquare_TellsWrongWeightsFromChance(t *testing.T) {
	weights := []float64{1, 2, 4, 1, 2, 4}
	const calls = 4000
	random := rand.New(rand.NewPCG(1, 1))
	worst := 1.0
	for range 200 {
		observed := make([]int, len(weights))
		for range calls {
			observed[drawByWeight(random, weights)]++
		}
		worst = min(worst, chiSquare(observed, expectedCounts(weights, calls)))
	}
	require.Greater(t, worst, leastP)
	require.Greater(t, 0.05, worst, "of 200 the worst should be unlikely")

	even := []int{667, 667, 667, 667, 666, 666}
	require.Less(t, chiSquare(even, expectedCounts(weights, calls)), leastP)
}

func drawByWeight(random *rand.Rand, weights []float64) int {
	var total float64
	for _, w := range weights {
		total += w
	}
	x := random.Float64() * total
	for i, w := range weights {
		if x -= w; x < 0 {
			return i
		}
	}
	return len(weights) - 1
}

func TestMisplaced_IsTheShareThatWentElsewhere(t *testing.T) {
	require.InDelta(t, 0.125, misplaced([]int{150, 250}, []float64{100, 300}), 1e-9)
	require.Zero(t, misplaced([]int{100, 300}, []float64{100, 300}))
	require.Zero(t, misplaced(nil, nil))
}

func TestTilt_ComparesTheHeaviestWithTheLightest(t *testing.T) {
	got, want := tilt([]int{10, 20, 100, 20, 50, 60}, []float64{20, 40, 80, 20, 40, 80})
	require.InDelta(t, 80.0/15, got, 1e-9)
	require.InDelta(t, 4, want, 1e-9)
	got, _ = tilt([]int{0, 7}, []float64{1, 4})
	require.InDelta(t, 7, got, 1e-9, "nothing for the lightest is no division by zero")
}

func TestSpread(t *testing.T) {
	require.Equal(t, 3, spread([]int{5, 7, 4}))
	require.Zero(t, spread([]int{5}))
}
