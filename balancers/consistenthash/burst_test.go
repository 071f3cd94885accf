package consistenthash_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/steelyard-go/steelyard/balancers/consistenthash"
	"github.com/steelyard-go/steelyard/balancertest"
	"github.com/steelyard-go/steelyard/internal/policytest"
)

// Long lists keep a pause between two pickers. A call whose owner is lost
// meanwhile need not wait for its end: it knows its next choice.
func TestOwners_InThePauseOfALongListKeysGoToTheirNextChoiceAtOnce(t *testing.T) {
	for _, config := range []string{"", bounded(1.25)} {
		synctest.Test(t, func(t *testing.T) {
			c := policytest.Channel(t, consistenthash.Name, config, policytest.Alike(100)...)
			consistenthash.Pass(time.Second)
			c.Idle(policytest.Addr(3)) // begins a pause
			before := owners(t, c.Picker())
			gone := []string{policytest.Addr(50), policytest.Addr(51), policytest.Addr(99)}
			c.Idle(gone...)
			after := owners(t, c.Picker())
			for key, addr := range after {
				require.NotContains(t, gone, addr)
				if was := before[key]; was != addr {
					require.Contains(t, gone, was, "%s moved", key)
				}
			}
			consistenthash.Pass(time.Second)
			require.Equal(t, after, owners(t, c.Picker()))
		})
	}
}

// The few that are left may not have room for all: some calls wait, and those
// that do count nowhere.
func TestBounded_InThePauseTheBoundHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 70
		endpoints := policytest.Alike(n)
		c := policytest.Channel(t, consistenthash.Name, bounded(1), endpoints...)
		consistenthash.Pass(time.Second)
		c.Idle(policytest.Addr(0)) // begins a pause
		for i := 1; i < n-1; i++ {
			c.Idle(policytest.Addr(i))
		}
		ctx := consistenthash.WithKey(t.Context(), "hot")
		waiting := 0
		for range 50 {
			picked, err := c.Pick(ctx)
			if err != nil {
				waiting++
				continue
			}
			require.Equal(t, policytest.Addr(n-1), fmt.Sprint(picked.SubConn))
		}
		require.Equal(t, 50-8, waiting, "8 is the least bound")
		c.Ready(policytest.Addr(0))
		consistenthash.Pass(time.Second)
		at := map[string]int{policytest.Addr(n - 1): 8}
		for range 30 {
			at[policytest.Begin(t, c.Picker(), ctx).Addr]++
		}
		require.LessOrEqual(t, at[policytest.Addr(0)], 19, "half of 38")
		require.LessOrEqual(t, at[policytest.Addr(n-1)], 19)
	})
}

// A zone or a network that is gone is often a run of addresses: whoever comes
// next must not inherit it all.
func TestOwners_TheKeysOfARunThatIsAwayScatter(t *testing.T) {
	t.Parallel()
	const n, up = 1000, 10
	list := policytest.Alike(n)
	c := balancertest.NewChannel(t, consistenthash.Name, "")
	require.NoError(t, c.Update(list...))
	for _, e := range list[n-up:] {
		c.Ready(e.Addresses[0].Addr)
	}
	var counts map[string]int
	require.Eventually(t, func() bool { // with the pause between two pickers
		counts = make(map[string]int)
		for _, addr := range owners(t, c.Picker()) {
			counts[addr]++
		}
		return len(counts) == up
	}, 10*time.Second, time.Millisecond)
	for addr, got := range counts { // 150 each, and six σ
		require.InDeltaf(t, len(someKeys)/up, got, 75, "%s", addr)
	}
}
