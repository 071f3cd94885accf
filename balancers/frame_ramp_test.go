package balancers_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/resolver"

	"github.com/steelyard-go/steelyard/attrs"
	"github.com/steelyard-go/steelyard/balancers"
	"github.com/steelyard-go/steelyard/balancertest"
)

const slowly = `{"slowStart":"90s"}` // ten seconds a step

// settled returns a channel with so many backends that have served for a while.
func settled(t *testing.T, config string, addrs ...string) (*balancertest.Channel, *recorder) {
	t.Helper()
	r := register()
	c := balancertest.NewChannel(t, testPolicy, config)
	require.NoError(t, c.Update(plain(addrs...)...))
	c.Ready(addrs...)
	return c, r
}

// ramps returns the tenths that each backend carries by the latest build.
func ramps(r *recorder) map[string]uint32 {
	m := make(map[string]uint32)
	for _, b := range r.last().Backends {
		m[b.Address.Addr] = b.Ramp
	}
	return m
}

func TestSlowStart_FromOneTenthToTheFullWeightInTenStepsWithinTheWindow(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c, r := settled(t, slowly, "a", "b")
		made := c.Created()
		require.NoError(t, c.Update(plain("a", "b", "c")...))
		c.Ready("c")
		var seen []uint32
		for range 12 {
			require.Equal(t, uint32(10), ramps(r)["a"])
			require.Equal(t, r.member("c").Attrs.Weight*ramps(r)["c"], r.member("c").Weight())
			seen = append(seen, ramps(r)["c"])
			pass(10 * time.Second)
		}
		require.Equal(t, []uint32{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10, 10}, seen)
		require.Equal(t, made+1, c.Created())
		before, _ := r.count()
		pass(time.Hour)
		after, _ := r.count()
		require.Equal(t, before, after, "nothing is built once all have started")
	})
}

func TestSlowStart_SparesTheFirstListAndReconnectsAreNotSpared(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := register()
		c := balancertest.NewChannel(t, testPolicy, slowly)
		require.Error(t, c.Update(), "an empty list is not the first one")
		require.NoError(t, c.Update(plain("a", "b", "c", "d")...))
		c.Ready("a", "b", "c")
		pass(time.Minute)
		c.Ready("d")
		require.Equal(t, map[string]uint32{"a": 10, "b": 10, "c": 10, "d": 10}, ramps(r))
		c.Fail(nil, "d")
		c.Ready("d")
		require.Equal(t, uint32(1), ramps(r)["d"])
		c.SubConn("a").SetHealth(connectivity.TransientFailure, nil)
		c.SubConn("a").SetHealth(connectivity.Ready, nil)
		require.Equal(t, map[string]uint32{"a": 1, "b": 10, "c": 10, "d": 1}, ramps(r))
	})
}

func TestSlowStart_NoneWhileMoreThanHalfOfTheWeightWouldRamp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c, r := settled(t, slowly, "a", "b")
		heavy := balancertest.Endpoint("c", attrs.Attrs{Weight: 3})
		require.NoError(t, c.Update(append(plain("a", "b"), heavy)...))
		c.Ready("c")
		require.Equal(t, map[string]uint32{"a": 10, "b": 10, "c": 10}, ramps(r), "3 of 5")
		light := balancertest.Endpoint("c", attrs.Attrs{Weight: 2})
		require.NoError(t, c.Update(append(plain("a", "b"), light)...))
		require.Equal(t, map[string]uint32{"a": 10, "b": 10, "c": 1}, ramps(r), "half and no more")
		c.Fail(nil, "b")
		require.Equal(t, map[string]uint32{"a": 10, "c": 10}, ramps(r), "those that are down carry nothing")
	})
}

func TestSlowStart_StepsAreTakenTogether(t *testing.T) {
	bubble(t, func(t *testing.T) {
		addrs := names(30)
		c, r := settled(t, slowly, addrs[:20]...)
		require.NoError(t, c.Update(plain(addrs...)...))
		for _, addr := range addrs[20:] {
			c.Ready(addr)
			pass(time.Second)
		}
		before, _ := r.count()
		pass(90 * time.Second)
		after, _ := r.count()
		require.LessOrEqual(t, after-before, 10)
		for _, tenths := range ramps(r) {
			require.Equal(t, uint32(10), tenths)
		}
	})
}

func TestSlowStart_FollowsTheConfig(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c, r := settled(t, slowly, "a", "b")
		c.Fail(nil, "b")
		c.Ready("b")
		require.Equal(t, uint32(1), ramps(r)["b"])
		pass(5 * time.Second)
		require.NoError(t, c.Configure(`{"slowStart":"9s"}`))
		pass(time.Second - 1)
		require.Equal(t, uint32(1), ramps(r)["b"])
		pass(1)
		require.Equal(t, uint32(2), ramps(r)["b"])
		pass(500 * time.Millisecond)
		require.NoError(t, c.Configure(`{"slowStart":"9s"}`))
		pass(500 * time.Millisecond)
		require.Equal(t, uint32(3), ramps(r)["b"], "the same window again changes nothing")
		require.NoError(t, c.Configure(slowly))
		pass(10*time.Second - 1)
		require.Equal(t, uint32(3), ramps(r)["b"])
		pass(1)
		require.Equal(t, uint32(4), ramps(r)["b"])
		require.NoError(t, c.Configure(`{}`))
		require.Equal(t, uint32(10), ramps(r)["b"])
		before, _ := r.count()
		pass(time.Minute)
		after, _ := r.count()
		require.Equal(t, before, after)
		require.NoError(t, c.Configure(slowly))
		require.Equal(t, uint32(10), ramps(r)["b"], "who serves already does not start again")
	})
}

func TestSlowStart_CloseEndsIt(t *testing.T) {
	bubble(t, func(t *testing.T) { // which panics if a timer is left that does anything
		c, r := settled(t, slowly, "a", "b")
		c.Fail(nil, "b")
		c.Ready("b")
		c.Close()
		before, _ := r.count()
		pass(time.Hour)
		after, _ := r.count()
		require.Equal(t, before, after)
	})
}

func TestDuration_IsWrittenAsItIsRead(t *testing.T) {
	for text, want := range map[string]balancers.Duration{
		`"30s"`:   balancers.Duration(30 * time.Second),
		`"0.25s"`: balancers.Duration(250 * time.Millisecond),
		`"0s"`:    0,
	} {
		var d balancers.Duration
		require.NoError(t, json.Unmarshal([]byte(text), &d))
		require.Equal(t, want, d)
		written, err := json.Marshal(d)
		require.NoError(t, err)
		require.Equal(t, text, string(written))
	}
}

func TestSnapshot_RebuildBuildsOnceMoreAndKeepsThePause(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c, r := settled(t, "", names(100)...)
		pass(soon)
		s := r.last().Snapshot
		require.NoError(t, s.Context.Err())
		before, _ := r.count()
		for range 5 {
			s.Rebuild()
		}
		pass(2 * soon)
		after, _ := r.count()
		require.Equal(t, 2, after-before, "one at once, one after the pause for all that came in it")

		c.Close()
		require.Error(t, s.Context.Err())
		s.Rebuild()
		pass(soon)
		end, _ := r.count()
		require.Equal(t, after, end)
	})
}

func TestSnapshot_RebuildOfAChannelThatIsDownWaitsForABackend(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c, r := settled(t, "", "a")
		s := r.last().Snapshot
		c.Fail(nil, "a")
		before, _ := r.count()
		s.Rebuild()
		after, _ := r.count()
		require.Equal(t, before, after)
		require.Equal(t, connectivity.TransientFailure, c.State())
	})
}

func TestSnapshot_KnowsTheLocalZone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c, r := settled(t, "", "a")
		require.Empty(t, r.last().LocalZone)
		state := resolverState("a")
		require.NoError(t, c.UpdateState(attrs.SetLocalZone(state, "eu-1a")))
		require.Equal(t, "eu-1a", r.last().LocalZone)
		require.NoError(t, c.UpdateState(state))
		require.Empty(t, r.last().LocalZone)
	})
}

func resolverState(addrs ...string) resolver.State { return resolver.State{Endpoints: plain(addrs...)} }
