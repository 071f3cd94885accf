package consistenthash

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/resolver"

	"github.com/steelyard-go/steelyard/attrs"
	"github.com/steelyard-go/steelyard/balancers"
	"github.com/steelyard-go/steelyard/balancertest"
	"github.com/steelyard-go/steelyard/internal/policytest"
)

// gated is a context of which a build in the background, which looks now and then
// whether it is to go on, waits for the gate.
type gated struct {
	context.Context
	gate chan struct{}
}

func (g gated) Err() error {
	<-g.gate
	return g.Context.Err()
}

// registerStuck makes a policy available that is this one but for its builds in
// the background: they are stuck until the gate is closed.
func registerStuck() (name string, gate chan struct{}) {
	const stuckName = "steelyard_test_stuck_hash"
	gate = make(chan struct{})
	balancers.RegisterPolicy(stuckName, defaults, func() balancers.Policy[Config] {
		policy := newPolicy()
		return func(cfg Config, s balancers.Snapshot) balancer.Picker {
			s.Context = gated{s.Context, gate}
			return policy(cfg, s)
		}
	})
	return stuckName, gate
}

// ownersOf returns where some keys go, asked for by picks that do not end.
func ownersOf(t *testing.T, c *balancertest.Channel) map[string]string {
	t.Helper()
	owners := make(map[string]string)
	for i := range 300 {
		key := fmt.Sprint("key ", i)
		call := policytest.Begin(t, c.Picker(), WithKey(t.Context(), key))
		owners[key] = call.Addr
		call.End()
	}
	return owners
}

// requireWithout checks that the keys of those that are away went elsewhere, and
// no others did.
func requireWithout(t *testing.T, before map[string]string, c *balancertest.Channel, away ...string) {
	t.Helper()
	for key, addr := range ownersOf(t, c) {
		require.NotContainsf(t, away, addr, "%s", key)
		for _, gone := range away {
			if before[key] == gone {
				addr = gone
			}
		}
		require.Equalf(t, before[key], addr, "%s", key)
	}
}

func TestPolicy_WhileATableIsBeingBuiltAllElseIsFollowed(t *testing.T) {
	for _, config := range []string{`{}`, `{"boundedLoadFactor":1.25}`} {
		synctest.Test(t, func(t *testing.T) {
			name, gate := registerStuck()
			list := policytest.Alike(10)
			addr := policytest.Addr
			c := policytest.Channel(t, name, config, list[:9]...)
			before := ownersOf(t, c)

			require.NoError(t, c.Update(list...)) // a list that asks for another table
			c.Ready(addr(9))
			Pass(Ages)
			require.Equal(t, before, ownersOf(t, c), "the newcomer's table is not there yet")

			c.Idle(addr(0))
			requireWithout(t, before, c, addr(0))
			c.Ready(addr(0))
			require.Equal(t, before, ownersOf(t, c), "a connection that is back")
			c.Fail(nil, addr(1))
			requireWithout(t, before, c, addr(1))

			drained := append([]resolver.Endpoint{}, list...)
			drained[2] = attrs.Set(list[2], attrs.Attrs{Weight: 1, Draining: true})
			require.NoError(t, c.Update(drained...))
			requireWithout(t, before, c, addr(1), addr(2))
			require.NoError(t, c.Update(append(drained[:3:3], drained[4:]...)...))
			requireWithout(t, before, c, addr(1), addr(2), addr(3))
			require.NoError(t, c.Configure(`{"onMissingKey":"fail"}`))
			_, err := c.Pick(t.Context())
			require.ErrorContains(t, err, "the call has no key", "a new config")

			require.NoError(t, c.Update(list...))
			c.Ready(addr(1), addr(3))
			require.Equal(t, before, ownersOf(t, c), "still the old table")
			close(gate)
			Pass(Ages)
			want := policytest.Channel(t, Name, "", list...)
			require.Equal(t, ownersOf(t, want), ownersOf(t, c), "the new one")
		})
	}
}
