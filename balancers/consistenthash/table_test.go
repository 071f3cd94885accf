package consistenthash

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// fleet returns n members whose weights are dealt out in turn.
func fleet(n int, weights ...uint32) []member {
	members := make([]member, n)
	for i := range members {
		members[i] = member{fmt.Sprintf("10.1.%03d.%03d:443", i/256, i%256), weights[i%len(weights)]}
	}
	return members
}

func build(members []member) *table { return newTable(context.Background(), members) }

// divided returns how a slot is divided: the owner has the units below part.
func (t *table) divided(slot uint32) (owner, next, part uint32) {
	owner, next = t.choices.at(slot)
	if l := t.limits[owner]; l.slot == slot {
		return owner, next, l.part
	}
	return owner, next, unit
}

// sharesOf returns how many times its share of the weight each member has.
func sharesOf(t *table, members []member) []float64 {
	has, total := make([]float64, len(members)), 0.0
	for slot := range uint32(slots) {
		owner, next, part := t.divided(slot)
		has[owner] += float64(part)
		has[next] += float64(unit - part)
	}
	for _, m := range members {
		total += float64(m.weight)
	}
	for i, m := range members {
		has[i] *= total / float64(m.weight) / slots / unit
	}
	return has
}

// fleetTable is a table and its members.
type fleetTable struct {
	*table
	members []member
}

func tableOf(members []member) fleetTable { return fleetTable{build(members), members} }

// movedTo returns the part of the keys whose owner another table changes.
func (t fleetTable) movedTo(other fleetTable) float64 {
	sum := uint64(0)
	for slot := range uint32(slots) {
		owner1, next1, part1 := t.divided(slot)
		owner2, next2, part2 := other.divided(slot)
		between1, between2 := next1, owner2
		if part1 > part2 {
			between1, between2 = owner1, next2
		}
		low, high := min(part1, part2), max(part1, part2)
		for _, piece := range []struct{ from, to, units uint32 }{
			{owner1, owner2, low}, {between1, between2, high - low}, {next1, next2, unit - high},
		} {
			if t.members[piece.from].addr != other.members[piece.to].addr {
				sum += uint64(piece.units)
			}
		}
	}
	return float64(sum) / slots / unit
}

func sorted(members []member) []member {
	return slices.SortedFunc(slices.Values(members), func(a, b member) int { return strings.Compare(a.addr, b.addr) })
}

func without(members []member, i int) []member {
	return slices.Delete(slices.Clone(members), i, i+1)
}

func TestTable_SharesStayWithinTheirLimits(t *testing.T) {
	t.Parallel()
	for _, tc := range Few(1, []struct {
		weights []uint32
		sizes   []int
		peak    float64 // to average
	}{
		{[]uint32{1, 2, 4}, []int{3, 100, 10, 400}, 1.05},
		{[]uint32{1}, []int{1, 2, 3, 10, 100, 999, 1000}, 1.05},
		{[]uint32{1}, []int{1001, 10_000}, 1.10},
		{[]uint32{1, 2, 4, 8}, []int{1000, 3000}, 1.10},
		{[]uint32{1, 1000}, []int{2, 10}, 1.10},
		{[]uint32{1_000_000, 999_999, 500_000}, []int{100}, 1.05},
	}) {
		for _, n := range Few(2, tc.sizes) {
			members := fleet(n, tc.weights...)
			shares := sharesOf(build(members), members)
			for i, m := range members {
				require.LessOrEqualf(t, shares[i], tc.peak+1e-9, "%d backends of %v, weight %d", n, tc.weights, m.weight)
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

// No two members' preferences may have to do with one another.
func TestTable_TheKeysOfEachAreSharedByAllOthers(t *testing.T) {
	t.Parallel()
	const n = 10
	table, heirs := build(fleet(n, 1)), [n][n]float64{}
	for slot := range uint32(slots) {
		owner, next := table.choices.at(slot)
		heirs[owner][next]++
	}
	for owner := range heirs {
		for next, got := range heirs[owner] {
			if next == owner {
				require.Zero(t, got)
				continue
			}
			require.InEpsilonf(t, float64(slots)/n/(n-1), got, 0.12, "%d to %d", owner, next) // one σ is 38 slots of 1456
		}
	}
}

func TestTable_ChangesMoveLittleMoreThanTheyMust(t *testing.T) {
	t.Parallel()
	for _, tc := range Few(1, []struct {
		n, trials                 int
		removed, added, reweighed float64 // bounds, as multiples of the least that can move
	}{
		{100, 3, 1.1, 1.1, 1.2},
		{3, 3, 1.1, 1.1, 1.2},
		{10, 3, 1.1, 1.1, 1.2},
		{1000, 3, 2, 2, 2},
		{10_000, 3, 2.3, 2.3, 2.3}, // 2 on average, of a few trials sometimes more
	}) {
		t.Run(fmt.Sprint(tc.n), func(t *testing.T) {
			before, n := tableOf(fleet(tc.n, 2)), float64(tc.n)
			removed, added, reweighed := 0.0, 0.0, 0.0
			for trial := range Few(1, make([]struct{}, tc.trials)) {
				i := (2*trial + 1) * tc.n / (2 * tc.trials)
				removed += before.movedTo(tableOf(without(before.members, i))) * n
				newcomer := append(slices.Clone(before.members), member{fmt.Sprint("10.2.0.", i), 2})
				added += before.movedTo(tableOf(newcomer)) * (n + 1)
				halved := slices.Clone(before.members)
				halved[i].weight = 1
				reweighed += before.movedTo(tableOf(halved)) / (1/n - 1/(2*n-1))
			}
			trials := float64(len(Few(1, make([]struct{}, tc.trials))))
			t.Logf("moved ÷ least: removed %.3f, added %.3f, halved %.3f", removed/trials, added/trials, reweighed/trials)
			require.LessOrEqual(t, removed/trials, tc.removed)
			require.LessOrEqual(t, added/trials, tc.added)
			require.LessOrEqual(t, reweighed/trials, tc.reweighed)
		})
	}
}

// There is no size at which one backend more moves much more than its own keys.
func TestTable_NoSizeIsACliff(t *testing.T) {
	t.Parallel()
	for _, from := range Few(1, []int{1, 63, 255, 655, 1000, 1310}) {
		before := tableOf(fleet(from, 1))
		for n := from + 1; n < from+5; n++ {
			after := tableOf(fleet(n, 1))
			require.Lessf(t, before.movedTo(after)*float64(n), 3.5, "from %d to %d", n-1, n)
			before = after
		}
	}
}

// A backend that is down and then leaves the list moves few keys the second time.
func TestTable_NextChoicesAreMostlyTheLaterOwners(t *testing.T) {
	t.Parallel()
	for _, tc := range Few(1, []struct {
		n    int
		most float64
	}{{10, 0.001}, {3, 0.001}, {100, 0.05}, {300, 0.3}}) {
		n, most := tc.n, tc.most
		members, gone := fleet(n, 1), uint32(n/2)
		before, after := build(members), build(without(members, int(gone)))
		others := 0.0
		for i := range uint64(slots) {
			hash := i << (64 - slotBits)
			owner, next := before.firstTwo(hash)
			if owner != gone {
				continue
			}
			if heir, _ := after.firstTwo(hash); without(members, int(gone))[heir] != members[next] {
				others++
			}
		}
		require.LessOrEqualf(t, others*float64(n)/slots, most, "%d backends", n)
	}
}

func TestTable_OnlyRatiosOfWeightsCount(t *testing.T) {
	t.Parallel()
	for _, weights := range Few(1, [][]uint32{{1, 2, 3}, {1}, {7, 1}}) {
		want := build(fleet(30, weights...))
		for _, scale := range Few(1, []uint32{99_991, 2, 3}) {
			scaled := slices.Clone(weights)
			for i := range scaled {
				scaled[i] *= scale
			}
			require.Equal(t, want, build(fleet(30, scaled...)), "%v", scaled)
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

func TestTable_MoreMembersThanSlots(t *testing.T) {
	t.Parallel()
	if RaceEnabled {
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

func TestTable_EachPreferenceListEndsWithEveryMember(t *testing.T) {
	t.Parallel()
	for _, n := range Few(2, []int{1, 10, 2, 1000}) {
		table := build(fleet(n, 1, 1000))
		for _, hash := range []uint64{0, 1, 1 << 63, ^uint64(0)} {
			list := slices.Collect(table.preferences(hash))[2+detours:]
			slices.Sort(list)
			require.Len(t, list, n)
			require.Len(t, slices.Compact(list), n, "each once")
		}
	}
}

func TestTable_ACancelledBuildStops(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.Nil(t, newTable(ctx, fleet(100, 1)))
}

func TestBidder_BidsOnceForEachSlotInOrderOfTime(t *testing.T) {
	t.Parallel()
	times := bidTimes()
	for _, m := range []member{{"a", 1}, {"b", 1_000_000}, {"", 77}} {
		b, seen, last := newBidder(times, 3, uint64(m.weight), m.addr), make([]bool, slots), uint64(0)
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
			slot := total / float64(members[i].weight) / slots // as a multiple of the share
			require.LessOrEqualf(t, share, max(1.1, slot)+1e-9, "%v among %v", members[i], members)
		}
	})
}
