package roundrobin_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/resolver"

	"github.com/steelyard-go/steelyard/attrs"
	"github.com/steelyard-go/steelyard/balancers/roundrobin"
	"github.com/steelyard-go/steelyard/balancertest"
	"github.com/steelyard-go/steelyard/internal/policytest"
)

// zoned returns n endpoints of unlike weights, in the zones in turn.
func zoned(n int, zones ...string) []resolver.Endpoint {
	list := make([]resolver.Endpoint, n)
	for i := range list {
		list[i] = balancertest.Endpoint(policytest.Addr(i), attrs.Attrs{Weight: uint32(1 + 10*i), Zone: zones[i%len(zones)]})
	}
	return list
}

// inZones returns a channel in zone a with all endpoints connected.
func inZones(t *testing.T, config string, endpoints ...resolver.Endpoint) *balancertest.Channel {
	t.Helper()
	c := policytest.Channel(t, roundrobin.Name, config, endpoints...)
	require.NoError(t, c.UpdateState(attrs.SetLocalZone(resolver.State{Endpoints: endpoints}, "a")))
	return c
}

// requireCounts fails the test unless calls to each backend are in proportion
// to what is wanted, give or take two.
func requireCounts(t *testing.T, c *balancertest.Channel, want ...float64) {
	t.Helper()
	const calls = 5000
	total := 0.0
	for _, w := range want {
		total += w
	}
	counts := c.Count(t.Context(), calls)
	for i, w := range want {
		require.InDeltaf(t, calls*w/total, counts[policytest.Addr(i)], 2, "backend %d of %v: %v", i, want, counts)
	}
}

func TestZones_CallsStayLocalAsFarAsTheBackendsThereGo(t *testing.T) {
	c := inZones(t, "", zoned(4, "a", "b")...)
	requireCounts(t, c, 1, 0, 1, 0)
	c.Idle(policytest.Addr(0))
	requireCounts(t, c, 0, .15, .7, .15)
	c.Idle(policytest.Addr(2))
	requireCounts(t, c, 0, 1, 0, 1)
	c.Ready(policytest.Addr(0))
	requireCounts(t, c, .7, .15, 0, .15)
	c.Idle(policytest.Addr(1))
	c.Idle(policytest.Addr(3))
	requireCounts(t, c, 1, 0, 0, 0)

	c = inZones(t, "", zoned(5, "b", "a", "b", "b", "c")...)
	requireCounts(t, c, .04, .84, .04, .04, .04) // 1.4·3/5 stay
}

func TestZones_FollowTheConfigAndTheResolver(t *testing.T) {
	endpoints := zoned(4, "a", "b")
	c := inZones(t, "", endpoints...)
	requireCounts(t, c, 1, 0, 1, 0)
	require.NoError(t, c.Configure(`{"zonePreference":"off"}`))
	requireCounts(t, c, 1, 1, 1, 1)
	require.NoError(t, c.Configure(`{"zonePreference":"on"}`))
	requireCounts(t, c, 1, 0, 1, 0)
	require.NoError(t, c.UpdateState(attrs.SetLocalZone(resolver.State{Endpoints: endpoints}, "z")))
	requireCounts(t, c, 1, 1, 1, 1)
	require.NoError(t, c.Update(endpoints...))
	requireCounts(t, c, 1, 1, 1, 1)
	require.Equal(t, 4, c.Created())
	require.Zero(t, c.ShutDown())
}

// pass lets d go by, and all that happens within.
func pass(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // only used in a bubble, where time is fake
	synctest.Wait()
}

func TestSlowStart_CallsRampFromATenthToAsManyAsTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := policytest.Channel(t, roundrobin.Name, `{"slowStart":"90s"}`, zoned(4, "")...)
		requireCounts(t, c, 1, 1, 1, 1)
		c.Fail(nil, policytest.Addr(3))
		c.Ready(policytest.Addr(3))
		pass(time.Second)
		for tenths := 1; tenths < 13; tenths++ {
			requireCounts(t, c, 1, 1, 1, min(1, float64(tenths)/10))
			pass(10 * time.Second)
		}
		require.Equal(t, 4, c.Created())
	})
}

func TestSlowStart_WeightsDoNotDecideWhetherThereIsOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := policytest.Channel(t, roundrobin.Name, `{"slowStart":"90s"}`, policytest.Endpoints(1000, 1, 1, 1)...)
		c.Fail(nil, policytest.Addr(0))
		c.Ready(policytest.Addr(0))
		requireCounts(t, c, .1, 1, 1, 1)
		light := []string{policytest.Addr(1), policytest.Addr(2), policytest.Addr(3)}
		pass(2 * time.Minute)
		c.Fail(nil, light...)
		c.Ready(light...)
		requireCounts(t, c, 1, 1, 1, 1)
	})
}

// A local backend that starts slowly is not made up for by its neighbours alone.
func TestSlowStart_CallsAStartingLocalBackendIsSparedGoAbroadToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := inZones(t, `{"slowStart":"90s"}`, zoned(4, "a", "b")...)
		c.Fail(nil, policytest.Addr(0))
		c.Ready(policytest.Addr(0))
		pass(time.Second)
		requireCounts(t, c, .07, .115, .7, .115) // 1.4·11/20 = .77 stay
		pass(time.Minute * 2)
		requireCounts(t, c, 1, 0, 1, 0)
	})
}
