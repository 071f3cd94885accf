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

func TestTicker_GoesWhileAFailureFadesAndNoLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var clock ticker
		pass(time.Minute)
		require.Zero(t, clock.load(), "nothing has failed")
		for range 2 {
			start := clock.load()
			clock.windUp(t.Context())
			pass(30 * time.Second)
			require.InDelta(t, 30, start.secondsTo(clock.load()), 0.3)
			pass(time.Hour)
			require.InDelta(t, 6*failureFade, start.secondsTo(clock.load()), 0.3)
		}
	})
}

func TestTicker_ManyFailuresDoNotHurryIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var clock ticker
		for range 100 {
			for range 8 {
				go clock.windUp(t.Context())
			}
			pass(100 * time.Millisecond)
		}
		require.InDelta(t, 10, tick(0).secondsTo(clock.load()), 0.3)
	})
}

// A call may end, and fail, long after its channel.
func TestTicker_StopsWithTheChannel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, closeChannel := context.WithCancel(t.Context())
		var clock ticker
		clock.windUp(ctx)
		pass(10 * time.Second)
		closeChannel()
		for range 3 {
			pass(time.Hour)
			require.InDelta(t, 10, tick(0).secondsTo(clock.load()), 0.5)
			clock.windUp(ctx)
		}
	})
}
