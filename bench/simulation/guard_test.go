package simulation

import (
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// The tests of this file guard what is promised of the policies, in short runs
// and with wide margins. The real proof is TestSimulation with many seeds.

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(name)
	require.NoError(t, err)
	return text
}

func scenarioNamed(t *testing.T, name string) scenario {
	t.Helper()
	i := slices.IndexFunc(scenarios, func(sc scenario) bool { return sc.name == name })
	require.GreaterOrEqual(t, i, 0, "no scenario %q", name)
	return scenarios[i]
}

func policyNamed(t *testing.T, label string) policy {
	t.Helper()
	i := slices.IndexFunc(policies, func(p policy) bool { return p.label == label })
	require.GreaterOrEqual(t, i, 0, "no policy %q", label)
	return policies[i]
}

// short plays a scenario of the table for a few seconds, with 20 clients.
func short(t *testing.T, name, label string) outcome {
	t.Helper()
	sc := scenarioNamed(t, name)
	if sc.to == 0 {
		sc.from, sc.to = seconds(3, 6)
	}
	return play(t, sc, 20, policyNamed(t, label), 1)
}

func TestP2C_AlikeAsGoodAsLeastRequest(t *testing.T) {
	require.Less(t, short(t, "all alike, load 0.9", ourP2C).Values[p99],
		1.15*short(t, "all alike, load 0.9", stockLeast).Values[p99])
}

func TestP2C_AvoidsTheSlow(t *testing.T) {
	slow := short(t, "one 10x slow", ourP2C).Values[p99]
	require.Less(t, slow, 0.5*short(t, "one 10x slow", ourRoundRobin).Values[p99])
	require.Less(t, slow, 1.3*short(t, alike30, ourP2C).Values[p99])
	require.Less(t, short(t, "a third at half speed", ourP2C).Values[p99],
		0.5*short(t, "a third at half speed", ourRoundRobin).Values[p99])
}

func TestP2C_AvoidsTheFailing(t *testing.T) {
	require.InDelta(t, 100.0/30, short(t, "black hole", ourRoundRobin).Values[errs], 0.1)
	for _, tc := range []struct {
		scenario string
		errors   float64
	}{{"black hole", 0.25}, {"half-failing", 0.35}, {"hanging", 0.35}, {"two backends, one a black hole", 10}} {
		require.Less(t, short(t, tc.scenario, ourP2C).Values[errs], tc.errors, tc.scenario)
	}
}

func TestP2C_ReturnsToTheRecovered(t *testing.T) {
	require.Greater(t, short(t, "slow backend recovers", ourP2C).Values[share], 0.6)
	require.Greater(t, short(t, "black hole recovers", ourP2C).Values[share], 0.6)
}

func TestWeights_KeepCapacitiesLevel(t *testing.T) {
	for _, label := range []string{ourWeighted, ourP2C, weightedSmooth} {
		o := short(t, "weights 1:2:4", label)
		require.InDelta(t, 1, o.Values[share], 0.05, label)
		require.Zero(t, o.Values[errs], label)
	}
}

func TestZones_DeadLocalZoneCostsNothing(t *testing.T) {
	for _, label := range []string{ourRoundRobin, ourWeighted, ourP2C} {
		o := short(t, "zones, local one dies", label)
		require.Less(t, o.Values[errs], 0.5, label)
		require.Zero(t, o.Values[share], label)
	}
}
