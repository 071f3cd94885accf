package bench

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/balancer"
)

func TestChi2P_OfTheTables(t *testing.T) {
	// Critical values of the NIST/SEMATECH handbook, 1.3.6.7.4.
	for _, row := range []struct{ df, x, p float64 }{
		{1, 2.706, 0.10},
		{1, 3.841, 0.05},
		{1, 6.635, 0.01},
		{1, 10.828, 0.001},
		{2, 5.991, 0.05},
		{2, 13.816, 0.001},
		{10, 15.987, 0.10},
		{10, 18.307, 0.05},
		{10, 23.209, 0.01},
		{10, 29.588, 0.001},
		{10, 3.940, 0.95},
		{10, 2.558, 0.99},
		{50, 67.505, 0.05},
		{50, 34.764, 0.95},
		{100, 118.498, 0.10},
		{100, 124.342, 0.05},
		{100, 135.807, 0.01},
		{100, 149.449, 0.001},
		{100, 77.929, 0.95},
		{100, 70.065, 0.99},
	} {
		require.InEpsilon(t, row.p, chi2P(row.df, row.x), 0.002, "df %v, x %v", row.df, row.x)
	}
}

func TestChi2P_OfTwoDegreesIsExponential(t *testing.T) {
	for _, x := range []float64{1e-9, 0.1, 1, 3.9, 4.1, 20, 700} {
		require.InEpsilon(t, math.Exp(-x/2), chi2P(2, x), 1e-9, "x %v", x)
	}
}

// With many degrees of freedom the cube root of chi-square ÷ df is as good as
// normal (Wilson and Hilferty 1931).
func TestChi2P_OfManyDegreesIsNormalByTheCubeRoot(t *testing.T) {
	for _, df := range []float64{999, 9_999, 99_999} {
		for _, z := range []float64{-3, -1, 0, 1, 2.3263, 4} {
			x := df * math.Pow(1-2/(9*df)+z*math.Sqrt(2/(9*df)), 3)
			require.InEpsilon(t, math.Erfc(z/math.Sqrt2)/2, chi2P(df, x), 0.01, "df %v, z %v", df, z)
		}
	}
}

func TestChi2P_AtTheEnds(t *testing.T) {
	require.EqualValues(t, 1, chi2P(5, 0))
	require.EqualValues(t, 1, chi2P(0, 3))
	require.Zero(t, chi2P(5, 1e6))
}

func TestCompare(t *testing.T) {
	s := compare([]int{30, 50, 0, 120}, []float64{50, 50, 50, 50})
	require.InDelta(t, (400+0+2500+4900)/50.0/3, s.chi2PerDF, 1e-9)
	require.Less(t, s.p, 1e-30)
	require.InDelta(t, 70, s.off, 1e-9)
	require.InDelta(t, 1.4, s.offShare, 1e-9)
	require.InDelta(t, 2.4, s.peak, 1e-9)
	require.Equal(t, 1, s.starved)

	// A coin that fell 5,098 times of 10,000 is 1.96 standard deviations off.
	require.InDelta(t, 0.05, compare([]int{5_098, 4_902}, []float64{5_000, 5_000}).p, 1e-4)
}

func TestWorstOff(t *testing.T) {
	p := policy{ignoresWeights: true}
	for _, tc := range []struct {
		name  string
		turns []int32 // the picker goes through them once
		want  float64
	}{
		{"one by one", []int32{0, 1, 2, 0, 1, 2}, 2.0 / 3},
		{"one is late", []int32{0, 1, 0, 1, 0, 1, 2}, 2},           // 6 calls without a third of them
		{"one is early", []int32{0, 0, 0, 1, 2, 1, 2}, 2},          // 3 calls, all its own
		{"one never comes", []int32{0, 1, 0, 1, 0, 1, 0}, 7.0 / 3}, // seen in the end
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := &host{tb: t, of: p}
			h.state.Store(&balancer.State{Picker: &turns{tc.turns}})
			require.InDelta(t, tc.want, h.worstOff(endpoints(3, 1), len(tc.turns)), 1e-9)
		})
	}
}

// turns picks backends by their numbers, one after the other.
type turns struct{ left []int32 }

func (p *turns) Pick(balancer.PickInfo) (balancer.PickResult, error) {
	next := p.left[0]
	p.left = p.left[1:]
	return balancer.PickResult{SubConn: &subConn{number: next}}, nil
}

func TestMedian(t *testing.T) {
	require.True(t, math.IsNaN(median(nil)))
	require.EqualValues(t, 7, median([]float64{7}))
	require.EqualValues(t, 2, median([]float64{9, 1, 2}))
	require.EqualValues(t, 2.5, median([]float64{9, 1, 3, 2}))
}

func TestDurations_BucketsAreInOrderAndNarrow(t *testing.T) {
	for i := range bucket(math.MaxInt64) {
		require.Equal(t, i, bucket(ceiling(i)))
		require.Equal(t, i+1, bucket(ceiling(i)+1))
	}
	require.Less(t, bucket(math.MaxUint64), 64*parts)
	for _, ns := range []uint64{17, 100, 12_345, 1e9, 1e12} {
		require.GreaterOrEqual(t, ceiling(bucket(ns)), ns)
		require.LessOrEqual(t, ceiling(bucket(ns)), ns+ns/parts)
	}
}

func TestDurations_QuantilesOfSortedValues(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	values := make([]time.Duration, 10_000)
	var halves [2]durations
	for i := range values {
		values[i] = time.Duration(math.Exp(20 * random.Float64()))
		halves[i%2].add(values[i])
	}
	slices.Sort(values)
	var all durations
	require.Zero(t, all.quantile(0.5))
	all.merge(&halves[0])
	all.merge(&halves[1])
	for _, q := range []float64{0.001, 0.5, 0.9, 0.999} {
		want := values[int(math.Ceil(q*10_000))-1]
		require.GreaterOrEqual(t, all.quantile(q), want, "q %v", q)
		require.LessOrEqual(t, all.quantile(q), want+want/parts, "q %v", q)
	}
	require.Equal(t, values[len(values)-1], all.quantile(1))
	require.Equal(t, values[len(values)-1], all.longest)
}
