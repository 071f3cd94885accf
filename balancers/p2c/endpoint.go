package p2c

import (
	"sync/atomic"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// How estimates move. A gain is the share of a new sample in the new value.
const (
	minLatencyGain = 1.0 / 64 // of a sample that comes right after another
	maxLatencyGain = 1.0 / 4  // of one that comes after a pause
	maxLatency     = 16       // times the reference: what a sample counts for at the most
	failureGain    = 1.0 / 4
	successGain    = 1.0 / 10
	latencyFade    = 8.0     // seconds; time constant with which a latency without samples relaxes
	failureFade    = 10.0    // the same of failures, and of load reports
	longSince      = 1.0 / 8 // seconds; an estimate of less time ago has not faded to speak of
	minSuccess     = 0.02    // successes are taken to be at least this share
	probeSeconds   = 1.0     // how long an unmeasured endpoint is given for its first answer
	alike          = 1.5     // latencies within this factor of the reference are taken for it
	fewFailures    = 1.0 / 8 // a share of failures up to this is taken for none
)

// endpoint is what one channel knows of one endpoint. It outlives the pickers
// and is safe for concurrent use, but for what only builds look at. What a pick
// reads stands first: it fits a cache line.
type endpoint struct {
	latency  estimate             // of successful calls, in nanoseconds; 0 while unmeasured
	failures estimate             // the share of calls that failed, 0 to 1
	busyness estimate             // by its load reports; 0 before any
	probe    atomic.Uint32        // the tick of the last call given to it while unmeasured, 0 before any
	seen     uint32               // builds: the number of the last one that saw it
	side     atomic.Pointer[side] // of the zones that it is on, nil for none
	memory   *memory
	inFlight inFlight
	session  uint64 // builds: the connection that what is known was learned on
}

func newEndpoint(m *memory) *endpoint {
	e := &endpoint{memory: m}
	e.bind(&e.inFlight.first, 0)
	return e
}

// forget makes the endpoint unknown again: after an outage another process may
// stand there. Its calls in flight still count.
func (e *endpoint) forget() {
	e.latency.reset()
	e.failures.reset()
	e.busyness.reset()
}

// slowness returns how the endpoint's latency compares with the reference: 1
// for one that is about as fast, or has not been measured, more for a slower
// one. The estimate relaxes towards the reference while no samples come. Small
// differences do not count: they are mostly chance, and at rest, when there is
// no queue to look at, they alone would decide instead of the weights. One that
// is being measured for the first time is put off.
func (e *endpoint) slowness(v *view) float64 {
	value, at := e.latency.load()
	if value == 0 {
		if !v.stream && e.probing(v.now) {
			return probePenalty
		}
		return 1
	}
	ratio := 1 + (value/v.reference-1)*fade(at.secondsTo(v.now), latencyFade)
	switch {
	case ratio > alike:
		return ratio / alike
	case ratio < 1/alike:
		return ratio * alike
	default:
		return 1
	}
}

func (e *endpoint) measured() bool { return e.latency.value() != 0 }

// probing reports whether the endpoint was given a call not long ago, which is
// not back yet.
func (e *endpoint) probing(now tick) bool {
	probe := tick(e.probe.Load())
	return probe != 0 && probe.secondsTo(now) < probeSeconds && e.inFlight.count() > 0
}

// probed notes that a call was given to it at now.
func (e *endpoint) probed(now tick) { e.probe.Store(uint32(max(now, 1))) }

// failuresAt returns the share of failures, faded since the last call.
func (e *endpoint) failuresAt(now tick) float64 {
	value, at := e.failures.load()
	return value * fade(at.secondsTo(now), failureFade)
}

// sampleLatency takes in how long a call took, in nanoseconds. One without
// success may raise the estimate but not lower it, and a first one puts it at the
// reference at least: failing fast is not being fast.
func (e *endpoint) sampleLatency(took float64, success bool, now tick, reference float64) {
	took = min(took, maxLatency*reference)
	e.latency.update(now, func(value float64, at tick) float64 {
		seconds := at.secondsTo(now)
		switch {
		case value == 0 && success:
			return took
		case value == 0:
			return max(took, reference)
		case seconds > longSince && took*took < value*reference:
			// Nearer to the reference than to what it was: forget that as far as it
			// has faded. A sample that confirms a slow backend brings it back.
			value = reference + (value-reference)*fade(seconds, latencyFade)
		}
		if !success && took <= value {
			return value
		}
		return value + (took-value)*gainAfter(seconds)
	})
}

// gainAfter returns the gain of a sample that comes so many seconds after the
// last: about 1−e^(−seconds), which within the bounds is nearly the seconds.
func gainAfter(seconds float64) float64 {
	return min(max(seconds, minLatencyGain), maxLatencyGain)
}

// What begin is given in place of the time for calls without one.
const (
	untimed = -1 // the clock is not read
	stream  = -2 // its duration is no latency
)

// learn takes in how a call ended that began at start.
func (e *endpoint) learn(info *balancer.DoneInfo, start int64) {
	failed := false
	if info.Err != nil {
		var known bool
		if failed, known = outcome(info.Err); !known {
			return
		}
	}
	if start == untimed {
		if failed || info.ServerLoad != nil {
			e.memory.ticker.windUp(e.memory.ctx)
		}
		if !noCall(info) {
			e.answered(failed, info.ServerLoad, e.memory.ticker.load())
		}
		return
	}
	end := e.memory.clock()
	took, now := end-start, tickOf(end)
	if noCall(info) && (start == stream || took < instant) {
		return
	}
	e.answered(failed, info.ServerLoad, now)
	success := info.Err == nil
	if start == stream || !success && !failed && e.measured() {
		return // an answer in its way, but one that may have cost less than the others
	}
	if success {
		e.memory.reference.sample(float64(took))
	}
	if reference := e.memory.reference.load(); reference != 0 { // else nothing has succeeded yet
		e.sampleLatency(float64(took), success, now, reference)
	}
}

// answered takes in whether a call failed, and what load came with the answer.
func (e *endpoint) answered(failed bool, serverLoad any, now tick) {
	if side := e.side.Load(); side != nil {
		side.sample(e, failed, now)
	}
	if failed || e.failures.value() != 0 {
		e.failures.sampleFailure(failed, now, failureFade, failureGain, successGain)
	}
	if serverLoad != nil {
		e.report(serverLoad, now)
	}
}

// noCall reports whether nothing went over the wire, without an error: so gRPC
// ends a pick whose connection had just been lost.
func noCall(info *balancer.DoneInfo) bool {
	return info.Err == nil && !info.BytesSent && !info.BytesReceived
}

// instant is how soon it does so, in nanoseconds. What takes longer is a unit
// test that ends its calls with an empty DoneInfo, and means success.
const instant = 20_000

// outcome says what a call's error tells of the backend: canceled calls tell
// nothing, and the caller's own errors are answers like any other.
func outcome(err error) (failed, known bool) {
	if err == nil {
		return false, true
	}
	switch status.Code(err) {
	case codes.Unknown, codes.DeadlineExceeded, codes.ResourceExhausted, codes.Internal, codes.Unavailable, codes.DataLoss:
		return true, true
	case codes.Canceled:
		return false, false
	default:
		return false, true
	}
}
