package simulation

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestScenarios_AreSound(t *testing.T) {
	names := make(map[string]bool)
	labels := []string{bestStock}
	for _, p := range policies {
		require.NotContains(t, labels, p.label)
		labels = append(labels, p.label)
	}
	for _, sc := range scenarios {
		sc = sc.filledIn()
		require.False(t, names[sc.name], "%s: two have the name", sc.name)
		names[sc.name] = true
		require.Positive(t, sc.load, sc.name)
		require.Less(t, sc.from, sc.to, sc.name)
		require.True(t, slices.IsSortedFunc(sc.timeline, func(a, b change) int { return int(a.at - b.at) }), sc.name)
		for _, ch := range sc.timeline {
			require.LessOrEqual(t, ch.at, sc.from, "%s: what happens while it is measured blurs it", sc.name)
			require.NotEmpty(t, sc.members(ch.who), sc.name)
		}
		if sc.zones != nil {
			backends := 0
			for _, z := range sc.zones {
				backends += z.Backends
			}
			require.Equal(t, sc.backends, backends, "%s: backends of the zones", sc.name)
		}
		require.Subset(t, labels, sc.also, sc.name)
	}
	for _, sc := range scenarios {
		for _, p := range sc.promises {
			require.Contains(t, labels, p.of, sc.name)
			require.True(t, (p.atMost > 0) != (p.atLeast > 0), "%s: a promise has one bound", sc.name)
			require.True(t, p.metric != share || sc.watched != nil, "%s: nothing is watched", sc.name)
			if p.times != nil && p.times.policy != "" {
				require.Contains(t, labels, p.times.policy, sc.name)
			}
			if p.times != nil && p.times.scenario != "" {
				require.True(t, names[p.times.scenario], "%s: %q", sc.name, p.times.scenario)
			}
		}
	}
}

func result(scenario, policy string, p99s ...float64) []record {
	var records []record
	for i, value := range p99s {
		records = append(records, record{
			Scenario: scenario, Clients: 20, Policy: policy, Seed: uint64(i),
			outcome: outcome{Calls: 1, Values: map[metric]float64{p99: value}},
		})
	}
	return records
}

func TestResults_TableIsAligned(t *testing.T) {
	r := new(results)
	r.add(result("s", "a", 60, 61.2, 100)...)
	r.add(result("s", "longer", 1000, 1000, 1000)...)
	var out bytes.Buffer
	r.writeTable(&out, &scenario{name: "s"}, 20, []policy{{label: "a"}, {label: "longer"}})
	require.Equal(t, ""+
		"policy  p50 ms       p99 ms  p99.9 ms  errors %  share  cross %\n"+
		"a            –   61.2 ±10.0         –         –      –        –\n"+
		"longer       –  1000.0 ±0.0         –         –      –        –\n", out.String())
}

func TestPromise_IsJudgedByMedians(t *testing.T) {
	r := new(results)
	r.add(result("s", ourP2C, 49, 50, 500)...)
	r.add(result("s", stockLeast, 1, 51, 52)...)
	r.add(result("s", "stock_round_robin", 52)...)
	r.add(result("s", ourRoundRobin, 1)...)
	r.add(result("other", ourP2C, 40)...)
	for name, tc := range map[string]struct {
		promise promise
		kept    bool
		bound   float64
	}{
		"at most":          {promise{of: ourP2C, metric: p99, atMost: 50}, true, 50},
		"at most, not":     {promise{of: ourP2C, metric: p99, atMost: 49.9}, false, 49.9},
		"at least":         {promise{of: ourP2C, metric: p99, atLeast: 50}, true, 50},
		"at least, not":    {promise{of: ourP2C, metric: p99, atLeast: 50.1}, false, 50.1},
		"another policy":   {promise{of: ourP2C, metric: p99, atMost: 0.5, times: &row{policy: stockLeast}}, false, 25.5},
		"the best":         {promise{of: ourP2C, metric: p99, atMost: 1, times: &row{policy: bestStock}}, true, 51},
		"another scenario": {promise{of: ourP2C, metric: p99, atMost: 1.1, times: &row{scenario: "other"}}, false, 44},
	} {
		t.Run(name, func(t *testing.T) {
			v := tc.promise.judge(r, &scenario{name: "s"}, 20)
			require.InDelta(t, 50, *v.Got, 1e-9)
			require.InDelta(t, tc.bound, *v.Bound, 1e-9)
			require.Equal(t, tc.kept, v.Kept)
		})
	}
}

func TestPromise_WhatWasNotRunIsNotKept(t *testing.T) {
	p := promise{of: ourP2C, metric: p99, atMost: 1.1, times: &row{scenario: "other"}}
	r := new(results)
	r.add(result("s", ourP2C, 1)...)
	v := p.judge(r, &scenario{name: "s"}, 20)
	require.False(t, v.Kept)
	var out bytes.Buffer
	writeVerdicts(&out, []verdict{v})
	require.Contains(t, out.String(), "not run")
}

func TestBatch_RunsPrintsAndWritesWhatWasAskedFor(t *testing.T) {
	sc := scenario{name: "tiny", load: 0.2, backends: 3, clients: []int{2, 3}, also: []string{p2cZonesOff}, promises: []promise{
		{of: ourP2C, metric: errs, atMost: 1},
	}}
	sc.from, sc.to = seconds(0.1, 0.5)
	b := &batch{
		scenarios: []scenario{sc.filledIn()}, policies: regexp.MustCompile("^p2c"), clients: []int{3}, seeds: 3, firstSeed: 7,
	}
	var out bytes.Buffer
	r, verdicts := b.run(t, &out)
	require.Contains(t, out.String(), "[1/1] tiny, 3 clients")
	require.Len(t, r.records, 3*3, "p2c, p2c_requests and the variant")
	require.Equal(t, uint64(9), r.records[2].Seed)
	require.Len(t, verdicts, 1)
	require.True(t, verdicts[0].Kept)

	file := t.TempDir() + "/out.json"
	require.NoError(t, b.document(r, verdicts).write(file))
	var read document
	text := readFile(t, file)
	require.NoError(t, json.Unmarshal(text, &read))
	require.Equal(t, r.records, read.Records)
	require.Equal(t, documentSchema, read.Schema)
	require.Equal(t, "tiny", read.Scenarios[0].Name)
	require.Len(t, read.Policies, 3)
}
