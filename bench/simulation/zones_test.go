package simulation

import "time"

var (
	balancedZones = []zone{{"a", 10, 1}, {"b", 10, 1}, {"c", 10, 1}}
	zonesOff      = []string{roundRobinZonesOff, weightedZonesOff, p2cZonesOff}
	threeTimes    = []int{21, 210} // numbers of clients that are the same in each zone
)

// forZones makes a promise of each of the policies that know zones.
func forZones(p promise) []promise {
	promises := make([]promise, 3)
	for i, label := range []string{ourRoundRobin, ourWeighted, ourP2C} {
		promises[i] = p
		promises[i].of = label
	}
	return promises
}

// timesZonesOff promises a factor of what the policy has with its preference off.
func timesZonesOff(m metric, factor float64) []promise {
	return []promise{
		{of: ourRoundRobin, metric: m, atMost: factor, times: &row{policy: roundRobinZonesOff}},
		{of: ourWeighted, metric: m, atMost: factor, times: &row{policy: weightedZonesOff}},
		{of: ourP2C, metric: m, atMost: factor, times: &row{policy: p2cZonesOff}},
	}
}

// Where a zone is in trouble, only the calls of the clients in it count, from
// two seconds after the trouble began.
var zoneScenarios = []scenario{
	{
		name: "zones, balanced", load: 0.7, zones: balancedZones, also: zonesOff, watched: inZone("a"), clients: threeTimes,
		promises: append(forZones(promise{metric: remote, atMost: 7}), timesZonesOff(p99, noWorse)...),
	},
	{
		name: "zones, local one small", load: 0.6, also: zonesOff, watched: inZone("a"),
		clients: threeTimes, zones: []zone{{"a", 4, 1}, {"b", 13, 1}, {"c", 13, 1}},
		promises: timesZonesOff(p99, 1.5),
	},
	{
		name: "zones, local one dies", load: 0.5, zones: balancedZones, also: zonesOff, watched: inZone("a"), callers: "a",
		clients:  threeTimes,
		timeline: []change{{at: 3 * time.Second, who: inZone("a"), become: condition{Down: true}}},
		promises: forZones(promise{metric: errs, atMost: 0.5}),
	},
	{
		name: "zones, local one a black hole", load: 0.5, zones: balancedZones, also: zonesOff, watched: inZone("a"), callers: "a",
		clients:  threeTimes,
		timeline: []change{{at: 3 * time.Second, who: inZone("a"), become: blackHole}},
		promises: []promise{{of: ourP2C, metric: errs, atMost: 0.5}},
	},
	{
		name: "zones, local one slow", load: 0.5, zones: balancedZones, also: zonesOff, watched: inZone("a"), callers: "a",
		clients:  threeTimes,
		timeline: []change{{at: 3 * time.Second, who: inZone("a"), become: condition{Slow: 10}}},
	},
}
