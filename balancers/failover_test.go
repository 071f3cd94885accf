package balancers_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/resolver"

	"github.com/steelyard-go/steelyard/attrs"
	"github.com/steelyard-go/steelyard/balancertest"
)

// The policy of the example does what it says.
func TestExampleRegister_FailsOver(t *testing.T) {
	list := []resolver.Endpoint{
		balancertest.Endpoint("a", attrs.Attrs{Weight: 1}),
		balancertest.Endpoint("b", attrs.Attrs{Weight: 9}),
		balancertest.Endpoint("c", attrs.Attrs{Weight: 5}),
	}
	c := balancertest.NewChannel(t, "example_failover", "")
	require.NoError(t, c.Update(list...))
	c.Ready("a", "b", "c")
	require.Equal(t, map[string]int{"b": 10}, c.Count(t.Context(), 10))
	c.Fail(nil, "b")
	require.Equal(t, map[string]int{"c": 10}, c.Count(t.Context(), 10))
	c.Ready("b")
	require.Equal(t, map[string]int{"b": 10}, c.Count(t.Context(), 10))
}
