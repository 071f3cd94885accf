package e2e

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	_ "google.golang.org/grpc/health" // client-side health checks
)

func (p underTest) withHealthChecks() string {
	return fmt.Sprintf(`{"loadBalancingConfig":[%s],"healthCheckConfig":{"serviceName":%q}}`, p.lb(), policyService)
}

func TestPolicies_FollowClientSideHealthChecks(t *testing.T) {
	forEachPolicy(t, func(t *testing.T, p underTest) {
		servers := startPolicyServers(t, 3)
		sick := servers[0]
		for _, s := range servers {
			s.setHealthy(s != sick)
		}
		c, _ := dialManual(t, endpointsOf(servers), p.withHealthChecks())
		c.awaitAll(t, servers[1:])
		c.spread(t, 200)
		require.Zero(t, sick.calls.Load(), "connected, but never healthy")

		sick.setHealthy(true)
		c.awaitAll(t, servers)

		sick.setHealthy(false)
		c.awaitNone(t, sick, 50)
		require.Zero(t, c.spread(t, 200)[sick.addr])

		sick.setHealthy(true)
		c.awaitAll(t, servers)
		accepted, closed := connections(servers)
		require.Equal(t, []int64{3, 0}, []int64{accepted, closed}, "health costs no connection")
	})
}
