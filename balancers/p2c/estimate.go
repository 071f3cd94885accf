package p2c

import (
	"math"
	"sync/atomic"
	"time"
)

// tick is a moment to the millisecond, as it is packed beside an estimate. It
// wraps round after 49 days: only differences count.
type tick uint32

func tickOf(nanoseconds int64) tick { return tick(nanoseconds / int64(time.Millisecond)) }

// secondsTo returns how long before now t was. Of two clock reads in different
// goroutines the later may be stored first: that is no time at all.
func (t tick) secondsTo(now tick) float64 {
	if late := int32(now - t); late < 0 && late > -60_000 {
		return 0
	}
	return float64(now-t) / 1000
}

// estimate is a smoothed value and the moment of its last sample, in one word:
// readers always see a pair that belongs together, and nobody waits. The zero
// estimate is 0 at tick 0. It is safe for concurrent use.
type estimate struct {
	word atomic.Uint64
}

func (e *estimate) load() (value float64, at tick) {
	word := e.word.Load()
	return float64(math.Float32frombits(uint32(word >> 32))), tick(word)
}

func (e *estimate) value() float32 { return math.Float32frombits(uint32(e.word.Load() >> 32)) }

// update replaces the value by what change makes of it.
func (e *estimate) update(now tick, change func(value float64, at tick) float64) {
	for {
		old := e.word.Load()
		value := change(float64(math.Float32frombits(uint32(old>>32))), tick(old))
		if e.word.CompareAndSwap(old, uint64(math.Float32bits(float32(value)))<<32|uint64(now)) {
			return
		}
	}
}

func (e *estimate) reset() { e.word.Store(0) }

// fade returns what is left of a deviation after so long without a sample.
func fade(seconds, timeConstant float64) float64 { return math.Exp(-seconds / timeConstant) }
