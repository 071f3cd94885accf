package consistenthash

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// A call without a key gets a random hash. With the table as it is that is a draw
// by the members' slots: χ² stays below what chance exceeds once in a hundred.
func TestTable_RandomHashesGoToMembersByTheirShares(t *testing.T) {
	t.Parallel()
	for _, tc := range Few(1, []struct {
		weights []uint32
		n       int
		limit   float64
	}{{[]uint32{1, 2, 4}, 3, 9.21}, {[]uint32{1}, 10, 21.67}, {[]uint32{1, 1000, 30, 300, 7}, 10, 21.67}}) {
		members, random, total := fleet(tc.n, tc.weights...), rand.New(rand.NewPCG(51, 52)), 0.0
		table := build(members)
		const draws = 300_000
		counts := make([]float64, tc.n)
		for range draws {
			owner, _ := table.firstTwo(random.Uint64())
			counts[owner]++
		}
		for _, m := range members {
			total += float64(m.weight)
		}
		chi2 := 0.0
		for i, share := range sharesOf(table, members) {
			want := draws * float64(members[i].weight) / total
			require.InEpsilonf(t, want, counts[i], 0.05+6/(1+want/100), "%v of %v", members[i], tc.weights)
			want *= share
			chi2 += (counts[i] - want) * (counts[i] - want) / want
		}
		require.Less(t, chi2, tc.limit, "%v: %v", tc.weights, counts)
	}
}

// displaced is how large a part of the keys, at most, moves between members that
// stay when one of eight or fewer leaves: those that the limits keep, or kept,
// from the member that they would go to without limits. Chance gives a member
// more than its limit only where its share is small, so they are few.
const displaced = 1.0 / 500

// Who leaves moves its own keys.
func FuzzTable_Removal(f *testing.F) {
	f.Add([]byte{1, 1, 1, 1, 1, 1}, uint64(1))
	f.Add([]byte{255, 10, 3, 80, 120}, uint64(2))
	f.Fuzz(func(t *testing.T, weights []byte, seed uint64) {
		if len(weights) < 2 || len(weights) > 8 {
			return
		}
		random, members, total := rand.New(rand.NewPCG(seed, 4)), make([]member, 0, len(weights)), 0.0
		for i, w := range weights {
			members = append(members, member{fmt.Sprint(random.Uint32(), "-", i), 1 + uint32(w)*uint32(w)*15})
			total += float64(members[i].weight)
		}
		members = sorted(members)
		before, gone := tableOf(members), random.IntN(len(members))
		own := sharesOf(before.table, members)[gone] * float64(members[gone].weight) / total
		moved := before.movedTo(tableOf(without(members, gone)))
		require.GreaterOrEqual(t, moved, own-1e-9)
		require.LessOrEqual(t, moved, own+displaced, "%v without %v", members, members[gone])
	})
}
