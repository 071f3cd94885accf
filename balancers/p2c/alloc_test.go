package p2c_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/resolver"

	"github.com/steelyard-go/steelyard/attrs"
	"github.com/steelyard-go/steelyard/balancers/p2c"
	"github.com/steelyard-go/steelyard/balancertest"
	"github.com/steelyard-go/steelyard/internal/policytest"
)

var (
	answered = balancer.DoneInfo{BytesSent: true, BytesReceived: true}
	failed   = balancer.DoneInfo{BytesSent: true, Err: errDown}
	reported = balancer.DoneInfo{BytesSent: true, BytesReceived: true, ServerLoad: utilization{application: 0.5}}
)

// rampingInZones returns a channel in zone a with twelve backends, a third of
// them there. With a slow start, the first has just begun to ramp.
func rampingInZones(t *testing.T, config string) *balancertest.Channel {
	t.Helper()
	list := policytest.Endpoints(1, 2, 4, 1, 2, 4, 1, 2, 4, 1, 2, 4)
	for i, e := range list {
		a := attrs.FromEndpoint(e)
		a.Zone = string(rune('a' + i%3))
		list[i] = attrs.Set(e, a)
	}
	c := policytest.Channel(t, p2c.Name, config, list...)
	c.Fail(nil, policytest.Addr(0))
	c.Ready(policytest.Addr(0))
	require.NoError(t, c.UpdateState(attrs.SetLocalZone(resolver.State{Endpoints: list}, "a")))
	return c
}

// hold begins calls that do not end until each of n backends has more than so
// many.
func hold(t *testing.T, picker balancer.Picker, n, each int) {
	t.Helper()
	counts, full := make(map[string]int), 0
	for range 100 * n * each {
		addr := policytest.Begin(t, picker, t.Context()).Addr
		if counts[addr]++; counts[addr] == each+1 {
			full++
		}
		if full == n {
			return
		}
	}
	require.Failf(t, "some hold few calls", "%v", counts)
}

func TestPicker_AllocatesNothing(t *testing.T) {
	for _, config := range allocConfigs() {
		t.Run(config, func(t *testing.T) {
			for name, done := range map[string]balancer.DoneInfo{"answered": answered, "failed": failed, "reported": reported} {
				for _, method := range []string{grpc_health_v1.Health_Check_FullMethodName, grpc_health_v1.Health_Watch_FullMethodName} {
					t.Run(name+method, func(t *testing.T) {
						picker := rampingInZones(t, config).Picker()
						requireNoAllocs(t, picker, method, done)
					})
				}
			}
		})
	}
}

// Beyond 64 calls in flight a backend's calls have pooled records.
func TestPicker_AllocatesNothingWithManyInFlight(t *testing.T) {
	for _, config := range allocConfigs() {
		t.Run(config, func(t *testing.T) {
			picker := rampingInZones(t, config).Picker()
			hold(t, picker, 12, 64)
			for _, done := range []balancer.DoneInfo{answered, failed, reported} {
				requireNoAllocs(t, picker, grpc_health_v1.Health_Check_FullMethodName, done)
			}
		})
	}
}

// allocConfigs returns all configs that a pick can take another way for.
func allocConfigs() []string {
	var configs []string
	for _, load := range []string{p2c.Latency, p2c.Requests} {
		for _, choices := range []int{2, 5} {
			for _, zones := range []string{p2c.On, p2c.Off} {
				for _, slowStart := range []string{"0s", "1h"} {
					configs = append(configs, fmt.Sprintf(`{"load":%q,"choices":%d,"zonePreference":%q,"slowStart":%q}`,
						load, choices, zones, slowStart))
				}
			}
		}
	}
	return configs
}

// requireNoAllocs makes calls one after the other and counts those of twenty
// together, so that what one call in twenty allocates shows.
func requireNoAllocs(t *testing.T, picker balancer.Picker, method string, done balancer.DoneInfo) {
	t.Helper()
	policytest.RequireAllocs(t, 0, func() {
		for range 20 {
			picked, err := picker.Pick(balancer.PickInfo{FullMethodName: method, Ctx: t.Context()})
			if err != nil {
				t.Fatal(err)
			}
			picked.Done(done)
		}
	})
}

// The other tests here would show little if nothing ramped.
func TestAllocs_ABackendRampsMeanwhile(t *testing.T) {
	c := rampingInZones(t, `{"load":"requests","zonePreference":"off","slowStart":"1h"}`)
	counts := c.Count(t.Context(), 3000)
	require.Less(t, 3*counts[policytest.Addr(0)], counts[policytest.Addr(3)], "of the same weight")
}
