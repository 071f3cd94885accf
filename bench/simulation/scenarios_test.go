package simulation

import (
	"slices"
	"time"
)

// blackHole answers every call with an error, and quickly.
var blackHole = condition{Fails: 1, FailsIn: time.Millisecond}

// from0 is a timeline of one change that is so from the first.
func from0(who which, become condition) []change { return []change{{who: who, become: become}} }

// scenarios is the table. README.md says how to add one.
var scenarios = slices.Concat(alikeScenarios, unlikeScenarios, faultScenarios, recoveryScenarios, zoneScenarios)

const (
	alike30 = "all alike, load 0.3"
	alike70 = "all alike, load 0.7"
)

var alikeScenarios = []scenario{
	{name: alike30, load: 0.3},
	{
		name: alike70, load: 0.7, also: []string{weightedSmooth, consistentHash, hashBounded},
		promises: []promise{{of: ourP2C, metric: p99, atMost: 1.03, times: &row{policy: stockLeast}}},
	},
	{
		name: "all alike, load 0.9", load: 0.9, also: []string{weightedSmooth, consistentHash, hashBounded},
		promises: []promise{{of: ourP2C, metric: p99, atMost: 1.03, times: &row{policy: stockLeast}}},
	},
	{
		name: "lognormal service", load: 0.7, service: lognormal,
		promises: []promise{{of: ourP2C, metric: p99, atMost: 1.03, times: &row{policy: stockLeast}}},
	},
	{
		name: "1000 backends", load: 0.7, backends: 1000, clients: []int{20},
		from: 2 * time.Second, to: 4 * time.Second,
		promises: []promise{{of: ourP2C, metric: p99, atMost: 1.03, times: &row{policy: stockLeast}}},
	},
}

var unlikeScenarios = []scenario{
	{
		name: "a third at half speed", load: 0.6, also: []string{p2cReports},
		timeline: from0(everyNth(3), condition{Slow: 2}), watched: everyNth(3),
		promises: beatsStock(p99),
	},
	{
		name: "one 10x slow", load: 0.3, also: []string{p2cReports},
		timeline: from0(only(3), condition{Slow: 10}), watched: only(3),
		promises: append(beatsStock(p99),
			promise{of: ourP2C, metric: p99, atMost: 1.1, times: &row{scenario: alike30}}),
	},
	{
		name: "weights 1:2:4", load: 0.85, weights: []uint32{1, 2, 4}, also: []string{weightedSmooth, consistentHash, p2cReports},
		watched:  func(b backend) bool { return b.index%3 == 2 },
		promises: beatsStock(p99),
	},
}

var faultScenarios = []scenario{
	{
		name: "black hole", load: 0.7, timeline: from0(only(3), blackHole), watched: only(3),
		promises: []promise{{of: ourP2C, metric: errs, atMost: 0.1, clients: 20}},
	},
	{
		name: "half-failing", load: 0.7, watched: only(3),
		timeline: from0(only(3), condition{Fails: 0.5, FailsIn: time.Millisecond}),
		promises: []promise{{of: ourP2C, metric: errs, atMost: 0.1, clients: 20}},
	},
	{
		name: "hanging", load: 0.7, timeline: from0(only(3), condition{Hangs: true}), watched: only(3),
		promises: beatsStock(p99, errs),
	},
	{
		name: "1% errors everywhere", load: 0.7, timeline: from0(everyone, condition{Fails: 0.01}),
		promises: []promise{{of: ourP2C, metric: p99, atMost: noWorse, times: &row{scenario: alike70}}},
	},
	{
		// 12 calls a second from each client: with ten times as many clients none would know anything.
		name: "two backends, one a black hole", load: 0.3, backends: 2, clients: []int{20},
		timeline: from0(only(1), blackHole), watched: only(1),
		promises: []promise{{of: ourP2C, metric: share, atMost: 0.1}}, // 5% of the calls, where half would be fair
	},
}

var recoveryScenarios = []scenario{
	{
		name: "slow backend recovers", load: 0.5, watched: only(3),
		timeline: []change{
			{at: 3 * time.Second, who: only(3), become: condition{Slow: 10}},
			{at: 8 * time.Second, who: only(3), become: condition{}},
		},
		from: 33 * time.Second, to: 38 * time.Second,
		promises: []promise{{of: ourP2C, metric: share, atLeast: 0.8}},
	},
	{
		name: "black hole recovers", load: 0.5, watched: only(3),
		timeline: []change{
			{at: 3 * time.Second, who: only(3), become: blackHole},
			{at: 8 * time.Second, who: only(3), become: condition{}},
		},
		from: 18 * time.Second, to: 23 * time.Second,
		promises: []promise{{of: ourP2C, metric: share, atLeast: 0.8}},
	},
	{
		name: "a cold backend joins", load: 0.7, watched: only(29),
		also: []string{roundRobinSlowStart, weightedSlowStart, p2cSlowStart},
		timeline: []change{
			{who: only(29), become: condition{Absent: true}},
			{at: 5 * time.Second, who: only(29), become: condition{Cold: 5, WarmIn: 20 * time.Second}},
		},
		from: 5 * time.Second, to: 25 * time.Second,
	},
}
