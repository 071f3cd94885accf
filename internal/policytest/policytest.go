// Package policytest holds what the tests of the policies have in common:
// endpoints by weight, channels with all of them connected, and checks that
// every policy has to pass.
package policytest

import (
	"context"
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/balancer/base"
	"google.golang.org/grpc/resolver"

	"github.com/steelyard-go/steelyard/attrs"
	"github.com/steelyard-go/steelyard/balancertest"
)

// Addr returns the address of endpoint i. Addresses sort as their numbers do.
func Addr(i int) string { return fmt.Sprintf("10.0.%03d.%03d:8080", i/256, i%256) }

// Endpoints returns one endpoint for each weight.
func Endpoints(weights ...uint32) []resolver.Endpoint {
	list := make([]resolver.Endpoint, len(weights))
	for i, w := range weights {
		list[i] = balancertest.Endpoint(Addr(i), attrs.Attrs{Weight: w})
	}
	return list
}

// Alike returns n endpoints of weight 1.
func Alike(n int) []resolver.Endpoint {
	weights := make([]uint32, n)
	for i := range weights {
		weights[i] = 1
	}
	return Endpoints(weights...)
}

// Channel returns a channel that hosts policy, with all endpoints connected and
// in the picker.
func Channel(tb testing.TB, policy, config string, endpoints ...resolver.Endpoint) *balancertest.Channel {
	tb.Helper()
	c := balancertest.NewChannel(tb, policy, config)
	require.NoError(tb, c.Update(endpoints...))
	for _, e := range endpoints {
		c.Ready(e.Addresses[0].Addr)
	}
	require.NoError(tb, c.Update(endpoints...)) // additions to a long list wait a while, a list does not
	return c
}

// BuildInfo returns what gRPC's base balancer would build a picker from.
func BuildInfo(endpoints ...resolver.Endpoint) base.PickerBuildInfo {
	info := base.PickerBuildInfo{ReadySCs: make(map[balancer.SubConn]base.SubConnInfo)}
	for _, e := range endpoints {
		addr := e.Addresses[0]
		info.ReadySCs[balancertest.NewSubConn(addr.Addr)] = base.SubConnInfo{Address: addr}
	}
	return info
}

// Call is a call that has been sent to a backend and has not ended.
type Call struct {
	Addr string
	Done func(balancer.DoneInfo) // nil when the policy has no use for it
}

// End ends the call well.
func (c Call) End() {
	if c.Done != nil {
		c.Done(balancer.DoneInfo{BytesSent: true, BytesReceived: true})
	}
}

// Begin begins a call with picker.
func Begin(tb testing.TB, picker balancer.Picker, ctx context.Context) Call { //nolint:revive // tb comes first in all of these
	tb.Helper()
	result, err := picker.Pick(balancer.PickInfo{FullMethodName: "/test.Service/Call", Ctx: ctx})
	require.NoError(tb, err)
	return Call{Addr: fmt.Sprint(result.SubConn), Done: result.Done}
}

// RequireShares fails the test unless counts, of independent draws, are in
// proportion to the endpoints' weights: χ² with one chance in 10⁹ of failing
// right shares, so that a test that cannot seed its randomness does not flake.
func RequireShares(tb testing.TB, endpoints []resolver.Endpoint, counts map[string]int) {
	tb.Helper()
	weight, calls := 0.0, 0.0
	for _, e := range endpoints {
		weight += float64(max(attrs.FromEndpoint(e).Weight, 1))
		calls += float64(counts[e.Addresses[0].Addr])
	}
	chi2, known := 0.0, 0
	for _, e := range endpoints {
		addr := e.Addresses[0].Addr
		want := calls * float64(max(attrs.FromEndpoint(e).Weight, 1)) / weight
		require.GreaterOrEqualf(tb, want, 5.0, "too few calls for a χ² test: %s", addr)
		off := float64(counts[addr]) - want
		chi2 += off * off / want
		known += counts[addr]
	}
	total := 0
	for _, n := range counts {
		total += n
	}
	require.Equal(tb, total, known, "calls went to others than the endpoints: %v", counts)
	require.Lessf(tb, chi2, chiSquareBound(len(endpoints)-1), "χ² of %v", counts)
}

// chiSquareBound returns what χ² of so many degrees of freedom exceeds less
// than once in 10⁹ (Wilson and Hilferty's approximation, which is on the safe
// side here).
func chiSquareBound(freedom int) float64 {
	if freedom == 0 {
		return 1e-9
	}
	const z = 5.998 // of the normal distribution
	k := float64(freedom)
	return k * math.Pow(1-2/(9*k)+z*math.Sqrt(2/(9*k)), 3)
}

// RequireAllocs fails the test unless pick makes want allocations, in the long
// run. It skips under the race detector, where a sync.Pool drops things.
func RequireAllocs(t *testing.T, want float64, pick func()) {
	t.Helper()
	if RaceEnabled {
		t.Skip("a sync.Pool drops what it holds under the race detector")
	}
	require.Equal(t, want, testing.AllocsPerRun(1000, pick))
}
