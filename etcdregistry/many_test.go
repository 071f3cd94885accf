package etcdregistry

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/steelyard-go/steelyard/attrs"
)

// What is allocated stands for the work: a loop that went through all its keys at each
// change would copy them.
func TestRegistrar_UpdateCostsNoMoreAmongMany(t *testing.T) {
	few, many := bytesOfUpdate(t, 10), bytesOfUpdate(t, 2000)
	require.Less(t, many, 4*few)
}

// bytesOfUpdate returns how much an Update allocates beside so many other keys.
func bytesOfUpdate(t *testing.T, others int) uint64 {
	t.Helper()
	s := &fakeStore{raiseTTL: time.Hour} // no audit meanwhile
	g := mustRegistrar(t, s, WithDrainDelay(0))
	var joining sync.WaitGroup
	for i := range others {
		joining.Go(func() { mustJoin(t, g, fmt.Sprintf("10.0.0.8:%d", 1+i)) })
	}
	joining.Wait()
	r := mustJoin(t, g, testAddr)
	require.Eventually(t, func() bool { return s.count("watch") == others+1 }, 10*time.Second, time.Millisecond)
	const updates = 500
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for i := range uint32(updates) {
		require.NoError(t, r.Update(t.Context(), attrs.Attrs{Weight: 1 + i}))
	}
	runtime.ReadMemStats(&after)
	return (after.TotalAlloc - before.TotalAlloc) / updates
}
