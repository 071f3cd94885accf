package p2c

import (
	"sync/atomic"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/steelyard-go/steelyard/balancers"
)

// How estimates move. A gain is the share of a new sample in the new value.
const (
	minLatencyGain = 1.0 / 64 // of a sample that comes right after another
	maxLatencyGain = 1.0 / 4  // of one that comes after a pause
	maxLatency     = 16       // times the reference: what a sample counts for at the most
	failureGain    = 1.0 / 4
	successGain    = 1.0 / 10
	fadeSeconds    = 10.0      // time constant with which an estimate without samples relaxes
	fadePerDraw    = 1.0 / 256 // the same for failures where no clock is read
	minSuccess     = 0.02      // successes are taken to be at least this share
	probeSeconds   = 1.0       // how long an unmeasured endpoint is given for its first answer
	alike          = 1.5       // latencies within this factor of the reference are taken for it
	fewFailures    = 1.0 / 8   // a share of failures up to this is taken for none
)

// endpoint is what one channel knows of one endpoint. It outlives the pickers
// and is safe for concurrent use.
type endpoint struct {
	load     *balancers.Load
	latency  estimate      // of successful calls, in nanoseconds; 0 while unmeasured
	failures estimate      // the share of calls that failed, 0 to 1
	probe    atomic.Uint32 // the tick of the last call given to it while unmeasured, 0 before any
	absent   bool          // took no calls at the last build; only builds look at it
}

// forget makes the endpoint unknown again: after an outage another process may
// stand there. Its calls in flight still count.
func (e *endpoint) forget() {
	e.latency.reset()
	e.failures.reset()
}

// slownessAt returns how the endpoint's latency compares with the reference: 1
// for one that is about as fast, or has not been measured, more for a slower
// one. The estimate relaxes towards the reference while no samples come. Small
// differences do not count: they are mostly chance, and at rest, when there is
// no queue to look at, they alone would decide instead of the weights.
func (e *endpoint) slownessAt(now tick, reference float64) (slowness float64, measured bool) {
	value, at := e.latency.load()
	if value == 0 {
		return 1, false
	}
	if value <= reference*alike && value*alike >= reference {
		return 1, true // and relaxing makes it no different
	}
	ratio := 1 + (value/reference-1)*fade(at.secondsTo(now))
	switch {
	case ratio > alike:
		return ratio / alike, true
	case ratio < 1/alike:
		return ratio * alike, true
	default:
		return 1, true
	}
}

func (e *endpoint) measured() bool {
	value, _ := e.latency.load()
	return value != 0
}

// probing reports whether the endpoint was given a call not long ago, which is
// not back yet.
func (e *endpoint) probing(inFlight int64, now tick) bool {
	probe := tick(e.probe.Load())
	return inFlight > 0 && probe != 0 && probe.secondsTo(now) < probeSeconds
}

// probed notes that a call was given to it at now.
func (e *endpoint) probed(now tick) { e.probe.Store(uint32(max(now, 1))) }

// failuresAt returns the share of failures, faded since the last call.
func (e *endpoint) failuresAt(now tick) float64 {
	value, at := e.failures.load()
	if value == 0 {
		return 0
	}
	return value * fade(at.secondsTo(now))
}

// failuresDrawn is failuresAt without a clock: being drawn is what makes time
// go by. Only an endpoint that fails is written to.
func (e *endpoint) failuresDrawn() float64 {
	value, at := e.failures.load()
	if value == 0 {
		return 0
	}
	e.failures.update(at, func(value float64, _ tick) float64 { return value * (1 - fadePerDraw) })
	return value
}

// sampleLatency takes in how long a call took, in nanoseconds. One that failed
// may raise the estimate but not lower it: failing fast is not being fast.
func (e *endpoint) sampleLatency(took float64, failed bool, now tick, reference float64) {
	took = min(took, maxLatency*reference)
	e.latency.update(now, func(value float64, at tick) float64 {
		switch {
		case failed && took <= value:
			return value
		case value == 0:
			return took
		}
		// About 1−e^(−pause/1s), which within these bounds is nearly the pause.
		gain := min(max(at.secondsTo(now), minLatencyGain), maxLatencyGain)
		return value + (took-value)*gain
	})
}

// sampleOutcome takes in whether a call failed.
func (e *endpoint) sampleOutcome(failed bool, now tick) {
	if value, _ := e.failures.load(); !failed && value == 0 {
		return // the common case writes nothing
	}
	e.failures.update(now, func(value float64, at tick) float64 {
		value *= fade(at.secondsTo(now))
		if failed {
			return value + (1-value)*failureGain
		}
		return value - value*successGain
	})
}

// outcome says what a call's error tells of the backend: canceled calls tell
// nothing, and the caller's own errors are answers like any other.
func outcome(err error) (failed, known bool) {
	switch status.Code(err) {
	case codes.Unknown, codes.DeadlineExceeded, codes.ResourceExhausted, codes.Internal, codes.Unavailable, codes.DataLoss:
		return true, true
	case codes.Canceled:
		return false, false
	default:
		return false, true
	}
}
