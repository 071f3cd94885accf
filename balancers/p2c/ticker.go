package p2c

import (
	"context"
	"sync/atomic"
	"time"
)

// A ticker is moved on every quarter of a second, for as long after it was last
// wound up as a failure or a load report takes to be forgotten.
const (
	tickEvery = 250 * time.Millisecond
	tickTimes = int32(6 * failureFade * float64(time.Second/tickEvery))
)

// ticker is the clock of picks that are to read none: a timer sets it by the real
// one, and only while something has to fade. It stands at 0 first, and is safe for
// concurrent use.
type ticker struct {
	clock func() tick
	now   atomic.Uint32 // a tick
	left  atomic.Int32  // how often it still moves
}

// windUp makes the ticker go for a while, but no longer than ctx lasts.
func (t *ticker) windUp(ctx context.Context) {
	if t.left.Swap(tickTimes) == 0 {
		t.now.Store(uint32(t.clock()))
		t.wait(ctx)
	}
}

func (t *ticker) wait(ctx context.Context) {
	time.AfterFunc(tickEvery, func() {
		t.now.Store(uint32(t.clock()))
		if t.left.Add(-1) > 0 && ctx.Err() == nil {
			t.wait(ctx)
		}
	})
}

func (t *ticker) load() tick { return tick(t.now.Load()) }
