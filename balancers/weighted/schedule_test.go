package weighted

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// worstLag returns by how much any backend's count was off its share, over
// all windows that start with the schedule, through two rotations.
func worstLag(s *schedule, turns []uint64) float64 {
	total := float64(len(s.order))
	counts, worst := make([]float64, len(turns)), 0.0
	for call := 1; call <= 2*len(s.order); call++ {
		counts[s.next()]++
		if len(turns) > 100 && call%97 != 0 {
			continue // a sample of the calls, or this test takes minutes
		}
		for i, n := range turns {
			worst = max(worst, counts[i]-float64(call)*float64(n)/total, float64(call)*float64(n)/total-counts[i])
		}
	}
	return worst
}

func TestSchedule_OffByAtMostTwoOverAnyWindow(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	uneven := make([]uint32, 50)
	for i := range uneven {
		uneven[i] = 1 + random.Uint32N(100)
	}
	long := make([]uint32, 2000)
	for i := range long {
		long[i] = 1 + uint32(i%7)
	}
	for name, weights := range map[string][]uint32{
		"one":        {5},
		"1:2:4":      {1, 2, 4},
		"1:1000":     {1, 1000},
		"1:1000:1":   {1, 1000, 1},
		"equal":      slices.Repeat([]uint32{9}, 30),
		"uneven":     uneven,
		"long list":  long,
		"one heavy":  append(slices.Repeat([]uint32{1}, 200), 1000),
		"two thirds": {2, 1},
	} {
		for _, start := range []uint64{0, 1, 12345} {
			s := newSchedule(weights, start)
			require.Lessf(t, worstLag(s, turnsOf(weights)), 2.0, "%s from %d", name, start)
		}
		s := newSchedule(weights, 0)
		require.Lessf(t, worstLag(s, turnsOf(weights)), 1.0+1e-9, "%s from its start", name)
	}
}

func TestSchedule_NeverClumpsAHeavyBackend(t *testing.T) {
	s := newSchedule([]uint32{1, 1, 1, 1, 4}, 0)
	last, run := uint32(99), 0
	for range 80 {
		if i := s.next(); i == last {
			run++
		} else {
			last, run = i, 1
		}
		require.LessOrEqual(t, run, 2, "half of the calls, never three in a row")
	}
}

func TestSchedule_RotationHoldsExactShares(t *testing.T) {
	for _, weights := range [][]uint32{{1, 2, 4}, {10, 20, 40}, {7}, {1, 1000}, {3, 5, 7, 11}} {
		s := newSchedule(weights, 3)
		counts := make([]uint64, len(weights))
		for range s.order {
			counts[s.next()]++
		}
		require.Equal(t, turnsOf(weights), counts)
	}
	require.Equal(t, []uint64{1, 2, 4}, turnsOf([]uint32{1_000, 2_000, 4_000}), "lowest terms")
}

func TestSchedule_LongRotationsAreRounded(t *testing.T) {
	turns := turnsOf([]uint32{999_983, 500_009, 1})
	require.InDelta(t, 43_691, turns[0], 2)
	require.InDelta(t, 21_845, turns[1], 2)
	require.Equal(t, uint64(1), turns[2], "the smallest weight still has its turn")
}

func TestSchedule_ParallelPickersShareOneRotation(t *testing.T) {
	s := newSchedule([]uint32{1, 2, 4}, 0)
	const workers, rounds = 8, 700
	var (
		mu     sync.Mutex
		counts [3]int
		wg     sync.WaitGroup
	)
	for range workers {
		wg.Go(func() {
			var own [3]int
			for range rounds {
				own[s.next()]++
			}
			mu.Lock()
			defer mu.Unlock()
			for i, n := range own {
				counts[i] += n
			}
		})
	}
	wg.Wait()
	require.Equal(t, [3]int{800, 1600, 3200}, counts)
}

func FuzzSchedule(f *testing.F) {
	f.Add([]byte{1, 2, 4}, uint64(0))
	f.Add([]byte{0, 255}, uint64(9))
	f.Fuzz(func(t *testing.T, raw []byte, start uint64) {
		if len(raw) == 0 || len(raw) > 40 {
			return
		}
		weights := make([]uint32, len(raw))
		for i, b := range raw {
			weights[i] = 1 + uint32(b)
		}
		require.Less(t, worstLag(newSchedule(weights, start), turnsOf(weights)), 2.0)
	})
}
