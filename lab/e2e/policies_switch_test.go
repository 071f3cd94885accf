package e2e

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/resolver/manual"
)

// configure has the resolver send the same servers with another service config.
func configure(tb testing.TB, r *manual.Resolver, servers []*policyServer, serviceConfig string) {
	tb.Helper()
	state := endpointsOf(servers)
	state.ServiceConfig = r.CC().ParseServiceConfig(serviceConfig)
	require.NoError(tb, state.ServiceConfig.Err)
	r.UpdateState(state)
}

func TestPolicies_SwitchOfPolicyFailsNoCall(t *testing.T) {
	servers := startPolicyServers(t, 3)
	c, r := dialManual(t, endpointsOf(servers), p2cLatency.serviceConfig())
	c.awaitAll(t, servers)
	tr := c.keepCalling(t, 8)
	tr.await(t, 100)
	for i, next := range []underTest{roundRobin, consistentHash, weightedSmooth, p2cRequests, weightedRandom} {
		configure(t, r, servers, next.serviceConfig())
		// gRPC makes the new policy beside the old one, with connections of its
		// own, and closes those of the old one when the new one is READY.
		want := []int64{int64(len(servers) * (i + 2)), int64(len(servers) * (i + 1))}
		require.Eventuallyf(t, func() bool {
			accepted, closed := connections(servers)
			return accepted == want[0] && closed == want[1]
		}, waitLimit, pollInterval, "%s: each server has one connection, a new one", next.name)
		tr.await(t, 100)
	}
	require.Empty(t, tr.end())
}

func TestPolicies_NewConfigOfTheSamePolicyCostsNoConnection(t *testing.T) {
	for _, pair := range [][2]underTest{
		{weightedRandom, weightedSmooth},
		{p2cLatency, {name: p2cLatency.name, config: `{"choices":3,"load":"requests"}`}},
		{consistentHash, {name: consistentHash.name, config: `{"boundedLoadFactor":1.5}`}},
	} {
		t.Run(pair[0].name, func(t *testing.T) {
			t.Parallel()
			servers := startPolicyServers(t, 3)
			c, r := dialManual(t, endpointsOf(servers), pair[0].serviceConfig())
			c.awaitAll(t, servers)
			tr := c.keepCalling(t, 4)
			for range 5 {
				for _, next := range []underTest{pair[1], pair[0]} {
					configure(t, r, servers, next.serviceConfig())
					tr.await(t, 30)
				}
			}
			require.Empty(t, tr.end())
			c.awaitAll(t, servers)
			accepted, closed := connections(servers)
			require.Equal(t, []int64{3, 0}, []int64{accepted, closed}, "connections made and closed")
		})
	}
}
