package consistenthash_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/resolver"

	"github.com/steelyard-go/steelyard/balancers/consistenthash"
	"github.com/steelyard-go/steelyard/internal/policytest"
)

func TestBounded_ParallelCallsStayWithinTheBound(t *testing.T) {
	t.Parallel()
	const workers, each = 8, 200
	for name, tc := range map[string]struct {
		factor    float64
		endpoints []resolver.Endpoint
	}{
		"alike":         {1.25, policytest.Alike(10)},
		"weighted":      {1.25, policytest.Endpoints(1, 2, 4, 8, 1, 2, 4, 8)},
		"no room spare": {1, policytest.Alike(5)},
	} {
		t.Run(name, func(t *testing.T) {
			factor, endpoints := tc.factor, tc.endpoints
			picker := policytest.Channel(t, consistenthash.Name, bounded(factor), endpoints...).Picker()
			info := balancer.PickInfo{Ctx: consistenthash.WithKey(t.Context(), "hot")}
			var (
				mu     sync.Mutex
				counts = make(map[string]int)
				dones  []func(balancer.DoneInfo)
				wg     sync.WaitGroup
			)
			for range workers {
				wg.Go(func() {
					for range each {
						result, err := picker.Pick(info)
						if err != nil {
							t.Error(err)
							return
						}
						mu.Lock()
						counts[fmt.Sprint(result.SubConn)]++
						dones = append(dones, result.Done)
						mu.Unlock()
					}
				})
			}
			wg.Wait()
			h := newHeld(factor, endpoints)
			for addr, n := range counts { // the bound only grew, so that of the last call holds for all
				require.LessOrEqualf(t, n, boundOf(factor, h.shareOf[addr], workers*each-1), "%s: %v", addr, counts)
			}
			for _, done := range dones {
				wg.Go(func() { done(balancer.DoneInfo{}) })
			}
			wg.Wait()
			first := policytest.Begin(t, picker, info.Ctx).Addr
			for range 7 {
				require.Equal(t, first, policytest.Begin(t, picker, info.Ctx).Addr, "all were counted out again")
			}
		})
	}
}

// With a factor of 1 all room is taken all the time. Calls that come and go at
// once find some all the same, and never more.
func TestBounded_ParallelCallsWithoutRoomToSpareStayWithinTheBound(t *testing.T) {
	t.Parallel()
	const rounds, callers, backends = 200, 64, 5
	endpoints := policytest.Alike(backends)
	picker := policytest.Channel(t, consistenthash.Name, bounded(1), endpoints...).Picker()
	for range rounds {
		var (
			wg     sync.WaitGroup
			mu     sync.Mutex
			counts = make(map[string]int)
			dones  [callers]func(balancer.DoneInfo)
		)
		for i := range callers {
			wg.Go(func() {
				result, err := picker.Pick(balancer.PickInfo{Ctx: consistenthash.WithKey(t.Context(), "hot")})
				if err != nil {
					t.Error(err)
					return
				}
				dones[i] = result.Done
				mu.Lock()
				defer mu.Unlock()
				counts[fmt.Sprint(result.SubConn)]++
			})
		}
		wg.Wait()
		for addr, n := range counts {
			require.LessOrEqual(t, n, (callers+backends-1)/backends, addr)
		}
		for _, done := range dones {
			done(balancer.DoneInfo{})
		}
	}
}
