package schedule

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// Over all places a schedule can start at, each of its calls goes to each item
// as often as its weight: that is what makes restarts fair.
func TestStart_EveryCallIsInProportionOverAllPlaces(t *testing.T) {
	for _, weights := range [][]uint64{{1, 2, 4}, {5, 5, 5}, {1, 10}, {2, 3, 3, 3, 7}} {
		total := uint64(0)
		for _, w := range weights {
			total += w
		}
		const calls = 4
		var counts [calls][]uint64
		for call := range calls {
			counts[call] = make([]uint64, len(weights))
		}
		for place := range total {
			s := start(indices(len(weights)), weights, func(n uint64) uint64 {
				require.Equal(t, total, n)
				return place
			})
			require.Equal(t, place, s.turn.Load())
			for call := range calls {
				counts[call][s.Next()]++
			}
		}
		for call := range calls {
			require.Equal(t, weights, counts[call])
		}
	}
}

// refused returns a list and a place in its order from which some count comes
// to be off by more than two.
func refused(t *testing.T, random *rand.Rand) (weights []uint64, place uint64) {
	for range 1000 {
		weights = wide(random, 10)
		s := seeded(random, weights)
		for range 20 {
			place = random.Uint64N(1_000_000)
			s.turn.Store(place)
			if ahead, behind, _ := offs(s, weights, 3000); max(ahead, behind) > 2+slop {
				return weights, place
			}
		}
	}
	require.Fail(t, "no bad place found")
	return nil, 0
}

func TestStart_TakesNoPlaceThatIsTooLuckyForSomebody(t *testing.T) {
	random := rand.New(rand.NewPCG(21, 22))
	weights, bad := refused(t, random)
	draws := 0
	s := start(indices(len(weights)), weights, func(uint64) uint64 {
		draws++
		return bad
	})
	require.Equal(t, starts, draws)
	require.Zero(t, s.turn.Load())
}

func TestStart_TheBeginningIsGoodForAllLists(t *testing.T) {
	random := rand.New(rand.NewPCG(25, 26))
	beginning := func(uint64) uint64 { return 0 }
	for range 300 {
		weights := wide(random, 1+random.IntN(30))
		s := start(indices(len(weights)), weights, beginning)
		require.Truef(t, s.bounded(s.root, 0, 0, 0), "%v", weights)
		ahead, behind, _ := offs(s, weights, 5000)
		require.LessOrEqualf(t, max(ahead, behind), anyWindow/2+slop, "%v", weights)
	}
}

func TestStart_RefusesFewPlaces(t *testing.T) {
	random := rand.New(rand.NewPCG(23, 24))
	draws, lists := 0, 500
	for range lists {
		weights := wide(random, 1+random.IntN(30))
		start(indices(len(weights)), weights, func(n uint64) uint64 {
			draws++
			return random.Uint64N(n)
		})
	}
	require.Less(t, draws, lists*5/4)
}

func TestNew_GoesOnWithTheSameListAndStartsAnewWithAnother(t *testing.T) {
	items, weights := []string{"a", "b", "c"}, []uint64{1, 2, 4}
	s := New(nil, items, weights)
	require.Same(t, s, New(s, slices.Clone(items), slices.Clone(weights)))
	require.NotSame(t, s, New(s, items, []uint64{1, 2, 5}))
	require.NotSame(t, s, New(s, []string{"a", "b", "d"}, weights))
	require.NotSame(t, s, New(s, items[:2], weights[:2]))
}

func TestNew_StartsAtRandom(t *testing.T) {
	first := make(map[int]bool)
	for range 40 {
		first[New(nil, indices(50), slices.Repeat([]uint64{3}, 50)).Next()] = true
	}
	// Ten or fewer of 50 in 40 draws: less than one chance in 10¹⁷.
	require.Greater(t, len(first), 10)
}

func BenchmarkNew(b *testing.B) {
	random := rand.New(rand.NewPCG(1, 2))
	for name, weights := range map[string][]uint64{
		"equal":  slices.Repeat([]uint64{10}, 10_000),
		"1:2:4":  generate(10_000, func(i int) uint64 { return 10 << (i % 3) }),
		"1to100": generate(10_000, func(int) uint64 { return 1 + random.Uint64N(100) }),
		"unlike": generate(10_000, func(int) uint64 { return 1 + random.Uint64N(1_000_000) }),
	} {
		items := indices(len(weights))
		b.Run("weights="+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				New(nil, items, weights)
			}
		})
	}
}

func BenchmarkNext(b *testing.B) {
	for _, different := range []int{1, 3, 10, 100, 10_000} {
		weights := generate(10_000, func(i int) uint64 { return 1 + uint64(i%different) })
		s := New(nil, indices(len(weights)), weights)
		b.Run(fmt.Sprintf("different=%d", different), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s.Next()
			}
		})
	}
}
