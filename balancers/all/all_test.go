package all_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"

	"github.com/steelyard-go/steelyard/attrs"
	_ "github.com/steelyard-go/steelyard/balancers/all"
	"github.com/steelyard-go/steelyard/balancertest"
	"github.com/steelyard-go/steelyard/internal/policytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var policies = []struct{ name, config string }{
	{"steelyard_round_robin", ""},
	{"steelyard_weighted", ""},
	{"steelyard_weighted", `{"schedule":"smooth"}`},
	{"steelyard_p2c", ""},
	{"steelyard_p2c", `{"choices":5,"load":"requests"}`},
	{"steelyard_consistent_hash", ""},
	{"steelyard_consistent_hash", `{"boundedLoadFactor":1.25}`},
}

func forAll(t *testing.T, test func(t *testing.T, policy, config string)) {
	t.Helper()
	for _, p := range policies {
		t.Run(p.name+p.config, func(t *testing.T) { test(t, p.name, p.config) })
	}
}

// forAllTimeless does the same in a bubble where time stands still: p2c sees
// what calls cost, and these must all cost the same.
func forAllTimeless(t *testing.T, test func(t *testing.T, policy, config string)) {
	t.Helper()
	forAll(t, func(t *testing.T, policy, config string) {
		synctest.Test(t, func(t *testing.T) { test(t, policy, config) })
	})
}

func TestAll_RegistersEveryPolicy(t *testing.T) {
	forAll(t, func(t *testing.T, policy, _ string) {
		builder := balancer.Get(policy)
		require.NotNil(t, builder)
		require.Equal(t, policy, builder.Name())
		_, parses := builder.(balancer.ConfigParser)
		require.True(t, parses)
	})
}

func TestAll_ServeListsOfAnyLength(t *testing.T) {
	forAllTimeless(t, func(t *testing.T, policy, config string) {
		for _, n := range []int{1, 2, 3, 64, 65, 1000} {
			c := policytest.Channel(t, policy, config, policytest.Alike(n)...)
			require.Equal(t, connectivity.Ready, c.State())
			counts := c.Count(t.Context(), 30*n)
			require.Lenf(t, counts, n, "every one of %d is called", n)
			c.Close()
		}
	})
}

// The policies leave the errors of a channel that cannot serve to the frame, so
// that calls that wait for ready wait.
func TestAll_FailWithAnErrorThatNamesThePolicy(t *testing.T) {
	forAll(t, func(t *testing.T, policy, config string) {
		c := balancertest.NewChannel(t, policy, config)
		require.ErrorIs(t, c.Update(), balancer.ErrBadResolverState)
		_, err := c.Pick(t.Context())
		require.EqualError(t, err, policy+": no endpoints: the resolver's list is empty")
		_, isStatus := status.FromError(err)
		require.False(t, isStatus)

		require.NoError(t, c.Update(policytest.Alike(2)...))
		c.Fail(errors.New("refused"), policytest.Addr(0), policytest.Addr(1))
		_, err = c.Pick(t.Context())
		require.EqualError(t, err, policy+": none of 2 endpoints is connected; last connection error: refused")
		_, isStatus = status.FromError(err)
		require.False(t, isStatus)
	})
}

func TestAll_NewAttributesKeepSubConns(t *testing.T) {
	forAllTimeless(t, func(t *testing.T, policy, config string) {
		list := policytest.Endpoints(1, 2, 4)
		c := policytest.Channel(t, policy, config, list...)
		for _, a := range []attrs.Attrs{{Weight: 9}, {Draining: true}, {Zone: "b"}, {Labels: map[string]string{"a": "b"}}, {}} {
			list[1] = attrs.Set(list[1], a)
			require.NoError(t, c.Update(list...))
		}
		require.Equal(t, 3, c.Created())
		require.Zero(t, c.ShutDown())
		require.Len(t, c.Count(t.Context(), 1000), 3)
	})
}

// What one channel goes through, the other does not notice: not its list, its
// weights, its config, its calls in flight or its failures.
func TestAll_TwoChannelsShareNothing(t *testing.T) {
	forAllTimeless(t, func(t *testing.T, policy, config string) {
		list := policytest.Alike(4)
		quiet := policytest.Channel(t, policy, config, list...)
		picker, updates := quiet.Picker(), quiet.Updates()

		stormy := policytest.Channel(t, policy, config, list...)
		for range 500 { // calls that do not end, all in one place
			_, err := stormy.Pick(t.Context())
			require.NoError(t, err)
		}
		require.NoError(t, stormy.Update(policytest.Endpoints(9, 1_000_000)...))
		require.NoError(t, stormy.Configure(`{}`))
		stormy.Fail(errors.New("refused"), policytest.Addr(0), policytest.Addr(1))
		stormy.ResolverError(errors.New("gone"))
		stormy.Close()

		require.Equal(t, updates, quiet.Updates())
		require.True(t, picker == quiet.Picker(), "the picker is the one it was")
		require.Equal(t, connectivity.Ready, quiet.State())
		require.Equal(t, 4, quiet.Created())
		counts := quiet.Count(t.Context(), 4000)
		for i := range 4 { // all policies are near enough to even among four alike
			require.InDeltaf(t, 1000, counts[policytest.Addr(i)], 400, "%v", counts)
		}
	})
}

// pickAndEnd makes calls, of which every other one fails.
func pickAndEnd(ctx context.Context, picker balancer.Picker, n int) error {
	for i := range n {
		result, err := picker.Pick(balancer.PickInfo{FullMethodName: "/test.Service/Call", Ctx: ctx})
		if err != nil {
			return err
		}
		if result.Done == nil {
			continue
		}
		info := balancer.DoneInfo{BytesSent: true}
		if i%2 == 0 {
			info.Err = status.Error(codes.Unavailable, "down")
		}
		result.Done(info)
	}
	return nil
}

// Pickers are out while their successors are made: both serve at once, and a
// backend that left is not picked from any picker that came after.
func TestAll_PickersServeInParallelWithRebuilds(t *testing.T) {
	forAll(t, func(t *testing.T, policy, config string) {
		c := policytest.Channel(t, policy, config, policytest.Alike(6)...)
		stop := make(chan struct{})
		var pickers sync.WaitGroup
		for range 4 {
			pickers.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					if err := pickAndEnd(t.Context(), c.Picker(), 10); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		for round := range 50 {
			gone := policytest.Addr(round % 6)
			c.Idle(gone)
			require.NotContains(t, c.Count(t.Context(), 50), gone)
			c.Ready(gone)
			weights := slices.Repeat([]uint32{1}, 6)
			weights[round%6] = uint32(1 + round)
			require.NoError(t, c.Update(policytest.Endpoints(weights...)...))
			require.NoError(t, c.Configure(config))
		}
		close(stop)
		pickers.Wait()
		require.Equal(t, 6, c.Created(), fmt.Sprint(policy, " made connections anew"))
	})
}
