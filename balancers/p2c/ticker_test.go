package p2c

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// pass lets d go by, and all that happens within.
func pass(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // the bubble's clock
	synctest.Wait()
}

// newClock returns a clock that starts at 1.
func newClock() func() tick {
	start := time.Now()
	return func() tick { return 1 + tickOf(int64(time.Since(start))) }
}

func TestTicker_GoesWhileAFailureFadesAndNoLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := newClock()
		ticker := ticker{clock: clock}
		pass(time.Minute)
		require.Zero(t, ticker.load(), "nothing has failed")
		for range 2 {
			start := clock()
			ticker.windUp(t.Context())
			require.Equal(t, start, ticker.load(), "it may have stood still for long")
			pass(30 * time.Second)
			require.InDelta(t, 30, start.secondsTo(ticker.load()), 0.3)
			pass(time.Hour)
			require.InDelta(t, 6*failureFade, start.secondsTo(ticker.load()), 0.3)
		}
	})
}

func TestTicker_ManyFailuresDoNotHurryIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock, moves := newClock(), 0
		ticker := ticker{clock: func() tick { moves++; return clock() }}
		for range 100 {
			ticker.windUp(t.Context())
			pass(100 * time.Millisecond)
		}
		require.InDelta(t, 40, moves, 2)
	})
}

// A call may end, and fail, long after its channel.
func TestTicker_StopsWithTheChannel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, closeChannel := context.WithCancel(t.Context())
		ticker := ticker{clock: newClock()}
		ticker.windUp(ctx)
		pass(10 * time.Second)
		closeChannel()
		for range 3 {
			pass(time.Hour)
			require.InDelta(t, 10, tick(0).secondsTo(ticker.load()), 0.5)
			ticker.windUp(ctx)
		}
	})
}
