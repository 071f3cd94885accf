package e2e

import (
	"context"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func TestPolicies_StreamsReachAllAndSurviveUpdates(t *testing.T) {
	forEachPolicy(t, func(t *testing.T, p underTest) {
		servers := startPolicyServers(t, 3)
		c, r := dialManual(t, endpointsOf(servers), p.serviceConfig())
		c.awaitAll(t, servers)
		var (
			ctx     = policyContext(t)
			streams []heldCall
			reached = make(map[string]bool)
		)
		for i := range 60 {
			h := c.hold(ctx, t, strconv.Itoa(i))
			streams = append(streams, h)
			reached[h.server] = true
		}
		require.Len(t, reached, len(servers))
		for range 10 { // each update builds a new picker
			r.UpdateState(endpointsOf(servers, weights124...))
			r.UpdateState(endpointsOf(servers))
		}
		for i, h := range streams {
			h.echo(t, strconv.Itoa(i))
			h.finish(t)
		}
	})
}

// The policy counts a backend's streams in flight from when they begin, across
// rebuilds, until they end, by a cancel for one.
func TestPolicies_P2CCountsStreamsInFlight(t *testing.T) {
	const held, calls = 40, 300
	forEach(t, []underTest{p2cLatency, p2cRequests}, func(t *testing.T, p underTest) {
		servers := startPolicyServers(t, 3)
		busy := servers[0]
		c, r := dialManual(t, endpointsOf(servers[:1]), p.serviceConfig())
		ctx, cancel := context.WithCancel(policyContext(t))
		defer cancel()
		streams := make([]heldCall, held)
		for i := range streams {
			streams[i] = c.hold(ctx, t, "any")
		}

		r.UpdateState(endpointsOf(servers))
		c.awaitAll(t, servers[1:])
		require.Less(t, c.spread(t, calls)[busy.addr], calls/10, "%d streams are in flight", held)
		for _, h := range streams[:held/2] {
			h.finish(t)
		}
		require.Less(t, c.spread(t, calls)[busy.addr], calls/10, "half of the streams are")

		cancel()
		for _, h := range streams[held/2:] {
			require.Equal(t, codes.Canceled, status.Code(h.RecvMsg(new(wrapperspb.StringValue))))
		}
		require.Eventually(t, func() bool { return c.spread(t, calls)[busy.addr] > calls/6 }, waitLimit, pollInterval,
			"cancelled streams are counted out")
	})
}

func TestPolicies_P2CCountsOutCallsThatWereCancelled(t *testing.T) {
	servers := startPolicyServers(t, 2)
	c, _ := dialManual(t, endpointsOf(servers), p2cRequests.serviceConfig())
	c.awaitAll(t, servers)
	for range 100 {
		ctx, cancel := context.WithCancel(policyContext(t))
		h := c.hold(ctx, t, "any")
		cancel()
		require.Equal(t, codes.Canceled, status.Code(h.RecvMsg(new(wrapperspb.StringValue))))
	}
	// A count that stayed up at one of them would send nearly all to the other.
	require.Eventually(t, func() bool {
		counts := c.spread(t, 100)
		return counts[servers[0].addr] > 20 && counts[servers[1].addr] > 20
	}, waitLimit, pollInterval)
}
