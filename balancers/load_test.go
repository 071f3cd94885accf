package balancers_test

import (
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/balancer"

	"github.com/steelyard-go/steelyard/balancers"
	"github.com/steelyard-go/steelyard/internal/policytest"
)

func TestLoad_BeginWithinKeepsTheBound(t *testing.T) {
	var load, total balancers.Load
	var dones []func(balancer.DoneInfo)
	for range 3 {
		total.Enter()
		done, ok := load.BeginWithin(3, &total)
		require.True(t, ok)
		dones = append(dones, done)
	}
	done, ok := load.BeginWithin(3, &total)
	require.False(t, ok)
	require.Nil(t, done)
	require.Equal(t, [2]int64{3, 3}, [2]int64{load.InFlight(), total.InFlight()}, "a refusal counts nothing")

	dones[1](balancer.DoneInfo{})
	require.Equal(t, [2]int64{2, 2}, [2]int64{load.InFlight(), total.InFlight()})
	require.Equal(t, int64(3), total.Enter())
	_, ok = load.BeginWithin(3, &total)
	require.True(t, ok)
	_, ok = load.BeginWithin(2, &total)
	require.False(t, ok, "nor does a bound below what is held")
}

func TestLoad_BeginAndBeginWithinCountTogether(t *testing.T) {
	var load, total balancers.Load
	plain := load.Begin()
	_, ok := load.BeginWithin(1, &total)
	require.False(t, ok)
	require.Zero(t, total.InFlight(), "only what began with a total is in it")
	plain(balancer.DoneInfo{})
	total.Enter()
	done, ok := load.BeginWithin(1, &total)
	require.True(t, ok)
	done(balancer.DoneInfo{})
	done(balancer.DoneInfo{})
	require.Equal(t, [2]int64{}, [2]int64{load.InFlight(), total.InFlight()}, "counted out once, in both")
}

func TestLoad_BeginWithinKeepsTheBoundInParallel(t *testing.T) {
	const workers, bound = 8, 3
	var (
		load, total balancers.Load
		wg          sync.WaitGroup
	)
	for range workers {
		wg.Go(func() {
			for range 50_000 {
				total.Enter()
				done, ok := load.BeginWithin(bound, &total)
				for !ok {
					runtime.Gosched()
					done, ok = load.BeginWithin(bound, &total)
				}
				if n := load.InFlight(); n > bound {
					t.Errorf("%d in flight", n)
					return
				}
				runtime.Gosched() // hold the call while others begin theirs
				done(balancer.DoneInfo{})
			}
		})
	}
	wg.Wait()
	require.Equal(t, [2]int64{}, [2]int64{load.InFlight(), total.InFlight()})
}

func TestLoad_BeginWithinAllocatesNothing(t *testing.T) {
	if policytest.RaceEnabled {
		t.Skip("a sync.Pool drops what it holds under the race detector")
	}
	var load, total balancers.Load
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		total.Enter()
		if done, ok := load.BeginWithin(1, &total); ok {
			done(balancer.DoneInfo{})
		}
	}))
}
