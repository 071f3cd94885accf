package p2c

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/steelyard-go/steelyard/balancers"
)

// idleGroup returns a group of endpoints that nothing is known of.
func idleGroup(choices int, weights []uint32) group {
	m, backends, total := newMemory(context.Background()), make([]balancers.Backend, len(weights)), 0.0
	for i, w := range weights {
		backends[i].Attrs.Weight, backends[i].Ramp, backends[i].Load = w, 1, new(balancers.Load)
		total += float64(w)
	}
	m.update(backends)
	return newGroup(backends, choices, total/float64(len(weights)), m)
}

// chiSquare returns how far counts are off proportion to weights.
func chiSquare(counts []int, weights []uint32) float64 {
	draws, total, chi2 := 0.0, 0.0, 0.0
	for i, w := range weights {
		draws += float64(counts[i])
		total += float64(w)
	}
	for i, w := range weights {
		if w > 0 {
			want := draws * float64(w) / total
			chi2 += (float64(counts[i]) - want) * (float64(counts[i]) - want) / want
		}
	}
	return chi2
}

// draws are lists of weights and what χ² exceeds once in a hundred.
var draws = map[string]struct {
	weights []uint32
	limit   float64
}{
	"alike":  {slices.Repeat([]uint32{5}, 10), 21.67},
	"1:2:4":  {[]uint32{1, 2, 4}, 9.21},
	"skewed": {[]uint32{1, 3, 1000, 30, 100, 300, 30, 1000, 500, 7}, 21.67},
	"many":   {slices.Repeat([]uint32{1, 2, 4, 8, 10}, 6), 49.59},
}

// Where all are alike but for their weights, the calls are shared by weight.
func TestGroup_ChoosesIdleOnesByWeight(t *testing.T) {
	for name, tc := range draws {
		for _, choices := range []int{2, 3, 10} {
			g, v, random := idleGroup(choices, tc.weights), new(view), rand.New(rand.NewPCG(41, 42))
			counts := make([]int, len(tc.weights))
			for range 100_000 {
				n := g.choose(v, random.Uint64()).node
				counts[slices.IndexFunc(g.nodes, func(other node) bool { return other.endpoint == n.endpoint })]++
			}
			require.Less(t, chiSquare(counts, tc.weights), tc.limit, "%s, %d choices: %v", name, choices, counts)
		}
	}
}

// What is drawn beside a first one is another, by weight too.
func TestGroup_DrawsTheOthersByWeight(t *testing.T) {
	for _, name := range []string{"alike", "many"} { // whose heaviest does not come up time and again
		tc := draws[name]
		g, v, random := idleGroup(2, tc.weights), new(view), rand.New(rand.NewPCG(43, 44))
		for first := range tc.weights[:10] {
			counts, rest := make([]int, len(tc.weights)), slices.Clone(tc.weights)
			rest[first] = 0
			for range 50_000 {
				counts[g.other(v, []uint32{uint32(first)}, random.Uint64())]++
			}
			require.Zero(t, counts[first])
			require.Less(t, chiSquare(counts, rest), tc.limit, "%s, after %d: %v", name, first, counts)
		}
	}
}
