package alias

import (
	"math"
	"math/rand/v2"
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

func TestDraw_FollowsTheTable(t *testing.T) {
	weights := []uint32{1, 2, 4, 8, 100}
	table, random := New(weights), rand.New(rand.NewPCG(3, 4))
	const draws = 1_000_000
	counts := make([]float64, len(weights))
	for range draws {
		counts[table.Draw(random.Uint64())]++
	}
	chi2 := 0.0
	for i, w := range weights {
		want := draws * float64(w) / 115
		chi2 += (counts[i] - want) * (counts[i] - want) / want
	}
	require.Less(t, chi2, 13.28, "χ² of 4 degrees of freedom at p = 0.01")
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
