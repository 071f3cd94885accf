package e2e

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/status"
)

// callWaiting starts a call that waits for ready; its error comes from the channel.
func (c *policyClient) callWaiting(tb testing.TB) <-chan error {
	tb.Helper()
	ctx, done := policyContext(tb), make(chan error, 1)
	go func() {
		_, err := c.call(ctx, grpc.WaitForReady(true))
		done <- err
	}()
	return done
}

// requireWaiting checks that a call has neither succeeded nor failed.
func requireWaiting(tb testing.TB, done <-chan error) {
	tb.Helper()
	select {
	case err := <-done:
		require.FailNow(tb, "the call did not wait", "error: %v", err)
	default:
	}
}

// awaitUnavailable waits until ordinary calls fail with such a message: up to
// then they may wait for a connection that is being made.
func (c *policyClient) awaitUnavailable(tb testing.TB, pattern string) {
	tb.Helper()
	ctx := policyContext(tb)
	require.EventuallyWithT(tb, func(poll *assert.CollectT) {
		_, err := c.call(ctx)
		require.Equal(poll, codes.Unavailable, status.Code(err))
		require.Regexp(poll, pattern, status.Convert(err).Message())
	}, waitLimit, pollInterval)
}

func TestPolicies_OutageOfAllBackends(t *testing.T) {
	forEachPolicy(t, func(t *testing.T, p underTest) {
		servers := startPolicyServers(t, 3)
		c, _ := dialManual(t, endpointsOf(servers), p.serviceConfig())
		c.awaitAll(t, servers)
		for _, s := range servers {
			s.kill()
		}
		message := fmt.Sprintf(`^%s: none of 3 endpoints is connected; last connection error: .*connect: connection refused`, p.name)
		c.awaitUnavailable(t, message)
		waiting := c.callWaiting(t)
		c.awaitUnavailable(t, message) // reconnects fail meanwhile
		requireWaiting(t, waiting)

		for _, s := range servers {
			s.restart(t)
		}
		require.NoError(t, <-waiting)
		c.awaitAll(t, servers)
	})
}

func TestPolicies_NoEndpoints(t *testing.T) {
	forEachPolicy(t, func(t *testing.T, p underTest) {
		servers := startPolicyServers(t, 2)
		none := resolver.State{Endpoints: []resolver.Endpoint{}}
		message := fmt.Sprintf(`^%s: no endpoints`, p.name)
		c, r := dialManual(t, none, p.serviceConfig())
		c.awaitUnavailable(t, message)
		waiting := c.callWaiting(t)
		c.awaitUnavailable(t, message)
		requireWaiting(t, waiting)

		r.UpdateState(endpointsOf(servers))
		require.NoError(t, <-waiting)
		c.awaitAll(t, servers)

		r.UpdateState(none)
		_, err := c.call(policyContext(t))
		require.Equal(t, codes.Unavailable, status.Code(err))
		require.Regexp(t, message, status.Convert(err).Message())
	})
}
