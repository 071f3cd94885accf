package consistenthash

import (
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/steelyard-go/steelyard/balancers"
)

func TestTables_TheOldOneServesWhileTheNewOneIsBuilt(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, s *site) {
		members := fleet(10, 1)
		s.list(members)
		require.Equal(t, members, s.list(without(members, 3)))
		Pass(settle + s.takes - 1)
		require.Equal(t, members, s.list(without(members, 3)))
		require.Zero(t, s.asked())
		Pass(1)
		require.Equal(t, 1, s.asked())
		require.Equal(t, without(members, 3), s.list(without(members, 3)))
		require.Len(t, s.builds(), 2)
	})
}

func TestTables_TheOldOneIsOfTheBackendsThatAreStillThere(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, s *site) {
		members := fleet(5, 1)
		s.list(members)
		s.list(slices.Concat(members[:1], []member{{"10.1.000.001:0", 1}}, members[2:4], []member{{"z", 7}}))
		_, serving := s.serve(5)
		now := s.backends()
		require.Equal(t, []balancers.Backend{now[0], {}, now[2], now[3], {}}, serving)
	})
}

func TestTables_ABurstOfChangesBuildsOnce(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, s *site) {
		first, last := fleet(100, 1), []member(nil)
		s.list(first)
		for i := range 100 {
			last = fleet(101+i, 1)
			require.Equal(t, first, s.list(last))
			Pass(settle / 101)
		}
		Pass(Ages)
		require.Equal(t, last, s.list(last))
		require.Len(t, s.builds(), 2)
		require.Equal(t, 1, s.asked())
	})
}

// Each table is made out of the one that serves.
func TestTables_AreUpdated(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, s *site) {
		for n := 10; n < 13; n++ {
			s.list(fleet(n, 1))
			Pass(Ages)
		}
		builds := s.builds()
		require.Len(t, builds, 3)
		require.Nil(t, builds[0].former)
		for i, b := range builds[1:] {
			require.Equal(t, fleet(10+i, 1), b.former.members)
			require.Equal(t, b.former.members, s.built[b.former.table])
		}
	})
}

// Where the list changes without end each table is late when it is built. It
// serves all the same, though of a fleet where some leave and come back it lacks
// some; and tables are built a fifth of the time, no more.
func TestTables_ConstantChangesGetThrough(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, s *site) {
		members := fleet(20, 1)
		s.list(members)
		tables := make(map[uint32]bool) // by a weight
		for i := range 1000 {
			changed := slices.Clone(members)
			changed[0].weight = uint32(1 + i)
			tables[s.list(without(changed, 1+i%19))[0].weight] = true
			Pass(time.Millisecond)
		}
		const most = 1000/50 + 1
		require.Greater(t, len(tables), most*3/4)
		require.LessOrEqual(t, len(s.builds()), 1+most)
	})
}

// A list that was wrong for a moment must not serve on once the right one is
// back, even if that is not the old one to a member.
func TestTables_AGlitchDoesNotServe(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		left   int // of 20, in the glitch
		serves bool
	}{{1, false}, {17, false}, {18, true}} {
		inBubble(t, func(t *testing.T, s *site) {
			s.list(fleet(20, 1))
			s.list(fleet(tc.left, 1))
			Pass(settle + s.takes/2)
			back := fleet(21, 1)
			s.list(back)
			Pass(s.takes)
			require.Equal(t, tc.serves, len(s.list(back)) == tc.left, "%d were left", tc.left)
			Pass(restCost*s.takes + s.takes)
			require.Equal(t, back, s.list(back))
		})
	}
}

func TestTables_TheSameListBuildsNothing(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, s *site) {
		for _, n := range []int{10, 11} {
			for range 10 {
				s.list(fleet(n, 1))
			}
			Pass(Ages)
			for range 10 {
				s.list(fleet(n, 1))
			}
			Pass(Ages)
		}
		require.Len(t, s.builds(), 2)
	})
}

// Whether the rebuild that is asked for comes soon or late.
func TestTables_TheSameListWhileItsTableIsBuiltBuildsNoOther(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, s *site) {
		s.rebuild = func() {}
		s.list(fleet(10, 1))
		s.list(fleet(11, 1))
		Pass(settle + s.takes/2)
		s.list(fleet(11, 1))
		Pass(Ages)
		require.Len(t, s.builds(), 2)
	})
}

func TestTables_AnOldListThatIsBackKeepsItsTable(t *testing.T) {
	t.Parallel()
	for _, begun := range []int{1, 2} { // back before the other build, or while it goes on
		inBubble(t, func(t *testing.T, s *site) {
			s.list(fleet(10, 1))
			s.list(fleet(11, 1))
			if begun == 2 {
				Pass(settle + s.takes/2)
			}
			require.Equal(t, fleet(10, 1), s.list(fleet(10, 1)))
			Pass(Ages)
			require.Equal(t, fleet(10, 1), s.list(fleet(10, 1)))
			require.Len(t, s.builds(), begun)
		})
	}
}

// The rest depends on what the build took, and neither on how long the channel's
// lock was held nor, beyond its bound, on how slow the machine is.
func TestTables_RestsAfterEachTable(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	for _, tc := range []struct{ takes, waits, rest time.Duration }{
		{takes: 10 * ms, rest: 40 * ms},
		{takes: 20 * ms, waits: 70 * ms, rest: 80 * ms},
		{takes: 20 * ms, waits: Ages, rest: Ages},
		{takes: Ages, rest: 100 * ms},
	} {
		inBubble(t, func(t *testing.T, s *site) {
			s.takes = tc.takes
			s.rebuild = func() { s.pass(tc.waits) }
			s.list(fleet(10, 1))
			s.list(fleet(11, 1))
			Pass(settle + s.takes)
			built := time.Now()
			s.list(fleet(12, 1))
			Pass(2 * Ages)
			require.Len(t, s.builds(), 3)
			require.Equal(t, tc.rest, s.builds()[2].at.Sub(built), "%+v", tc)
		})
	}
}

// With most backends new the table leaves the calls of all to a few, or to none.
func TestTables_ATableOfFewDoesNotRest(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		stay  int // of 10
		rests bool
	}{{0, false}, {4, false}, {5, true}} {
		inBubble(t, func(t *testing.T, s *site) {
			members := fleet(10, 1)
			s.list(members)
			Pass(Ages)
			s.list(without(members, 9))
			Pass(settle + s.takes)
			s.list(members)
			replaced := slices.Clone(members)
			for i := tc.stay; i < len(replaced); i++ {
				replaced[i].addr += "0"
			}
			s.list(replaced)
			synctest.Wait()
			require.Equal(t, tc.rests, len(s.builds()) == 2, "%d stay", tc.stay)
			Pass(Ages)
			require.Equal(t, replaced, s.list(replaced))
		})
	}
}

// Backends that do not take calls yet are no reason for haste.
func TestTables_ATableOfFewWaitsForConnections(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, s *site) {
		s.list(fleet(2, 1))
		s.rebuild = func() {}
		s.listed = backendsOf(fleet(20, 1))
		s.serve(4)
		synctest.Wait()
		require.Len(t, s.builds(), 1)
		s.serve(5)
		synctest.Wait()
		require.Len(t, s.builds(), 2)
	})
}

func TestTables_AClosedChannelEndsTheBuild(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, s *site) {
		s.list(fleet(10, 1))
		s.list(fleet(11, 1))
		Pass(settle + s.takes/2)
		s.close()
		Pass(Ages)
		require.Equal(t, fleet(10, 1), s.list(fleet(10, 1)))
		require.Zero(t, s.asked())
	})
}

func TestTables_AClosedChannelEndsTheRest(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, s *site) {
		s.list(fleet(10, 1))
		s.list(fleet(11, 1))
		Pass(settle + s.takes)
		s.list(fleet(12, 1))
		s.close()
		Pass(Ages)
		require.Len(t, s.builds(), 2)
	})
}

// Whatever lists came before, the table is that of the last one.
func FuzzTables_History(f *testing.F) {
	for _, changes := range Few(1, [][]byte{{1, 150, 200}, {1, 2, 3}, {0, 0, 200, 0}}) {
		f.Add(changes, uint64(1))
	}
	f.Fuzz(func(t *testing.T, changes []byte, seed uint64) {
		if len(changes) > 4 {
			return
		}
		synctest.Test(t, func(t *testing.T) { // where a rest takes no time
			random := rand.New(rand.NewPCG(seed, 3))
			ctx, closeChannel := context.WithCancel(t.Context())
			defer closeChannel()
			rebuild := make(chan struct{}, 10)
			ts, members := &tables{build: updated}, fleet(5, 1, 2)
			list := func() *table {
				serving, _ := ts.serving(balancers.Snapshot{Members: backendsOf(members), Context: ctx, Rebuild: func() { rebuild <- struct{}{} }})
				return serving
			}
			list()
			for _, change := range changes {
				switch i := random.IntN(len(members)); {
				case change < 100 && len(members) > 1:
					members = without(members, i)
				case change < 200:
					members = sorted(append(slices.Clone(members), member{fmt.Sprint("new", random.Uint64()), 1 + uint32(change)}))
				default:
					members = slices.Clone(members)
					members[i].weight += uint32(change)
				}
				for want := build(members); !reflect.DeepEqual(want, list()); { // or hang
					<-rebuild
				}
			}
		})
	})
}
