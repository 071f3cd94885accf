package p2c_test

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/resolver"

	"github.com/steelyard-go/steelyard/attrs"
	"github.com/steelyard-go/steelyard/balancers/p2c"
	"github.com/steelyard-go/steelyard/balancertest"
	"github.com/steelyard-go/steelyard/internal/policytest"
)

var configs = []string{`{}`, `{"load":"requests"}`, `{"choices":3}`, `{"choices":10,"load":"requests"}`}

// forAll runs test with each config, in a bubble where time stands still unless
// the test lets it pass: the promises about calls in flight are for calls that
// take equally long.
func forAll(t *testing.T, test func(t *testing.T, config string)) {
	t.Helper()
	for _, config := range configs {
		t.Run("config="+config, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, config) })
		})
	}
}

// held begins n calls that do not end and returns how many went where.
func held(t *testing.T, picker balancer.Picker, n int) map[string]int {
	t.Helper()
	counts := make(map[string]int)
	for range n {
		counts[policytest.Begin(t, picker, t.Context()).Addr]++
	}
	return counts
}

func TestPicker_FewerInFlightWins(t *testing.T) {
	forAll(t, func(t *testing.T, config string) {
		c := policytest.Channel(t, p2c.Name, config, policytest.Alike(2)...)
		a, b := policytest.Addr(0), policytest.Addr(1)
		inFlight := make(map[string]int)
		for range 100 { // with two backends both are looked at
			inFlight[policytest.Begin(t, c.Picker(), t.Context()).Addr]++
			require.LessOrEqual(t, max(inFlight[a]-inFlight[b], inFlight[b]-inFlight[a]), 1)
		}
	})
}

func TestPicker_TheBackendThatHoldsItsCallsGetsFewer(t *testing.T) {
	forAll(t, func(t *testing.T, config string) {
		const n = 10
		slow := policytest.Addr(0)
		picker := policytest.Channel(t, p2c.Name, config, policytest.Alike(n)...).Picker()
		counts := make(map[string]int)
		for range 10_000 {
			call := policytest.Begin(t, picker, t.Context())
			counts[call.Addr]++
			if call.Addr != slow {
				call.End()
			}
		}
		require.Equal(t, 1, counts[slow], "its first call is still in flight, the others are idle: no other call")
	})
}

func TestPicker_CallsThatNeverEndStandInProportionToWeight(t *testing.T) {
	forAll(t, func(t *testing.T, config string) {
		c := policytest.Channel(t, p2c.Name, config, policytest.Endpoints(1, 4)...)
		counts := held(t, c.Picker(), 1000)
		require.InDelta(t, 200, counts[policytest.Addr(0)], 3)
		require.InDelta(t, 800, counts[policytest.Addr(1)], 3)
	})
}

func TestPicker_CallsThatNeverEndStandInProportionToWeightInALongList(t *testing.T) {
	forAll(t, func(t *testing.T, config string) {
		var weights []uint32
		for range 10 {
			weights = append(weights, 1, 2, 4)
		}
		endpoints := policytest.Endpoints(weights...)
		counts := held(t, policytest.Channel(t, p2c.Name, config, endpoints...).Picker(), 7000)
		for i, e := range endpoints {
			require.InEpsilonf(t, 100*float64(weights[i]), counts[e.Addresses[0].Addr], 0.2, "weight %d: %v", weights[i], counts)
		}
	})
}

// As many choices as backends, all of them distinct, leave no backend out: the
// one with the fewest calls in flight always wins.
func TestPicker_ChoicesAreDistinct(t *testing.T) {
	for _, tc := range []struct{ choices, backends int }{{2, 2}, {3, 3}, {3, 2}, {5, 5}, {10, 10}, {10, 3}, {10, 1}} {
		t.Run(fmt.Sprintf("choices=%d backends=%d", tc.choices, tc.backends), func(t *testing.T) {
			cfg := p2c.Config{Choices: tc.choices}
			picker := p2c.NewPickerBuilder(cfg).Build(policytest.BuildInfo(policytest.Alike(tc.backends)...))
			counts := make(map[string]int)
			for call := range 200 {
				counts[policytest.Begin(t, picker, t.Context()).Addr]++
				for i := range tc.backends {
					n := counts[policytest.Addr(i)]
					require.LessOrEqual(t, n, call/tc.backends+1, "%v", counts)
					require.GreaterOrEqual(t, n, (call+1)/tc.backends, "%v", counts)
				}
			}
		})
	}
}

func TestPicker_OneBackendTakesAll(t *testing.T) {
	forAll(t, func(t *testing.T, config string) {
		c := policytest.Channel(t, p2c.Name, config, policytest.Endpoints(3)...)
		require.Equal(t, map[string]int{policytest.Addr(0): 100}, held(t, c.Picker(), 100))
	})
}

func TestPicker_OneToAMillion(t *testing.T) {
	forAll(t, func(t *testing.T, config string) {
		light, heavy := policytest.Addr(0), policytest.Addr(1)
		c := policytest.Channel(t, p2c.Name, config, policytest.Endpoints(1, 1_000_000)...)
		counts := c.Count(t.Context(), 50_000)
		require.LessOrEqual(t, counts[light], 6, "one in 20 is expected; more than six: once in 10¹²")

		require.Contains(t, held(t, c.Picker(), 2), light, "the heavy one is busy and the light one is not, however rarely it is drawn")
		require.Equal(t, map[string]int{heavy: 1000}, held(t, c.Picker(), 1000), "both are busy for their weight")
	})
}

func TestPicker_IdleSharesEqualWeights(t *testing.T) {
	forAll(t, func(t *testing.T, config string) {
		for _, weights := range [][]uint32{{1, 1}, {1, 9}, {1, 2, 4}, {1, 1, 1, 1, 1}, {50, 1, 7, 20, 3, 3, 90, 11}} {
			endpoints := policytest.Endpoints(weights...)
			c := policytest.Channel(t, p2c.Name, config, endpoints...)
			policytest.RequireShares(t, endpoints, c.Count(t.Context(), 30_000))
		}
	})
}

func TestPicker_IdleSharesOfEquallyFastBackendsEqualWeights(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		endpoints := policytest.Endpoints(1, 2, 4)
		picker := policytest.Channel(t, p2c.Name, "", endpoints...).Picker()
		counts := make(map[string]int)
		for range 10_000 {
			call := policytest.Begin(t, picker, t.Context())
			<-time.After(time.Millisecond)
			call.End()
			counts[call.Addr]++
		}
		policytest.RequireShares(t, endpoints, counts)
	})
}

func TestPicker_ParallelCallsAreCountedOutAgain(t *testing.T) {
	forAll(t, func(t *testing.T, config string) {
		const n, workers = 10, 8
		c := policytest.Channel(t, p2c.Name, config, policytest.Alike(n)...)
		picker := c.Picker()
		var wg sync.WaitGroup
		for range workers {
			wg.Go(func() {
				var open []func(balancer.DoneInfo)
				for i := range 3000 {
					result, err := picker.Pick(balancer.PickInfo{Ctx: t.Context()})
					if err != nil {
						t.Error(err)
						return
					}
					open = append(open, result.Done)
					if len(open) == 5 || i == 2999 {
						for _, done := range open {
							done(balancer.DoneInfo{})
						}
						open = open[:0]
					}
				}
			})
		}
		wg.Wait()
		requireNoneInFlight(t, c, n)
	})
}

// requireNoneInFlight looks at the counts through the picks they lead to: with
// as many choices as backends the idlest always wins, so that ten calls that do
// not end go to ten backends if, and only if, all counts were equal.
func requireNoneInFlight(t *testing.T, c *balancertest.Channel, n int) {
	t.Helper()
	require.LessOrEqual(t, n, 10)
	require.NoError(t, c.Configure(`{"choices":10,"load":"requests"}`))
	require.Len(t, held(t, c.Picker(), n), n)
}

func TestPolicy_DrainingTakesNoCallsWhileOthersDo(t *testing.T) {
	forAll(t, func(t *testing.T, config string) {
		draining := func(a, b bool) []resolver.Endpoint {
			return []resolver.Endpoint{
				balancertest.Endpoint("a", attrs.Attrs{Draining: a}), balancertest.Endpoint("b", attrs.Attrs{Draining: b}),
			}
		}
		c := policytest.Channel(t, p2c.Name, config, draining(true, false)...)
		require.Equal(t, map[string]int{"b": 50}, held(t, c.Picker(), 50), "busy or not")
		require.NoError(t, c.Update(draining(true, true)...))
		require.Equal(t, map[string]int{"a": 50}, held(t, c.Picker(), 50), "all drain: all serve, the idle one first")
		require.NoError(t, c.Update(draining(false, true)...))
		require.Equal(t, map[string]int{"a": 50}, held(t, c.Picker(), 50))
	})
}
