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

// behind is how far a clock may be behind another, in ticks. Of two reads in
// different goroutines the later may be stored first, and a [ticker] that has
// stood still may be late by all that.
const behind = 3_600_000

// after reports whether t comes after other.
func (t tick) after(other tick) bool { return t != other && t-other < 1<<32-behind }

// secondsTo returns how long before now t was, 0 if it was not.
func (t tick) secondsTo(now tick) float64 {
	if !now.after(t) {
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
		at, latest := tick(old), now
		if !now.after(at) {
			latest = at
		}
		value := change(float64(math.Float32frombits(uint32(old>>32))), at)
		if e.word.CompareAndSwap(old, uint64(math.Float32bits(float32(value)))<<32|uint64(latest)) {
			return
		}
	}
}

// negligible is a share of failures that counts as none, so that a backend that
// once failed is not reckoned with for ever.
const negligible = 1e-3

// sampleFailure takes in whether a call failed, in a share of failures that fades
// with a time constant in seconds. A success where the share is 0 changes nothing
// and can be spared.
func (e *estimate) sampleFailure(failed bool, now tick, timeConstant, failureGain, successGain float64) {
	e.update(now, func(value float64, at tick) float64 {
		value *= fade(at.secondsTo(now), timeConstant)
		if failed {
			return value + (1-value)*failureGain
		}
		value -= value * successGain
		if value < negligible {
			return 0
		}
		return value
	})
}

func (e *estimate) reset() { e.word.Store(0) }

// fade returns what is left of a deviation after so long without a sample.
func fade(seconds, timeConstant float64) float64 { return math.Exp(-seconds / timeConstant) }
