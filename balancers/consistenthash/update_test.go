package consistenthash

import (
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/steelyard-go/steelyard/internal/policytest"
)

// changed returns the members after some of them left, came or changed their weight.
func changed(random *rand.Rand, members []member, changes int, weights []uint32) []member {
	members = slices.Clone(members)
	for range changes {
		i, weight := random.IntN(len(members)), weights[random.IntN(len(weights))]
		switch random.IntN(3) {
		case 0:
			if len(members) > 1 {
				members = without(members, i)
			}
		case 1:
			members = sorted(append(members, member{fmt.Sprint("10.1.", random.Uint64()), weight}))
		default:
			members[i].weight = weight
		}
	}
	return members
}

// requireSame compares tables, whose differences would take too long to tell.
func requireSame(t *testing.T, want, got *table, before, after []member) {
	t.Helper()
	require.True(t, reflect.DeepEqual(want, got), "from %d members to %d", len(before), len(after))
}

// requireUpdates checks a chain of updates, each of which begins with the table of the
// one before, and returns how many of them were not built from the beginning.
func requireUpdates(t *testing.T, random *rand.Rand, members []member, lists, most int, weights []uint32) (updates int) {
	t.Helper()
	former := &membership{members, build(members)}
	for range lists {
		next := changed(random, former.members, 1+random.IntN(most), weights)
		want := build(next)
		if got := heldAgain(t.Context(), former, next); got != nil {
			updates++
			requireSame(t, want, got, former.members, next)
			want = got
		}
		requireSame(t, want, updated(t.Context(), former, next), former.members, next)
		former = &membership{next, want}
	}
	return updates
}

func TestUpdate_MakesTheTableThatABuildMakes(t *testing.T) {
	t.Parallel()
	for _, tc := range Few(2, []struct {
		n, lists, most int
		weights        []uint32
	}{
		{40, 3, 1, []uint32{1, 2, 4}},
		{100, 3, 1, []uint32{1, 1000}},
		{1, 10, 1, []uint32{1, 2}},
		{20, 30, 2, []uint32{1}},
		{30, 30, 1, []uint32{1, 1000}},
		{50, 30, 2, []uint32{1, 2, 4}},
		{100, 20, 3, []uint32{1, 2, 4}},
		{100, 20, 3, []uint32{1, 1_000_000}},
		{300, 30, 3, []uint32{1, 1000}},
		{1000, 20, 3, []uint32{1}},
		{1000, 20, 3, []uint32{1, 2, 4}},
		{1979, 6, 2, []uint32{1}},
		{10_000, 6, 3, []uint32{1}},
		{10_000, 6, 3, []uint32{1, 2, 4}},
		{30_000, 3, 1, []uint32{1, 2, 4}},
		{32_768, 3, 1, []uint32{1}}, // with shares of whole slots, and less
		{66_000, 2, 1, []uint32{1}},
	}) {
		t.Run(fmt.Sprint(tc.n, tc.weights), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(uint64(tc.n), 71))
			updates := requireUpdates(t, random, fleet(tc.n, tc.weights...), tc.lists, tc.most, tc.weights)
			t.Logf("%d of %d updated", updates, tc.lists)
			if tc.n >= 50 && tc.n <= 10_000 && !policytest.RaceEnabled {
				require.Greater(t, updates, tc.lists/3)
			}
		})
	}
}

// Whatever the list was and becomes.
func FuzzUpdate(f *testing.F) {
	for _, n := range Few(1, []uint16{40, 2, 21, 150, 700}) {
		f.Add(n, uint8(1), uint8(2), uint64(n))
		f.Add(n, uint8(200), uint8(1), uint64(n))
	}
	f.Fuzz(func(t *testing.T, n uint16, weight, most uint8, seed uint64) {
		if n == 0 || n > 2000 || weight == 0 || most == 0 {
			return
		}
		weights := []uint32{1, uint32(weight) * uint32(weight), uint32(weight)}
		requireUpdates(t, rand.New(rand.NewPCG(seed, 5)), fleet(int(n), weights...), 2, int(most), weights)
	})
}

// Those whose leaving changes the most: they own slots that are divided.
func TestUpdate_WithoutTheOwnersOfDividedSlots(t *testing.T) {
	t.Parallel()
	for _, n := range Few(1, []int{300, 1000, 3000}) {
		members := fleet(n, 1, 2, 4)
		former, left := &membership{members, build(members)}, 0
		for i, l := range former.table.limits {
			if l.slot == nobody || left == len(Few(1, make([]struct{}, 8))) {
				continue
			}
			left++
			got := heldAgain(t.Context(), former, without(members, i))
			require.NotNil(t, got)
			requireSame(t, build(without(members, i)), got, members, without(members, i))
		}
		require.Positive(t, left)
	}
}

// What an update cannot do, or would do more slowly, is built from the beginning.
func TestUpdate_IsOffWhereABuildIsBetter(t *testing.T) {
	t.Parallel()
	members := fleet(100, 2)
	former := &membership{members, build(members)}
	heavier, doubled := slices.Clone(members), slices.Clone(members)
	heavier[7].weight = 3
	for i := range doubled {
		doubled[i].weight = 4
	}
	for name, next := range map[string][]member{
		"half are left":              members[:50],
		"six are new":                sorted(append(fleet(106, 2)[100:], members...)),
		"of no common divisor":       heavier,
		"alike, of another":          doubled,
		"all are others":             fleet(300, 2)[200:],
		"one is left, and is others": {{"z", 2}},
	} {
		require.Nil(t, heldAgain(t.Context(), former, next), name)
		requireSame(t, build(next), updated(t.Context(), former, next), members, next)
	}
}

// forced updates a table at any cost, with what is presumed to be ample room. It
// returns nil if that was wrong.
func forced(t *testing.T, former *membership, members []member, margin int64) *table {
	t.Helper()
	u := newUpdate(former, members)
	u.budget, u.margin = 1<<30, margin
	u.run(t.Context())
	if u.off() {
		return nil
	}
	return u.table()
}

// Lists of a few members have what is rare in long ones: slots without a next
// choice, and members that own all.
func TestUpdate_OfFewMembers(t *testing.T) {
	t.Parallel()
	random, updates := rand.New(rand.NewPCG(81, 82)), 0
	for _, weights := range Few(1, [][]uint32{{1, 1000}, {1}, {1, 2}}) {
		former := &membership{fleet(2, weights...), build(fleet(2, weights...))}
		for range 2 * len(Few(4, make([]struct{}, 25))) {
			next := changed(random, former.members, 1, weights)
			for len(next) > 4 {
				next = without(next, 0)
			}
			want := build(next)
			if divisorOf(next) == divisorOf(former.members) {
				if got := forced(t, former, next, 2*unit); got != nil {
					requireSame(t, want, got, former.members, next)
					updates++
				}
			}
			former = &membership{next, want}
		}
	}
	require.Positive(t, updates)
}

// A presumption that is wrong must not show in the table.
func TestUpdate_IsOffWhereRoomIsNotAsAmpleAsPresumed(t *testing.T) {
	t.Parallel()
	for _, n := range Few(1, []int{300, 1000, 3000}) {
		members := fleet(n, 1, 2, 4)
		former, off := &membership{members, build(members)}, 0
		for _, margin := range []int64{-slots * unit, unit / 2, unit, 3 * unit / 2} {
			for i := range Few(1, make([]struct{}, 3)) {
				next := without(members, (2*i+1)*n/6)
				if got := forced(t, former, next, margin); got != nil {
					requireSame(t, build(next), got, members, next)
				} else {
					off++
				}
			}
		}
		require.Positive(t, off)
	}
}

func TestUpdate_ABidThatComesTwiceIsRefusedOnce(t *testing.T) {
	t.Parallel()
	members := fleet(3, 1)
	u := newUpdate(&membership{members, build(members)}, members)
	u.won[7], u.limits[0], u.room[1] = [2]uint32{0, 0}, limit{slot: 7, part: 1}, 1
	for range 2 {
		u.deal(bid{time: 5, member: 1, slot: 7})
	}
	require.Equal(t, []bid{{time: 5, member: 1, slot: 7}}, u.refused)
}

func TestUpdate_ACancelledOneEnds(t *testing.T) {
	t.Parallel()
	members := fleet(100, 1)
	former := &membership{members, build(members)}
	ctx, cancel := context.WithCancel(t.Context())
	require.NotNil(t, heldAgain(ctx, former, without(members, 3)))
	cancel()
	require.Nil(t, heldAgain(ctx, former, without(members, 3)))
	require.Nil(t, updated(ctx, former, without(members, 3)))
}

func BenchmarkTable(b *testing.B) {
	for _, n := range []int{100, 1000, 10_000} {
		members := fleet(n, 1)
		with := &membership{members, build(members)}
		one := &membership{without(members, n/2), build(without(members, n/2))}
		for _, bench := range []struct {
			name   string
			former *membership
			next   *membership
		}{{"build", nil, with}, {"update=add", one, with}, {"update=remove", with, one}} {
			b.Run(fmt.Sprintf("%s/backends=%d", bench.name, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					updated(b.Context(), bench.former, bench.next.members)
				}
			})
		}
	}
}
