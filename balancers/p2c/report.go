package p2c

import (
	"math"

	_ "google.golang.org/grpc/orca" // puts the reports of servers into DoneInfo
)

// How many times its weight a report may make of a backend's weight. The least
// of it leaves calls that bring the next report.
const (
	minReported = 0.1
	maxReported = 2
)

// loadReport is what counts of an ORCA load report (gRFC A51).
type loadReport interface {
	GetApplicationUtilization() float64
	GetCpuUtilization() float64
}

// report takes in how busy a server says it is: 1 is as busy as it should be,
// by the application's own measure if it has one, else by its processors. What
// makes no sense is left out.
func (e *endpoint) report(serverLoad any, now tick) {
	r, ok := serverLoad.(loadReport)
	if !ok {
		return
	}
	busy := r.GetApplicationUtilization()
	if busy == 0 {
		busy = r.GetCpuUtilization()
	}
	if !(busy > 0 && busy <= math.MaxFloat32) {
		return
	}
	e.memory.busyness.sample(busy)
	e.busyness.update(now, func(value float64, at tick) float64 {
		if value == 0 {
			return busy
		}
		return value + (busy-value)*gainAfter(at.secondsTo(now))
	})
}

// reported returns how many times its weight the endpoint is to count for by its
// load reports: more than once when it is less busy than the channel's backends
// on the mean, less when it is busier, once when it has not reported. A backend
// that is twice as busy as its weight ought to make it ends up at 1.4 times,
// half of the way: the calls in flight there do the rest.
func (e *endpoint) reported(v *view) float64 {
	value, at := e.busyness.load()
	if value == 0 {
		return 1
	}
	value = v.busyness + (value-v.busyness)*fade(at.secondsTo(v.now), failureFade)
	return min(max(v.busyness/value, minReported), maxReported)
}
