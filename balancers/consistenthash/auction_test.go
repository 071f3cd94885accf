package consistenthash

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBidder_BidsOnceForEachSlotInOrderOfTime(t *testing.T) {
	t.Parallel()
	for _, m := range []member{{"a", 1}, {"b", 1_000_000}, {"", 77}} {
		b, seen, last := newBidder(3, m.weight, m.addr), make([]bool, slots), uint64(0)
		for rank := range slots {
			next := b.next()
			if next.time < last || next.member != 3 || seen[next.slot] {
				t.Fatalf("%v: bid %d is %v, after one at %d", m, rank, next, last)
			}
			seen[next.slot], last = true, next.time
		}
		require.Equal(t, uint32(slots), b.rank)
	}
}

// inOneGo runs the auction with all bids at once, sorted by the library.
func inOneGo(members []member) *auction {
	a := newAuction(members)
	var bids []bid
	for _, b := range a.bidders {
		for b.rank < slots {
			bids = append(bids, b.next())
		}
	}
	slices.SortFunc(bids, func(x, y bid) int {
		if x.before(y) {
			return -1
		}
		return 1
	})
	for _, b := range bids {
		a.take(b)
	}
	return a
}

// The windows must not show in the result.
func FuzzTable(f *testing.F) {
	for _, weights := range Few(1, [][]byte{{9, 3, 80}, {1, 1, 1}, {1, 255}, {3, 3, 1, 200, 200, 9}}) {
		f.Add(weights, uint64(1))
	}
	f.Fuzz(func(t *testing.T, weights []byte, seed uint64) {
		if len(weights) == 0 || len(weights) > 8 {
			return
		}
		random, members := rand.New(rand.NewPCG(seed, 2)), make([]member, 0, len(weights))
		for i, w := range weights {
			members = append(members, member{fmt.Sprint(random.Uint32(), "-", i), 1 + uint32(w)*uint32(w)*15})
		}
		members = sorted(members)
		want, got := inOneGo(members), build(members)
		require.Equal(t, pack[uint8](want.won), got.choices)
		require.Equal(t, want.limits, got.limits)
		total := 0.0
		for _, m := range members {
			total += float64(m.weight)
		}
		for i, share := range sharesOf(got, members) {
			inSlots, most := slots*float64(members[i].weight)/total, 1.1
			if inSlots < 4 {
				most = wholeSlots(inSlots)
			}
			require.LessOrEqualf(t, share, most+1e-9, "%v among %v", members[i], members)
		}
	})
}
