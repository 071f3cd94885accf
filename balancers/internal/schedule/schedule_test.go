package schedule

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// anyWindow is the sum of the reciprocal Fibonacci numbers: by less than that a
// count is off its share over any window at all.
const anyWindow = 3.359886

// indices returns the items 0 to n-1.
func indices(n int) []int {
	items := make([]int, n)
	for i := range items {
		items[i] = i
	}
	return items
}

// seeded returns a schedule of indices that starts at a place drawn by random.
func seeded(random *rand.Rand, weights []uint64) *Schedule[int] {
	return start(indices(len(weights)), weights, random.Uint64N)
}

// offs follows a schedule for so many calls and returns by how many calls the
// luckiest item was ahead of its share, at the most, and the unluckiest behind
// it, and the greatest difference between two such moments of one item.
func offs(s *Schedule[int], weights []uint64, calls int) (ahead, behind, between float64) {
	total := 0.0
	for _, w := range weights {
		total += float64(w)
	}
	counts, most, least := make([]int, len(weights)), make([]float64, len(weights)), make([]float64, len(weights))
	see := func(item, call int) {
		off := float64(counts[item]) - float64(call)*float64(weights[item])/total
		most[item], least[item] = max(most[item], off), min(least[item], off)
	}
	for call := range calls {
		item := s.Next()
		see(item, call) // as far behind as it comes
		counts[item]++
		see(item, call+1) // as far ahead
	}
	for item := range weights {
		see(item, calls)
		between = max(between, most[item]-least[item])
	}
	return slices.Max(most), -slices.Min(least), between
}

// generate returns n weights made by weight.
func generate(n int, weight func(i int) uint64) []uint64 {
	weights := make([]uint64, n)
	for i := range weights {
		weights[i] = weight(i)
	}
	return weights
}

func fibonacci(n int) []uint64 {
	a, b := uint64(1), uint64(2)
	return generate(n, func(int) uint64 {
		a, b = b, a+b
		return b - a
	})
}

// wide returns n weights of 1 to a million whose logarithms are uniform: the
// lists in which heavy items have light neighbours in the tree.
func wide(random *rand.Rand, n int) []uint64 {
	return generate(n, func(int) uint64 { return uint64(math.Exp(random.Float64() * math.Log(1_000_001))) })
}

const slop = 1e-6 // of the arithmetic in offs

func TestSchedule_OffByAtMostTwoFromItsStart(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	for name, weights := range map[string][]uint64{
		"one":               {5},
		"equal":             slices.Repeat([]uint64{9}, 30),
		"1:2:4":             {1, 2, 4},
		"two thirds":        {2, 1},
		"1:1000":            {1, 1000},
		"1:1000000":         {1, 1_000_000},
		"1:1000000:2":       {1, 1_000_000, 2},
		"primes":            {999_983, 500_009, 104_729, 7},
		"awkward":           {333_333, 333_334, 999_999},
		"powers of two":     generate(20, func(i int) uint64 { return 1 << i }),
		"powers of three":   generate(12, func(i int) uint64 { return uint64(math.Pow(3, float64(i))) }),
		"fibonacci":         fibonacci(28),
		"a light one":       {1000, 1001, 1002, 1003, 100},
		"1 to 100":          generate(100, func(i int) uint64 { return uint64(i + 1) }),
		"10000 of 1 to 100": generate(10_000, func(int) uint64 { return 1 + random.Uint64N(100) }),
		"10000 of 1:2:4":    generate(10_000, func(i int) uint64 { return 1 << (i % 3) }),
		"10000 unlike":      generate(10_000, func(int) uint64 { return 1 + random.Uint64N(10_000_000) }),
		"one heavy":         append(slices.Repeat([]uint64{1}, 200), 1000),
		"scaled":            generate(100, func(i int) uint64 { return uint64(i+1) << 49 }),
	} {
		t.Run(name, func(t *testing.T) {
			ahead, behind, _ := offs(seeded(random, weights), weights, 100_000)
			require.LessOrEqual(t, ahead, 2+slop)
			require.LessOrEqual(t, behind, 2+slop)
		})
	}
}

func TestSchedule_OffByAtMostTwoWhateverTheWeights(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	for range 300 {
		weights := wide(random, 1+random.IntN(20))
		ahead, behind, between := offs(seeded(random, weights), weights, 5_000)
		require.LessOrEqualf(t, ahead, 2+slop, "%v", weights)
		require.LessOrEqualf(t, behind, 2+slop, "%v", weights)
		require.Lessf(t, between, anyWindow, "%v", weights)
	}
}

func TestSchedule_StaysExactAfterYearsOfCalls(t *testing.T) {
	weights := []uint64{999_983, 500_009, 104_729, 7, 7, 3}
	s := seeded(rand.New(rand.NewPCG(9, 10)), weights)
	s.turn.Store(1 << 50)
	_, _, between := offs(s, weights, 100_000)
	require.Less(t, between, anyWindow)
}

func TestSchedule_ACycleHoldsEachItemAsOftenAsItsWeight(t *testing.T) {
	for _, weights := range [][]uint64{{1, 2, 4}, {7}, {1, 1000}, {3, 5, 7, 11}, {2, 2, 2, 3, 3, 50}} {
		cycle := uint64(0)
		for _, w := range weights {
			cycle += w
		}
		for _, place := range []uint64{0, 1, cycle / 2, cycle - 1} {
			s := start(indices(len(weights)), weights, func(uint64) uint64 { return place })
			counts := make([]uint64, len(weights))
			for range cycle {
				counts[s.Next()]++
			}
			require.Equal(t, weights, counts)
		}
	}
}

// The longer a gap, or a run of calls to one item, the further its count is off:
// so neither can be longer than the bound allows.
func TestSchedule_NeitherGapsNorClumps(t *testing.T) {
	random := rand.New(rand.NewPCG(11, 12))
	for range 100 {
		weights := wide(random, 2+random.IntN(8))
		total := 0.0
		for _, w := range weights {
			total += float64(w)
		}
		s, last, run, at := seeded(random, weights), -1, 0, make([]int, len(weights))
		for call := 1; call <= 5_000; call++ {
			item := s.Next()
			share := float64(weights[item]) / total
			require.Lessf(t, float64(call-at[item]-1)*share, anyWindow, "%v: gap of %d", weights, item)
			at[item] = call
			if item != last {
				last, run = item, 0
			}
			run++
			require.Lessf(t, float64(run)*(1-share), anyWindow, "%v: run of %d", weights, item)
		}
	}
}

func TestSchedule_HalfOfTheCallsIsEveryOtherCall(t *testing.T) {
	s := seeded(rand.New(rand.NewPCG(13, 14)), []uint64{1, 4, 1, 1, 1})
	last := s.Next()
	for range 1000 {
		item := s.Next()
		require.NotEqual(t, last == 1, item == 1)
		last = item
	}
}

func TestSchedule_OverlappingCallsAreTheFirstOfTheOrder(t *testing.T) {
	const workers, each = 8, 100_001
	weights := []uint64{1, 2, 4, 999, 31, 31}
	at := func(uint64) uint64 { return 17 }
	want, shared := start(indices(6), weights, at), start(indices(6), weights, at)
	var own [workers][6]int
	var wg sync.WaitGroup
	begin := make(chan struct{})
	for w := range workers {
		wg.Go(func() {
			<-begin
			for range each {
				own[w][shared.Next()]++
			}
		})
	}
	close(begin)
	wg.Wait()
	var expected, counts [6]int
	for range workers * each {
		expected[want.Next()]++
	}
	for w := range workers {
		for i, n := range own[w] {
			counts[i] += n
		}
	}
	require.Equal(t, expected, counts)
}

func TestNext_AllocatesNothing(t *testing.T) {
	s := New(nil, indices(5), []uint64{1, 2, 4, 4, 1_000_000})
	require.Zero(t, testing.AllocsPerRun(1000, func() { s.Next() }))
}

func FuzzSchedule(f *testing.F) {
	f.Add([]byte{1, 2, 4}, uint64(0))
	f.Add([]byte{0, 255, 254, 3}, uint64(9))
	f.Add([]byte{16, 48, 80, 112, 144, 176, 208, 240}, uint64(1))
	f.Fuzz(func(t *testing.T, raw []byte, seed uint64) {
		if len(raw) == 0 || len(raw) > 60 {
			return
		}
		// Of 1 to 16·2^15, with the same leading bits now and then.
		weights := generate(len(raw), func(i int) uint64 { return (1 + uint64(raw[i]%16)) << (raw[i] / 16) })
		ahead, behind, between := offs(seeded(rand.New(rand.NewPCG(seed, 1)), weights), weights, 3000)
		require.LessOrEqual(t, ahead, 2+slop)
		require.LessOrEqual(t, behind, 2+slop)
		require.Less(t, between, anyWindow)
	})
}
