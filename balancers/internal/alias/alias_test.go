package alias

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// shares returns the probability of each index that the table stands for,
// read off its columns: no draw, so nothing is left to chance.
func shares(t *Table) []float64 {
	got := make([]float64, len(t.columns))
	for i, c := range t.columns {
		own := float64(c.below) / (1 << 32)
		got[i] += own / float64(len(t.columns))
		got[c.other] += (1 - own) / float64(len(t.columns))
	}
	return got
}

func requireShares(t *testing.T, weights []uint32) {
	t.Helper()
	total := 0.0
	for _, w := range weights {
		total += float64(w)
	}
	for i, got := range shares(New(weights)) {
		want := float64(weights[i]) / total
		require.InDeltaf(t, want, got, 0x1p-32, "share of index %d of %d", i, len(weights))
	}
}

func TestTable_SharesEqualWeights(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	many := make([]uint32, 10_000)
	for i := range many {
		many[i] = 1 + random.Uint32N(1_000_000)
	}
	for name, weights := range map[string][]uint32{
		"one":          {7},
		"equal":        {3, 3, 3, 3, 3},
		"1:2:4":        {1, 2, 4},
		"1:1000":       {1, 1000},
		"1:1000000":    {1, 1_000_000, 1},
		"max":          {1_000_000, 1_000_000, 999_999},
		"ten thousand": many,
	} {
		t.Run(name, func(t *testing.T) { requireShares(t, weights) })
	}
}

// Draws by random numbers with a seed are in proportion to weight: χ² stays below what
// chance exceeds once in a hundred.
func TestDraw_FitsTheWeights(t *testing.T) {
	hundred := make([]uint64, 100)
	for i := range hundred {
		hundred[i] = uint64(i + 1)
	}
	for name, tc := range map[string]struct {
		weights []uint64
		limit   float64
	}{
		"alike":          {slices.Repeat([]uint64{3}, 10), 21.67},
		"1:2:4":          {[]uint64{1, 2, 4}, 9.21},
		"skewed":         {[]uint64{1, 2, 4, 8, 100}, 13.28},
		"1:1000":         {[]uint64{1, 1000}, 6.63},
		"wide":           {[]uint64{10, 30, 100, 300, 1000, 3000, 10_000, 30_000, 100_000, 100_000}, 21.67},
		"of two zones":   {[]uint64{1 << 59, 2 << 59, 4 << 59, 3 << 50, 6 << 52}, 13.28},
		"a hundred":      {hundred, 134.64},
		"ten times over": {slices.Repeat([]uint64{1, 2, 4}, 10), 49.59},
	} {
		t.Run(name, func(t *testing.T) {
			table, random := New(tc.weights), rand.New(rand.NewPCG(3, 4))
			chi2 := chiSquare(tc.weights, func() uint32 { return table.Draw(random.Uint64()) })
			require.Less(t, chi2, tc.limit, "Draw")
			chi2 = chiSquare(tc.weights, func() uint32 { return table.Draw32(random.Uint32()) })
			require.Less(t, chi2, tc.limit, "Draw32")
		})
	}
}

// chiSquare makes a million draws.
func chiSquare(weights []uint64, draw func() uint32) float64 {
	const draws = 1_000_000
	counts, total, chi2 := make([]float64, len(weights)), 0.0, 0.0
	for range draws {
		counts[draw()]++
	}
	for _, w := range weights {
		total += float64(w)
	}
	for i, w := range weights {
		want := draws * float64(w) / total
		chi2 += (counts[i] - want) * (counts[i] - want) / want
	}
	return chi2
}

// Random numbers at even distances leave nothing to chance: where a share of
// them falls is known to one number for each border between two indices.
func TestDraw32_FollowsTheTable(t *testing.T) {
	weights := []uint32{1, 2, 4, 8, 100, 1_000_000, 3}
	table, total := New(weights), 0.0
	for _, w := range weights {
		total += float64(w)
	}
	const draws = 1 << 20
	counts := make([]float64, len(weights))
	for i := range uint32(draws) {
		counts[table.Draw32(i*(1<<32/draws))]++
	}
	for i, w := range weights {
		require.InDelta(t, draws*float64(w)/total, counts[i], float64(2*len(weights)))
	}
}

func TestTable_SharesOfVeryLargeWeights(t *testing.T) {
	got := shares(New([]uint64{1 << 60, 3 << 60, 1 << 40, 2 << 40}))
	require.InDelta(t, 0.25, got[0], 0x1p-20)
	require.InDelta(t, 0.75, got[1], 0x1p-20)
	require.InDelta(t, 0x1p-22, got[2], 0x1p-32)
	require.InDelta(t, 0x1p-21, got[3], 0x1p-32)
}

func TestDraw_EdgesOfTheRandomNumber(t *testing.T) {
	table := New([]uint32{1, 1_000_000})
	for _, random := range []uint64{0, 1, math.MaxUint32, 1 << 32, math.MaxUint64} {
		require.Less(t, table.Draw(random), uint32(2))
	}
}

func FuzzNew(f *testing.F) {
	f.Add([]byte{1, 2, 4})
	f.Fuzz(func(t *testing.T, raw []byte) {
		weights := make([]uint32, 0, len(raw))
		for _, b := range raw {
			weights = append(weights, 1+uint32(b)*uint32(b)*15) // up to about a million, uneven
		}
		if len(weights) > 0 {
			requireShares(t, weights)
		}
	})
}
