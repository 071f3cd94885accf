package consistenthash

import (
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/resolver"

	"github.com/steelyard-go/steelyard/attrs"
	"github.com/steelyard-go/steelyard/balancers"
	"github.com/steelyard-go/steelyard/balancertest"
)

// site is where tables are built by hand: a build that was not the first waits
// until the test lets it go on.
type site struct {
	tables
	ctx      context.Context
	begun    [][]member    // the lists that builds were begun for
	goOn     chan struct{} // a build takes one
	rebuilds int           // asked for
}

func newSite(ctx context.Context) *site {
	s := &site{ctx: ctx, goOn: make(chan struct{})}
	s.build = func(ctx context.Context, members []member) *table {
		s.begun = append(s.begun, members)
		if len(s.begun) > 1 {
			select {
			case <-s.goOn:
			case <-ctx.Done():
			}
		}
		return newTable(ctx, members)
	}
	return s
}

// list makes the members those of the channel and returns the table that serves.
func (s *site) list(members []member) *table {
	t, _ := s.serving(balancers.Snapshot{Members: backendsOf(members), Context: s.ctx, Rebuild: func() { s.rebuilds++ }})
	synctest.Wait()
	return t
}

// letGo lets a stuck build finish.
func (s *site) letGo() {
	s.goOn <- struct{}{}
	synctest.Wait()
}

func backendsOf(members []member) []balancers.Backend {
	backends := make([]balancers.Backend, len(members))
	for i, m := range members {
		backends[i] = balancers.Backend{
			SubConn: balancertest.NewSubConn(m.addr),
			Address: resolver.Address{Addr: m.addr}, Attrs: attrs.Attrs{Weight: m.weight},
		}
	}
	return backends
}

// inBubble runs test with a site and closes the channel in the end.
func inBubble(t *testing.T, test func(t *testing.T, s *site)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, closeChannel := context.WithCancel(t.Context())
		test(t, newSite(ctx))
		closeChannel() // the bubble fails if a goroutine stays behind
	})
}

func TestTables_TheOldOneServesWhileTheNewOneIsBuilt(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, s *site) {
		members := fleet(10, 1)
		old := s.list(members)
		require.Same(t, old, s.list(without(members, 3)))
		require.Zero(t, s.rebuilds)
		s.letGo()
		require.Equal(t, 1, s.rebuilds)
		require.Equal(t, build(without(members, 3)), s.list(without(members, 3)))
		require.Len(t, s.begun, 2)
	})
}

func TestTables_TheOldOneIsOfTheBackendsThatAreStillThere(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, s *site) {
		members := fleet(5, 1)
		s.list(members)
		now := slices.Concat(members[:1], []member{{"10.1.000.001:0", 1}}, members[2:4], []member{{"z", 7}})
		backends := backendsOf(now)
		_, serving := s.serving(balancers.Snapshot{Members: backends, Context: s.ctx, Rebuild: func() {}})
		require.Equal(t, []balancers.Backend{backends[0], {}, backends[2], backends[3], {}}, serving)
	})
}

func TestTables_ABurstOfChangesBuildsTheFirstAndTheLast(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, s *site) {
		first := s.list(fleet(10, 1))
		var last []member
		for i := range 100 {
			last = fleet(20+i, 1)
			require.Same(t, first, s.list(last))
		}
		require.Len(t, s.begun, 2)
		s.letGo()
		require.Equal(t, build(fleet(20, 1)), s.list(last), "what is done serves, though it is not the last")
		s.letGo()
		require.Equal(t, build(last), s.list(last))
		require.Len(t, s.begun, 3)
		require.Equal(t, 2, s.rebuilds)
	})
}

func TestTables_TheSameListBuildsNothing(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, s *site) {
		first := s.list(fleet(10, 1))
		for range 10 {
			require.Same(t, first, s.list(fleet(10, 1)))
		}
		require.Len(t, s.begun, 1)
		for range 10 {
			s.list(fleet(11, 1))
		}
		require.Len(t, s.begun, 2)
		s.letGo()
		s.list(fleet(11, 1))
		require.Len(t, s.begun, 2)
	})
}

func TestTables_AnOldListThatIsBackKeepsItsTable(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, s *site) {
		first := s.list(fleet(10, 1))
		s.list(fleet(11, 1))
		require.Same(t, first, s.list(fleet(10, 1)))
		s.letGo()
		require.Same(t, first, s.list(fleet(10, 1)))
	})
}

func TestTables_AClosedChannelEndsTheBuild(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, closeChannel := context.WithCancel(t.Context())
		s := newSite(ctx)
		first := s.list(fleet(10, 1))
		s.list(fleet(11, 1))
		closeChannel()
		synctest.Wait()
		require.Same(t, first, s.list(fleet(10, 1)))
		require.Zero(t, s.rebuilds)
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
			ts, members := &tables{build: newTable}, fleet(5, 1, 2)
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
