package simulation

import (
	"fmt"
	"math"
)

// promise is a bound on what a policy reaches: the median over the seeds, for
// each number of clients.
type promise struct {
	of      string // label of the policy
	metric  metric
	atMost  float64 // the bound, unless it is 0
	atLeast float64 // the bound otherwise
	clients int     // holds for so many only; 0 for any
	times   *row    // the bound is a factor of what this row has of the same metric
}

// row is a line of a table: what a policy reached in a scenario. Where it is
// silent it is the scenario, or the policy, that the promise is about.
type row struct {
	scenario, policy string
}

// noWorse is a factor that says what it is called, with room for the noise that
// twenty seeds leave.
const noWorse = 1.02

// bestStock stands for the policy of gRPC-Go that has the lowest value.
const bestStock = "the best of stock"

// beatsStock promises that p2c is better than all of gRPC-Go's policies.
func beatsStock(metrics ...metric) []promise {
	promises := make([]promise, len(metrics))
	for i, m := range metrics {
		promises[i] = promise{of: ourP2C, metric: m, atMost: 1, times: &row{policy: bestStock}}
	}
	return promises
}

// verdict is a promise after the run.
type verdict struct {
	Scenario string   `json:"scenario"`
	Clients  int      `json:"clients"`
	Policy   string   `json:"policy"`
	Metric   metric   `json:"metric"`
	Got      *float64 `json:"got"`   // nil if it was not run
	Bound    *float64 `json:"bound"` // nil if what it is taken from was not run
	Least    bool     `json:"least"` // the bound is the least it should be, and not the most
	Of       string   `json:"of"`    // what the bound is taken from, "" for a plain number
	Kept     bool     `json:"kept"`
}

// judge compares a promise of sc with the results.
func (p promise) judge(r *results, sc *scenario, clients int) verdict {
	v := verdict{Scenario: sc.name, Clients: clients, Policy: p.of, Metric: p.metric, Least: p.atMost == 0}
	if got, ok := r.median(key{sc.name, clients, p.of}, p.metric); ok {
		v.Got = &got
	}
	bound, ok := p.atMost+p.atLeast, true
	if p.times != nil {
		base := key{p.times.scenario, clients, p.times.policy}
		if base.scenario == "" {
			base.scenario = sc.name
		}
		if base.policy == "" {
			base.policy = p.of
		}
		var value float64
		value, ok = r.reference(base, p.metric)
		v.Of = fmt.Sprintf("%g × %g, %s", bound, round(value), describe(p, sc))
		bound *= value
	}
	if ok {
		v.Bound = &bound
	}
	if v.Got != nil && v.Bound != nil {
		v.Kept = *v.Got <= bound
		if v.Least {
			v.Kept = *v.Got >= bound
		}
	}
	return v
}

func describe(p promise, sc *scenario) string {
	switch {
	case p.times.scenario == "" || p.times.scenario == sc.name:
		return p.times.policy
	case p.times.policy == "":
		return p.times.scenario
	default:
		return p.times.policy + " in " + p.times.scenario
	}
}

func round(x float64) float64 { return math.Round(x*1000) / 1000 }

// reference is median that knows bestStock.
func (r *results) reference(k key, m metric) (float64, bool) {
	if k.policy != bestStock {
		return r.median(k, m)
	}
	best, found := math.Inf(1), false
	for _, p := range policies {
		k.policy = p.label
		if value, ok := r.median(k, m); ok && p.stock {
			best, found = min(best, value), true
		}
	}
	return best, found
}
