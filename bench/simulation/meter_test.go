package simulation

import "time"

// metric is something that is measured of a run. The name is its key in the
// JSON.
type metric string

const (
	p50    metric = "p50Ms"        // median latency, of calls that succeeded or ran out of time
	p99    metric = "p99Ms"        // what 99% of them stay within
	p999   metric = "p999Ms"       // what 99.9% of them stay within
	errs   metric = "errorPercent" // of all calls
	share  metric = "share"        // calls to the watched backends ÷ their fair share of all calls
	remote metric = "crossPercent" // calls that leave their client's zone, of all calls
)

// columns are the metrics in the order of the table, with its headings.
var columns = []struct {
	metric metric
	head   string
	digits int
}{
	{p50, "p50 ms", 1},
	{p99, "p99 ms", 1},
	{p999, "p99.9 ms", 0},
	{errs, "errors %", 3},
	{share, "share", 2},
	{remote, "cross %", 1},
}

// outcome is what was measured in a run.
type outcome struct {
	Calls  int                `json:"calls"`  // that began in the measured time
	Values map[metric]float64 `json:"values"` // share and crossPercent only where there is something to watch or cross
	Series series             `json:"series"`
	Total  int                `json:"total"` // calls in the whole of the run
}

// series counts the calls that began in each second of the whole run.
type series struct {
	Calls   []int `json:"calls"`
	Errors  []int `json:"errors"`
	Watched []int `json:"watched"`
}

// meter measures a run.
type meter struct {
	from, to                       time.Duration
	calls, errors, watched, remote int
	latencies                      histogram
	series                         series
	total                          int
}

func newMeter(from, to time.Duration) *meter {
	seconds := int((to + time.Second - 1) / time.Second)
	return &meter{from: from, to: to, series: series{
		Calls: make([]int, seconds), Errors: make([]int, seconds), Watched: make([]int, seconds),
	}}
}

// sent counts where a call has gone.
func (m *meter) sent(c *call, watched bool) {
	if watched {
		m.series.Watched[c.start/time.Second]++
	}
	if c.start < m.from {
		return
	}
	if watched {
		m.watched++
	}
	if c.server.zone != c.client.zone {
		m.remote++
	}
}

// ended counts how a call ended. Calls that failed before their deadline have
// no latency: failing fast is not being fast.
func (m *meter) ended(c *call, now time.Duration, err error) {
	second := c.start / time.Second
	m.series.Calls[second]++
	if err != nil {
		m.series.Errors[second]++
	}
	if c.start < m.from {
		return
	}
	m.calls++
	if err != nil {
		m.errors++
	}
	if err == nil || err == errDeadline { //nolint:errorlint // our own
		m.latencies.add(now - c.start)
	}
}

// outcome sums up. The fair share is a part of all calls, 0 if nothing is watched.
func (m *meter) outcome(fairShare float64, zones bool) outcome {
	of := func(n int) float64 { return float64(n) / float64(max(m.calls, 1)) }
	o := outcome{Calls: m.calls, Series: m.series, Total: m.total, Values: map[metric]float64{
		p50:  milliseconds(m.latencies.quantile(0.5)),
		p99:  milliseconds(m.latencies.quantile(0.99)),
		p999: milliseconds(m.latencies.quantile(0.999)),
		errs: 100 * of(m.errors),
	}}
	if fairShare > 0 {
		o.Values[share] = of(m.watched) / fairShare
	}
	if zones {
		o.Values[remote] = 100 * of(m.remote)
	}
	return o
}

func milliseconds(d time.Duration) float64 { return d.Seconds() * 1000 }

// histogram of latencies, exact: they are whole steps up to the deadline.
type histogram struct {
	counts [deadline/step + 1]int
	total  int
}

func (h *histogram) add(d time.Duration) {
	h.counts[d/step]++
	h.total++
}

// quantile returns the smallest latency that the part q stays within, 0 if
// there are none.
func (h *histogram) quantile(q float64) time.Duration {
	rank, seen := q*float64(h.total), 0
	for i, n := range h.counts {
		if seen += n; float64(seen) >= rank && seen > 0 {
			return time.Duration(i) * step
		}
	}
	return 0
}
