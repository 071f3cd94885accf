package consistenthash

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/steelyard-go/steelyard/internal/policytest"
)

// What a member has at the most is limited, what it has at the least is chance:
// three standard deviations less than its share, as that grows with its root.
func TestTable_SharesStayWithinTheirLimits(t *testing.T) {
	t.Parallel()
	for _, tc := range Few(1, []struct {
		weights []uint32
		sizes   []int
		peak    float64 // to average
	}{
		{[]uint32{1, 2, 4}, []int{3, 100, 10, 400, 1000}, 1.05},
		{[]uint32{1}, []int{1, 2, 3, 10, 100, 999, 1000}, 1.05},
		{[]uint32{1}, []int{1001, 10_000, 20_000}, 1.10},
		{[]uint32{1, 2, 4, 8}, []int{1000, 3000}, 1.10},
		{[]uint32{1, 2, 4}, []int{10_000}, 1.10},
		{[]uint32{1, 1000}, []int{2, 10}, 1.10},
		{[]uint32{1_000_000, 999_999, 500_000}, []int{100}, 1.05},
	}) {
		for _, n := range Few(2, tc.sizes) {
			members := fleet(n, tc.weights...)
			shares := sharesOf(build(members), members)
			total := 0.0
			for _, m := range members {
				total += float64(m.weight)
			}
			for i, m := range members {
				inSlots := slots * float64(m.weight) / total
				require.LessOrEqualf(t, shares[i], tc.peak+1e-9, "%d backends of %v, weight %d", n, tc.weights, m.weight)
				require.GreaterOrEqualf(t, shares[i], 1-3/math.Sqrt(inSlots), "%d backends of %v, weight %d", n, tc.weights, m.weight)
			}
		}
	}
}

// Where shares are many slots chance evens out, in each class of weight.
func TestTable_SharesAreProportional(t *testing.T) {
	t.Parallel()
	for _, weights := range Few(1, [][]uint32{{3, 1000, 77}, {1}, {1, 2}, {1, 2, 4, 8}, {1, 100}}) {
		members := fleet(4*len(weights), weights...)
		shares := sharesOf(build(members), members)
		for class, w := range weights {
			mean := 0.0
			for i := class; i < len(members); i += len(weights) {
				mean += shares[i] / 4
			}
			require.InDeltaf(t, 1, mean, 0.05, "weight %d of %v", w, weights)
		}
	}
}

// A share under a slot is a slot or none, by chance, and never more.
func TestTable_SharesUnderASlot(t *testing.T) {
	t.Parallel()
	light := fleet(20, 1)
	members := append(light, member{"heavy", 1_000_000}) // sorts last
	shares := sharesOf(build(members), members)
	require.Greater(t, shares[20], 0.999)
	for _, share := range shares[:20] {
		require.LessOrEqual(t, share, 8.0) // a slot is about so many
	}
}

// wholeSlots returns what a member may have whose share is a few slots, as a
// multiple of that.
func wholeSlots(share float64) float64 { return math.Floor(1.1*share+1) / share }

// The auction ends soon whatever the number of slots to a member, which is
// anything but clear where what is left of them is of no use to those who are left.
func TestTable_SharesOfAFewSlots(t *testing.T) {
	t.Parallel()
	if policytest.RaceEnabled {
		t.Skip("one goroutine, and fifteen times slower")
	}
	for _, n := range []int{43_600, 65_000, 100_000, 120_000, 135_000} {
		members, bids := fleet(n, 1), 0
		a := newAuction(members)
		for !a.over() {
			a.advance()
			bids += len(a.window)
			require.LessOrEqualf(t, bids, 8*slots, "%d backends", n)
		}
		share := float64(slots) / float64(n)
		got := a.table()
		require.LessOrEqual(t, slices.Max(sharesOf(got, members)), wholeSlots(share)+1e-9)
	}
}

func TestTable_MoreMembersThanSlots(t *testing.T) {
	t.Parallel()
	if policytest.RaceEnabled {
		t.Skip("one goroutine, and fifteen times slower")
	}
	const n = 200_000
	owned := make([]int, n)
	table := build(fleet(n, 1))
	for slot := range uint32(slots) {
		owner, next := table.choices.at(slot)
		owned[owner]++
		require.NotEqual(t, owner, next)
	}
	require.Equal(t, 1, slices.Max(owned))
	seen := make(map[uint32]bool)
	for m := range table.preferences(0) {
		seen[m] = true
	}
	require.Len(t, seen, n, "and those without one are found in the end")
}
