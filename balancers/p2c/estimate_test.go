package p2c

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

const wrap = tick(math.MaxUint32) // the last one before 0

func TestTick_LaterOnesAreAfterEarlierOnes(t *testing.T) {
	for _, tc := range []struct {
		name           string
		earlier, later tick
		seconds        float64
	}{
		{"a millisecond", 0, 1, 0.001},
		{"some seconds", 12_000, 15_500, 3.5},
		{"an hour", 1, 3_600_001, 3600},
		{"a moment over the wrap-around", wrap, 0, 0.001},
		{"a second over the wrap-around", wrap - 499, 500, 1},
		{"an hour over the wrap-around", wrap - 599_999, 3_000_000, 3600},
	} {
		t.Run(tc.name, func(t *testing.T) {
			require.True(t, tc.later.after(tc.earlier))
			require.False(t, tc.earlier.after(tc.later))
			require.InDelta(t, tc.seconds, tc.earlier.secondsTo(tc.later), 1e-9)
			require.Zero(t, tc.later.secondsTo(tc.earlier), "a clock that is behind sees no time")
		})
	}
}

func TestTick_IsNotAfterItself(t *testing.T) {
	for _, moment := range []tick{0, 1, 1 << 31, wrap} {
		require.False(t, moment.after(moment))
		require.Zero(t, moment.secondsTo(moment))
	}
}

// Estimates of endpoints that get no calls may be weeks old.
func TestTick_WeeksAgoIsLongAgo(t *testing.T) {
	const day = 86_400_000
	for _, start := range []tick{0, 1 << 31, wrap - 3*day} {
		require.InDelta(t, 86_400, start.secondsTo(start+day), 1e-6)
		require.InDelta(t, 49*86_400, start.secondsTo(start+49*day), 1e-6)
	}
}

func to(value float64) func(float64, tick) float64 {
	return func(float64, tick) float64 { return value }
}

func TestEstimate_KeepsTheLaterMoment(t *testing.T) {
	for _, start := range []tick{1000, wrap - 100} {
		var e estimate
		e.update(start, to(1))
		e.update(start+500, to(2))
		for _, behind := range []tick{0, 1, 499, 500} {
			e.update(start+behind, func(value float64, at tick) float64 {
				require.Equal(t, start+500, at)
				return value + 1
			})
		}
		value, at := e.load()
		require.Equal(t, start+500, at)
		require.Equal(t, 6.0, value, "all of them count")
	}
}

// The shortcut of those that never failed is taken again.
func TestSampleFailure_OneFailureIsOverAfterEnoughSuccesses(t *testing.T) {
	for name, of := range map[string]func(*endpoint) *estimate{
		"endpoint": func(e *endpoint) *estimate { return &e.failures },
		"side":     func(e *endpoint) *estimate { return &e.side.Load().failures },
	} {
		t.Run(name, func(t *testing.T) {
			e := newEndpoint(newMemory(t.Context()))
			e.side.Store(new(side))
			e.answered(true, nil, 1)
			require.Equal(t, float32(0.25), of(e).value())
			e.answered(false, nil, 1)
			require.Positive(t, of(e).value(), "one success does not outweigh it")
			for range 100 {
				e.answered(false, nil, 1)
			}
			require.Zero(t, of(e).value())
		})
	}
}

func TestReference_OneLongCallCountsForFourTimesTheMean(t *testing.T) {
	var r reference
	r.sample(10)
	require.Equal(t, 10.0, r.load())
	r.sample(1e9)
	require.InDelta(t, 10+30*referenceGain, r.load(), 1e-9)
}
