package p2c

import "math"

const (
	// mostlyFailing is the share of successes below which a backend fails.
	mostlyFailing = 0.5
	// probePenalty puts an unmeasured backend that is being probed behind all others.
	probePenalty = 1e6
)

// view is what a pick looks at backends with.
type view struct {
	stream    bool // the call will not tell how fast the backend is
	now       tick
	reference float64
	low, high float32 // latencies from low to high are taken for the reference
	busyness  float64 // the mean by load reports, 0 before any
}

// look fills in v for a pick at now.
func (v *view) look(m *memory, now int64) {
	v.busyness = m.busyness.load()
	if now == untimed {
		v.now, v.high = m.ticker.load(), math.MaxFloat32 // no latency matters
		return
	}
	v.now = tickOf(now)
	v.reference = m.reference.load()
	v.low, v.high = float32(v.reference*(1/alike)), float32(v.reference*alike)
}

// choice is a backend that was chosen among others.
type choice struct {
	*node
	cost    float64
	failing bool
}

// costOf is the square of the score, which orders backends alike and saves the
// root: slowness × (1 + in flight ÷ relative weight)² × (1 − failures)^−4.
func (v *view) costOf(n *node) (cost float64, failing bool) {
	load := float64(n.inFlight.count()) * n.perWeight
	if latency := n.latency.value(); latency >= v.low && latency <= v.high && n.failures.value() == 0 && v.busyness == 0 {
		return (1 + load) * (1 + load), false
	}
	return v.fullCostOf(n, load)
}

func (v *view) fullCostOf(n *node, load float64) (cost float64, failing bool) {
	if v.busyness != 0 {
		load /= n.reported(v)
	}
	cost = (1 + load) * (1 + load)
	if latency := n.latency.value(); latency < v.low || latency > v.high {
		cost *= n.slowness(v)
	}
	if n.failures.value() == 0 {
		return cost, false
	}
	failures := n.failuresAt(v.now)
	if failures <= fewFailures {
		return cost, false
	}
	success := max(1-failures, minSuccess)
	return cost / (success * success * success * success), success < mostlyFailing
}
