package balancers_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/balancer"

	"github.com/steelyard-go/steelyard/attrs"
	"github.com/steelyard-go/steelyard/balancers"
	"github.com/steelyard-go/steelyard/balancertest"
)

// A build may take its time, and the frame holds its lock meanwhile. Calls go on
// with the picker that is out, and come to their end.
func TestFrame_PicksGoOnWhileABuildIsStuck(t *testing.T) {
	const name = "steelyard_test_stuck"
	var stuck atomic.Bool
	entered, release := make(chan struct{}), make(chan struct{})
	balancers.Register(name, struct{}{}, func(_ struct{}, backends []balancers.Backend) balancer.Picker {
		if stuck.Load() {
			entered <- struct{}{}
			<-release
		}
		return failover{backends[0]}
	})
	c := balancertest.NewChannel(t, name, "")
	list := balancertest.Endpoint("a", attrs.Attrs{Weight: 1})
	require.NoError(t, c.Update(list))
	c.Ready("a")

	stuck.Store(true)
	updated := make(chan error, 1)
	go func() { updated <- c.Update(attrs.Set(list, attrs.Attrs{Weight: 2})) }()
	<-entered
	picked := make(chan map[string]int, 1)
	go func() { picked <- c.Count(t.Context(), 1000) }()
	select {
	case counts := <-picked:
		require.Equal(t, map[string]int{"a": 1000}, counts)
	case <-time.After(10 * time.Second):
		t.Error("picks wait for the build")
	}
	select {
	case err := <-updated:
		t.Errorf("the build was not stuck: %v", err)
	default:
	}
	stuck.Store(false)
	close(release)
	require.NoError(t, <-updated)
}
