package simulation

import (
	"math"
	"time"

	"google.golang.org/grpc/orca"
)

const (
	loadPeriod = 100 * time.Millisecond // how old a load report may be
	loadMemory = 3 * time.Second        // time constant of what it tells
	leastLoad  = 0.01                   // stock weighted_round_robin takes no report of 0
)

// loadMeter makes the load reports of a server. They are as good as such
// reports can be: the true share of time that workers worked, and the true
// rates of answers and errors, both over the last few seconds.
type loadMeter struct {
	at                           time.Duration // up to which worked is counted
	period                       time.Duration // when the current one began
	span, worked, answers, fails float64       // seconds and numbers, older ones counting less
	report                       any           // *OrcaLoadReport, never changed
}

// work counts in how many workers worked since the last time.
func (m *loadMeter) work(now time.Duration, busy int) {
	m.worked += (now - m.at).Seconds() * float64(busy)
	m.at = now
}

// answer counts an answer and returns the report that goes with it.
func (m *loadMeter) answer(now time.Duration, busy, workers int, failed bool) any {
	m.work(now, busy)
	m.answers++
	if failed {
		m.fails++
	}
	if past := now - m.period; past >= loadPeriod {
		m.span += past.Seconds()
		m.report = newReport(max(m.worked/m.span/float64(workers), leastLoad), m.answers/m.span, m.fails/m.span)
		keep := math.Exp(-past.Seconds() / loadMemory.Seconds())
		m.span, m.worked, m.answers, m.fails = m.span*keep, m.worked*keep, m.answers*keep, m.fails*keep
		m.period = now
	}
	return m.report
}

func newReport(utilization, rps, eps float64) any {
	r := reportOf(orca.OOBListener.OnLoadReport)
	r.ApplicationUtilization, r.RpsFractional, r.Eps = utilization, rps, eps
	return r
}

// reportOf returns an empty report of the type that listener hears. To name
// the type would be to depend on the xDS protocol's module.
func reportOf[R any](func(orca.OOBListener, *R)) *R { return new(R) }
