package all_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/resolver"

	"github.com/steelyard-go/steelyard/attrs"
	"github.com/steelyard-go/steelyard/balancertest"
	"github.com/steelyard-go/steelyard/internal/policytest"
)

// stuckConn is a channel that takes a new picker only once it is let.
type stuckConn struct {
	balancer.ClientConn
	gate   chan struct{} // nil while updates pass
	stuck  chan struct{} // closed when an update waits at the gate
	latest balancer.Picker
	listen []func(balancer.SubConnState)
}

func (c *stuckConn) NewSubConn(addrs []resolver.Address, opts balancer.NewSubConnOptions) (balancer.SubConn, error) {
	c.listen = append(c.listen, opts.StateListener)
	return balancertest.NewSubConn(addrs[0].Addr), nil
}

func (c *stuckConn) UpdateState(s balancer.State) {
	if c.gate != nil {
		close(c.stuck)
		<-c.gate
		c.gate = nil
	}
	c.latest = s.Picker
}

// inTwoZones is the state of a channel in zone a with backends there and in b.
func inTwoZones(t *testing.T, policy, config string, weight uint32) balancer.ClientConnState {
	t.Helper()
	var list []resolver.Endpoint
	for i, zone := range []string{"a", "b", "a", "b"} {
		list = append(list, balancertest.Endpoint(policytest.Addr(i), attrs.Attrs{Weight: weight, Zone: zone}))
	}
	state := balancer.ClientConnState{ResolverState: attrs.SetLocalZone(resolver.State{Endpoints: list}, "a")}
	if config != "" {
		var err error
		state.BalancerConfig, err = policytest.Parse(policy, config)
		require.NoError(t, err)
	}
	return state
}

// Nothing in a pick, or at the end of its call, takes a lock that a new picker
// takes, however long that takes, and however many other changes wait for it.
func TestAll_PicksGoOnWhileAnUpdateIsStuck(t *testing.T) {
	forAll(t, func(t *testing.T, policy, config string) {
		cc := &stuckConn{}
		b := balancer.Get(policy).Build(cc, balancer.BuildOptions{})
		defer b.Close()
		require.NoError(t, b.UpdateClientConnState(inTwoZones(t, policy, config, 1)))
		for _, listen := range cc.listen {
			listen(balancer.SubConnState{ConnectivityState: connectivity.Ready})
		}
		picker := cc.latest
		cc.gate, cc.stuck = make(chan struct{}), make(chan struct{})
		gate, stuck := cc.gate, cc.stuck
		var updates sync.WaitGroup
		updates.Go(func() { cc.listen[0](balancer.SubConnState{ConnectivityState: connectivity.Idle}) })
		<-stuck
		updates.Go(func() { _ = b.UpdateClientConnState(inTwoZones(t, policy, config, 2)) })
		updates.Go(func() { b.ResolverError(errors.New("gone")) })

		const pickers = 4
		picked := make(chan error, pickers)
		for range pickers {
			go func() { picked <- pickAndEnd(t.Context(), picker, 1000) }()
		}
		for range pickers {
			select {
			case err := <-picked:
				if err != nil {
					t.Error(err)
				}
			case <-time.After(10 * time.Second):
				t.Error("picks wait for the update")
			}
		}
		close(gate)
		updates.Wait()
	})
}
