package e2e

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestPolicies_KilledServerFailsOnlyItsCallsInFlight(t *testing.T) {
	const workers = 8
	forEachPolicy(t, func(t *testing.T, p underTest) {
		servers := startPolicyServers(t, 3)
		victim := servers[1]
		c, _ := dialManual(t, endpointsOf(servers), p.serviceConfig())
		c.awaitAll(t, servers)
		tr := c.keepCalling(t, workers)
		tr.await(t, 100)

		victim.kill()
		tr.await(t, 300)
		served := victim.calls.Load()

		victim.restart(t)
		require.Eventually(t, func() bool { return victim.calls.Load() > served }, waitLimit, pollInterval,
			"a server that comes back gets calls again")
		tr.await(t, 50)

		// A worker has one call in flight. That one may fail, the next may not.
		failures := make(map[int]int)
		for _, failed := range tr.end() {
			failures[failed.worker]++
			require.Equal(t, codes.Unavailable, status.Code(failed.err), "%v", failed.err)
			require.Equal(t, victim.addr, failed.server, "%v", failed.err)
			require.Equal(t, 1, failures[failed.worker], "failures of one worker, the last: %v", failed.err)
		}
		t.Logf("%s: %d calls, %d in flight at the killed server failed", p.lb(), tr.made.Load(), len(failures))
	})
}
