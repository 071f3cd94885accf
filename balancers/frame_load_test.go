package balancers_test

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/balancer"

	"github.com/steelyard-go/steelyard/attrs"
	"github.com/steelyard-go/steelyard/balancers"
	"github.com/steelyard-go/steelyard/balancertest"
	"github.com/steelyard-go/steelyard/internal/policytest"
)

func TestFrame_LoadOutlivesWhateverHappensToTheBackend(t *testing.T) {
	c, r := host(t)
	require.NoError(t, c.Update(plain("a")...))
	c.Ready("a")
	begun, err := c.Pick(t.Context())
	require.NoError(t, err)
	load := r.member("a").Load
	require.EqualValues(t, 1, load.InFlight())

	for _, step := range []struct {
		name  string
		event func() error
	}{
		{"a new weight", func() error { return c.Update(endpoint(attrs.Attrs{Weight: 5}, "a")) }},
		{"another backend", func() error {
			err := c.Update(plain("a", "b")...)
			c.Ready("b")
			return err
		}},
		{"a drain mark", func() error { return c.Update(endpoint(attrs.Attrs{Draining: true}, "a"), plain("b")[0]) }},
		{"a new config", func() error { return c.Configure(`{"choices":5}`) }},
		{"a lost connection", func() error { c.Idle("a"); return nil }},
		{"failed attempts", func() error { c.Fail(nil, "a"); c.Fail(nil, "a"); return nil }},
		{"a new connection", func() error { c.Ready("a"); return nil }},
	} {
		require.NoError(t, step.event(), step.name)
		require.Same(t, load, r.member("a").Load, step.name)
		require.EqualValues(t, 1, load.InFlight(), step.name)
	}
	begun.Done(balancer.DoneInfo{})
	require.Zero(t, load.InFlight(), "a call begun before all that counts out after it")
}

func TestFrame_LoadBelongsToTheEndpointAndNotToTheAddressConnected(t *testing.T) {
	c, r := host(t)
	require.NoError(t, c.Update(endpoint(attrs.Attrs{}, "a1", "a2")))
	c.Ready("a1")
	begun, err := c.Pick(t.Context())
	require.NoError(t, err)
	c.Fail(nil, "a1")
	c.Ready("a2")
	again, err := c.Pick(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 2, r.member("a1").Load.InFlight())
	begun.Done(balancer.DoneInfo{})
	again.Done(balancer.DoneInfo{})
	require.Zero(t, r.member("a1").Load.InFlight())
}

func TestFrame_AnEndpointThatComesBackIntoTheListIsANewOne(t *testing.T) {
	c, r := host(t)
	require.NoError(t, c.Update(plain("a", "b")...))
	c.Ready("a", "b")
	old := r.member("a").Load
	done := old.Begin()
	require.NoError(t, c.Update(plain("b")...))
	require.NoError(t, c.Update(plain("a", "b")...))
	c.Ready("a")
	require.NotSame(t, old, r.member("a").Load)
	done(balancer.DoneInfo{})
	require.Zero(t, old.InFlight())
	require.Zero(t, r.member("a").Load.InFlight(), "the call of the old one counts out there")
}

func TestFrame_TwoChannelsShareNothing(t *testing.T) {
	r := register()
	first := balancertest.NewChannel(t, testPolicy, `{"choices":3}`)
	second := balancertest.NewChannel(t, testPolicy, `{"choices":4}`)
	require.Equal(t, 2, r.channels, "newPolicy makes each channel's memory")

	require.NoError(t, first.Update(plain("a")...))
	first.Ready("a")
	load := r.member("a").Load
	require.NoError(t, second.Update(plain("a", "b")...))
	second.Ready("a")
	require.Equal(t, 4, r.last().cfg.Choices)
	require.NotSame(t, load, r.member("a").Load)

	_, err := second.Pick(t.Context())
	require.NoError(t, err)
	require.Zero(t, load.InFlight())
	second.Fail(nil, "a")
	second.Close()
	require.Equal(t, []string{"a"}, serving(first))
	require.NoError(t, first.Configure(`{"choices":5}`))
	require.Equal(t, 5, r.last().cfg.Choices)
}

func TestLoad_CountsInAndOut(t *testing.T) {
	var load balancers.Load
	first, second := load.Begin(), load.Begin()
	require.EqualValues(t, 2, load.InFlight())
	second(balancer.DoneInfo{})
	require.EqualValues(t, 1, load.InFlight())
	first(balancer.DoneInfo{})
	require.Zero(t, load.InFlight())
}

func TestLoad_ASecondDoneCountsNothing(t *testing.T) {
	var load balancers.Load
	other := load.Begin()
	done := load.Begin()
	for range 3 {
		done(balancer.DoneInfo{})
	}
	require.EqualValues(t, 1, load.InFlight())
	other(balancer.DoneInfo{})
	require.Zero(t, load.InFlight())
}

func TestLoad_LateSecondDonesLeaveNoTrace(t *testing.T) {
	loads := make([]balancers.Load, 4)
	var stale []func(balancer.DoneInfo)
	for i := range 1000 {
		done := loads[i%len(loads)].Begin()
		for _, late := range stale {
			late(balancer.DoneInfo{})
		}
		done(balancer.DoneInfo{})
		if stale = append(stale, done); len(stale) > 8 {
			stale = stale[1:]
		}
	}
	for i := range loads {
		require.Zero(t, loads[i].InFlight())
	}
}

func TestLoad_CountsUnderConcurrency(t *testing.T) {
	var load balancers.Load
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 2000 {
				done := load.Begin()
				if n := load.InFlight(); n < 1 || n > 8 {
					t.Errorf("in flight: got %d, want 1 to 8", n)
				}
				done(balancer.DoneInfo{})
			}
		})
	}
	wg.Wait()
	require.Zero(t, load.InFlight())
}

func TestLoad_BeginAllocatesNothing(t *testing.T) {
	if policytest.RaceEnabled {
		t.Skip("the race detector makes sync.Pool forget on purpose")
	}
	var load balancers.Load
	if n := testing.AllocsPerRun(1000, func() { load.Begin()(balancer.DoneInfo{}) }); n != 0 {
		t.Errorf("a call counted in and out: got %v allocations, want 0", n)
	}
}
