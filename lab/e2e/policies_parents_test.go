package e2e

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	_ "google.golang.org/grpc/balancer/randomsubsetting"

	"github.com/steelyard-go/steelyard/attrs"
)

// under returns the service config of p as the child of a stock policy.
func (p underTest) under(parent, fields string) string {
	return fmt.Sprintf(`{"loadBalancingConfig":[{%q:{%s,"childPolicy":[%s]}}]}`, parent, fields, p.lb())
}

func TestPolicies_UnderRandomSubsettingCallTheSubsetOnly(t *testing.T) {
	const size = 3
	forEachPolicy(t, func(t *testing.T, p underTest) {
		servers := startPolicyServers(t, 6)
		c, _ := dialManual(t, endpointsOf(servers), p.under("random_subsetting_experimental", `"subsetSize":3`))
		require.Eventually(t, func() bool { return len(c.spread(t, 50)) == size }, waitLimit, pollInterval)
		counts := c.spread(t, 300)
		require.Len(t, counts, size)
		connected := 0
		for _, s := range servers {
			if s.accepted.Load() > 0 {
				connected++
				require.Positive(t, counts[s.addr])
			} else {
				require.Zero(t, s.calls.Load())
			}
		}
		require.Equal(t, size, connected, "no connection outside of the subset")
	})
}

// A parent may hand the config on as JSON that it makes of the parsed one.
func TestPolicies_UnderRandomSubsettingKeepTheirConfig(t *testing.T) {
	const allOfThem = `"subsetSize":9`
	t.Run("weighted", func(t *testing.T) {
		servers := startPolicyServers(t, 3)
		c, _ := dialManual(t, endpointsOf(servers, weights124...), weightedSmooth.under("random_subsetting_experimental", allOfThem))
		c.awaitAll(t, servers)
		for range 3 { // chance might come as near to exact shares once
			weightedSmooth.requireShares(t, c, servers, weights124, 700)
		}
	})
	t.Run("consistent_hash", func(t *testing.T) {
		servers := startPolicyServers(t, 3)
		c, _ := dialManual(t, endpointsOf(servers), consistentHash.under("random_subsetting_experimental", allOfThem))
		c.awaitAll(t, servers)
		owner, err := c.callKey(policyContext(t), "user-7")
		require.NoError(t, err)
		for range 50 {
			addr, err := c.callKey(policyContext(t), "user-7")
			require.NoError(t, err)
			require.Equal(t, owner, addr)
		}
	})
}

func TestPolicies_UnderRandomSubsettingHonourWeightsAndDraining(t *testing.T) {
	forEachPolicy(t, func(t *testing.T, p underTest) {
		servers := startPolicyServers(t, 3)
		c, r := dialManual(t, endpointsOf(servers, weights124...), p.under("random_subsetting_experimental", `"subsetSize":9`))
		c.awaitAll(t, servers)
		p.requireShares(t, c, servers, weights124, 700)
		r.UpdateState(endpointsOf(servers, attrs.Attrs{Weight: 1}, attrs.Attrs{Weight: 1}, attrs.Attrs{Draining: true}))
		require.Zero(t, c.spread(t, 200)[servers[2].addr])
	})
}
