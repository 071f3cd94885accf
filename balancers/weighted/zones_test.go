package weighted_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/resolver"

	"github.com/steelyard-go/steelyard/attrs"
	"github.com/steelyard-go/steelyard/balancers/weighted"
	"github.com/steelyard-go/steelyard/balancertest"
	"github.com/steelyard-go/steelyard/internal/policytest"
)

// zoned returns one endpoint for each weight, in the zones in turn.
func zoned(weights []uint32, zones ...string) []resolver.Endpoint {
	list := make([]resolver.Endpoint, len(weights))
	for i, w := range weights {
		list[i] = balancertest.Endpoint(policytest.Addr(i), attrs.Attrs{Weight: w, Zone: zones[i%len(zones)]})
	}
	return list
}

// inZones returns a channel in zone a with all endpoints connected.
func inZones(t *testing.T, config string, endpoints ...resolver.Endpoint) *balancertest.Channel {
	t.Helper()
	c := policytest.Channel(t, weighted.Name, config, endpoints...)
	require.NoError(t, c.UpdateState(attrs.SetLocalZone(resolver.State{Endpoints: endpoints}, "a")))
	return c
}

func TestZones_CallsStayLocalAsFarAsTheWeightThereGoes(t *testing.T) {
	const down = true
	for name, tc := range map[string]struct {
		zones   []string
		weights []uint32
		down    [8]bool
		want    []uint32 // what the shares are in proportion to
	}{
		"balanced":             {zones: []string{"a", "b"}, weights: []uint32{1, 1, 3, 3}, want: []uint32{1, 0, 3, 0}},
		"half of it down":      {zones: []string{"a", "b"}, weights: []uint32{2, 1, 2, 3}, down: [8]bool{down}, want: []uint32{0, 75, 700, 225}},
		"all of it down":       {zones: []string{"a", "b"}, weights: []uint32{1, 1, 1, 3}, down: [8]bool{down, false, down}, want: []uint32{0, 1, 0, 3}},
		"the others down":      {zones: []string{"a", "b"}, weights: []uint32{1, 1, 100}, down: [8]bool{false, down}, want: []uint32{1, 0, 100}},
		"less than its share":  {zones: []string{"a", "b", "c"}, weights: []uint32{1, 2, 2}, want: []uint32{84, 8, 8}},
		"the rest has no zone": {zones: []string{"a", "b", ""}, weights: []uint32{1, 1, 2}, want: []uint32{70, 10, 20}},
		"a zone of nobody":     {zones: []string{"b", "c"}, weights: []uint32{1, 2, 3}, want: []uint32{1, 2, 3}},
		"one zone and none":    {zones: []string{"a", ""}, weights: []uint32{1, 2, 3}, want: []uint32{1, 2, 3}},
	} {
		for _, config := range []string{"", smooth} {
			t.Run(name+"/config="+config, func(t *testing.T) {
				c := inZones(t, config, zoned(tc.weights, tc.zones...)...)
				for i := range tc.weights {
					if tc.down[i] {
						c.Idle(policytest.Addr(i))
					}
				}
				requireProportion(t, c, tc.want)
			})
		}
	}
}

// requireProportion fails the test unless calls are in proportion to weights;
// who has none gets none.
func requireProportion(t *testing.T, c *balancertest.Channel, weights []uint32) {
	t.Helper()
	var some []resolver.Endpoint
	for i, e := range policytest.Endpoints(weights...) {
		if weights[i] > 0 {
			some = append(some, e)
		}
	}
	policytest.RequireShares(t, some, c.Count(t.Context(), 20_000))
}

func TestZones_TheRotationIsOffByAtMostTwoAcrossZonesToo(t *testing.T) {
	c := inZones(t, smooth, zoned([]uint32{2, 1, 2, 3}, "a", "b")...)
	c.Idle(policytest.Addr(0))
	want := zoned([]uint32{75, 700, 225}, "a") // 0.7 stay, of the rest a quarter and three
	for i := range want {
		want[i].Addresses[0].Addr = policytest.Addr(i + 1)
	}
	require.LessOrEqual(t, worstOff(t, c.Picker(), want, 20_000), 2.0)
}

func TestZones_FollowTheConfigTheResolverAndTheDrainMark(t *testing.T) {
	for _, config := range []string{`{"schedule":"random"`, `{"schedule":"smooth"`} {
		weights := []uint32{1, 2, 1, 2}
		endpoints := zoned(weights, "a", "b")
		c := inZones(t, config+`}`, endpoints...)
		requireProportion(t, c, []uint32{14, 1, 14, 1}) // 1.4·2·2/6 = 14/15 stay
		require.NoError(t, c.Configure(config+`,"zonePreference":"off"}`))
		requireProportion(t, c, weights)
		require.NoError(t, c.Configure(config+`,"zonePreference":"on"}`))
		require.NoError(t, c.UpdateState(attrs.SetLocalZone(resolver.State{Endpoints: endpoints}, "b")))
		requireProportion(t, c, []uint32{0, 1, 0, 1})
		require.NoError(t, c.Update(endpoints...))
		requireProportion(t, c, weights)
		for i := range 2 {
			a := attrs.FromEndpoint(endpoints[2*i+1])
			a.Draining = true
			endpoints[2*i+1] = attrs.Set(endpoints[2*i+1], a)
		}
		require.NoError(t, c.UpdateState(attrs.SetLocalZone(resolver.State{Endpoints: endpoints}, "b")))
		requireProportion(t, c, []uint32{1, 0, 1, 0})
		require.Equal(t, 4, c.Created())
		require.Zero(t, c.ShutDown())
	}
}
