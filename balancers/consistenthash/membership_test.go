package consistenthash_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/resolver"

	"github.com/steelyard-go/steelyard/attrs"
	"github.com/steelyard-go/steelyard/balancers/consistenthash"
	"github.com/steelyard-go/steelyard/balancertest"
	"github.com/steelyard-go/steelyard/internal/policytest"
)

var someKeys = keys(1500)

// owners returns where each of someKeys goes.
func owners(t *testing.T, picker balancer.Picker) map[string]string {
	t.Helper()
	m := make(map[string]string, len(someKeys))
	for _, key := range someKeys {
		m[key] = owner(t, picker, key)
	}
	return m
}

// ownersAmong returns the same for a picker whose membership is endpoints. It
// remembers: a table takes its time, and many tests ask for the same ones.
func ownersAmong(t *testing.T, endpoints []resolver.Endpoint) map[string]string {
	t.Helper()
	list := make([]string, len(endpoints))
	for i, e := range endpoints {
		list[i] = fmt.Sprint(e.Addresses[0].Addr, attrs.FromEndpoint(e).Weight)
	}
	name := fmt.Sprint(list)
	knownMu.Lock()
	defer knownMu.Unlock()
	if known[name] == nil {
		known[name] = owners(t, consistenthash.NewPickerBuilder(consistenthash.Config{}).Build(policytest.BuildInfo(endpoints...)))
	}
	return known[name]
}

var (
	knownMu sync.Mutex
	known   = make(map[string]map[string]string) // never modified but to add
)

// moved returns how many keys have another owner after than before.
func moved(before, after map[string]string) int {
	n := 0
	for key, addr := range before {
		if after[key] != addr {
			n++
		}
	}
	return n
}

// requireOnlyFrom checks that keys of addr moved, all of them, and no others.
func requireOnlyFrom(t *testing.T, addr string, before, after map[string]string) {
	t.Helper()
	for key, was := range before {
		if was == addr {
			require.NotEqualf(t, addr, after[key], "%s", key)
		} else {
			require.Equalf(t, was, after[key], "%s is not a key of %s", key, addr)
		}
	}
}

// requireOnlyTo checks that no key moved but to addr.
func requireOnlyTo(t *testing.T, addr string, before, after map[string]string) {
	t.Helper()
	for key, was := range before {
		if after[key] != addr {
			require.Equalf(t, was, after[key], "%s", key)
		}
	}
}

// forFleets runs test with memberships for which the promises are tested.
func forFleets(t *testing.T, test func(t *testing.T, endpoints []resolver.Endpoint)) {
	t.Helper()
	for _, weights := range consistenthash.Few(1, [][]uint32{
		{1, 2, 4, 1, 2, 4, 1, 2, 4, 5},
		{5, 5},
		slices.Repeat([]uint32{1}, 10),
		{1, 1000, 30, 30, 7, 7, 7},
		{1_000_000, 1_000_000, 500_000, 1},
	}) {
		t.Run(fmt.Sprint(weights), func(t *testing.T) { test(t, policytest.Endpoints(weights...)) })
	}
}

func TestOwners_EveryClientAgrees(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(21, 22))
	forFleets(t, func(t *testing.T, endpoints []resolver.Endpoint) {
		want := ownersAmong(t, endpoints)
		for range consistenthash.Few(1, []int{1, 2, 3}) {
			shuffled := slices.Clone(endpoints)
			random.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
			c := policytest.Channel(t, consistenthash.Name, "", shuffled...)
			require.Equal(t, want, owners(t, c.Picker()), "in whatever order the list and the connections come")
		}
	})
}

func TestOwners_StayAcrossRebuilds(t *testing.T) {
	t.Parallel()
	forFleets(t, func(t *testing.T, endpoints []resolver.Endpoint) {
		c := policytest.Channel(t, consistenthash.Name, "", endpoints...)
		want := owners(t, c.Picker())
		require.NoError(t, c.Update(endpoints...))
		require.Equal(t, want, owners(t, c.Picker()))

		zoned := slices.Clone(endpoints)
		for i, e := range endpoints {
			a := attrs.FromEndpoint(e)
			a.Zone, a.Labels = "b", map[string]string{"version": "2"}
			zoned[i] = attrs.Set(e, a)
		}
		require.NoError(t, c.Update(zoned...))
		require.Equal(t, want, owners(t, c.Picker()), "a zone or a label is no reason to move")
		require.NoError(t, c.Configure(`{"boundedLoadFactor":1000}`))
		require.Equal(t, want, owners(t, c.Picker()), "nor is a bound that nothing reaches")
		c.ResolverError(errors.New("gone"))
		require.Equal(t, want, owners(t, c.Picker()))
	})
}

// What the channel's list said before leaves no trace once the new table is
// there, not even in lists of the same length.
func TestOwners_FollowTheList(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := policytest.Channel(t, consistenthash.Name, "", policytest.Alike(20)...)
		lists := [][]resolver.Endpoint{policytest.Alike(5)}
		for _, weights := range [][]uint32{{1, 1, 9, 1, 1}, {9, 1, 1, 1, 1}, {4, 4, 4, 4, 4}, {1, 2}} {
			replaced := policytest.Endpoints(weights...)
			replaced[0] = balancertest.Endpoint(newcomer, attrs.Attrs{Weight: 2})
			lists = append(lists, policytest.Endpoints(weights...), replaced)
		}
		for i, endpoints := range consistenthash.Few(3, lists) {
			require.NoError(t, c.Update(endpoints...))
			for _, e := range endpoints {
				c.Ready(e.Addresses[0].Addr)
			}
			consistenthash.Pass(consistenthash.Ages)
			require.Equal(t, ownersAmong(t, endpoints), owners(t, c.Picker()), "list %d", i)
		}
	})
}

// A new list shows in the picks at once as far as it can: who has left gets no
// more calls, and nobody else's keys move until the new table is there.
func TestOwners_BeforeTheNewTableIsThere(t *testing.T) {
	t.Parallel()
	endpoints := policytest.Alike(10)
	synctest.Test(t, func(t *testing.T) {
		c := policytest.Channel(t, consistenthash.Name, "", endpoints...)
		before := owners(t, c.Picker())
		gone := endpoints[3].Addresses[0].Addr
		require.NoError(t, c.Update(slices.Delete(slices.Clone(endpoints), 3, 4)...))
		requireOnlyFrom(t, gone, before, owners(t, c.Picker()))
		consistenthash.Pass(consistenthash.Ages)
		requireOnlyFrom(t, gone, before, owners(t, c.Picker()))
	})
}

// The ways in which a backend can be away and yet in the list, and back.
var absences = []struct {
	name       string
	leave, ret func(t *testing.T, c *balancertest.Channel, i int, endpoints []resolver.Endpoint)
}{
	{"connection lost", idle, ready},
	{"connection failing", func(_ *testing.T, c *balancertest.Channel, i int, list []resolver.Endpoint) {
		c.Fail(nil, list[i].Addresses[0].Addr)
	}, ready},
	{"draining", func(t *testing.T, c *balancertest.Channel, i int, list []resolver.Endpoint) {
		require.NoError(t, c.Update(drain(list, i)...))
	}, func(t *testing.T, c *balancertest.Channel, _ int, list []resolver.Endpoint) {
		require.NoError(t, c.Update(list...))
	}},
}

func idle(_ *testing.T, c *balancertest.Channel, i int, list []resolver.Endpoint) {
	c.Idle(list[i].Addresses[0].Addr)
}

func ready(_ *testing.T, c *balancertest.Channel, i int, list []resolver.Endpoint) {
	c.Ready(list[i].Addresses[0].Addr)
}

// drain returns list with endpoints marked draining.
func drain(list []resolver.Endpoint, indices ...int) []resolver.Endpoint {
	list = slices.Clone(list)
	for _, i := range indices {
		a := attrs.FromEndpoint(list[i])
		a.Draining = true
		list[i] = attrs.Set(list[i], a)
	}
	return list
}

func TestOwners_ABackendThatIsAwayMovesItsOwnKeysAndGetsThemBack(t *testing.T) {
	t.Parallel()
	forFleets(t, func(t *testing.T, endpoints []resolver.Endpoint) {
		c := policytest.Channel(t, consistenthash.Name, "", endpoints...)
		before := owners(t, c.Picker())
		for _, absence := range absences {
			t.Run(absence.name, func(t *testing.T) {
				for i, e := range endpoints {
					absence.leave(t, c, i, endpoints)
					requireOnlyFrom(t, e.Addresses[0].Addr, before, owners(t, c.Picker()))
					absence.ret(t, c, i, endpoints)
					require.Equal(t, before, owners(t, c.Picker()))
				}
			})
		}
	})
}

// With each backend that leaves, only its keys move: down to the last one.
func TestOwners_OneAfterTheOtherLeaves(t *testing.T) {
	t.Parallel()
	forFleets(t, func(t *testing.T, endpoints []resolver.Endpoint) {
		c := policytest.Channel(t, consistenthash.Name, "", endpoints...)
		before := owners(t, c.Picker())
		for _, e := range endpoints[:len(endpoints)-1] {
			c.Idle(e.Addresses[0].Addr)
			after := owners(t, c.Picker())
			requireOnlyFrom(t, e.Addresses[0].Addr, before, after)
			before = after
		}
	})
}

// A client that never reached a backend agrees with the others on all keys but
// that backend's, and with all who cannot reach it on those too.
func TestOwners_ABackendThatWasNeverUpCountsAsAMember(t *testing.T) {
	t.Parallel()
	endpoints := policytest.Alike(10)
	want := owners(t, policytest.Channel(t, consistenthash.Name, "", endpoints...).Picker())
	c := balancertest.NewChannel(t, consistenthash.Name, "")
	require.NoError(t, c.Update(endpoints...))
	for _, e := range endpoints[1:] {
		c.Ready(e.Addresses[0].Addr)
	}
	got := owners(t, c.Picker())
	requireOnlyFrom(t, policytest.Addr(0), want, got)

	other := policytest.Channel(t, consistenthash.Name, "", endpoints...)
	other.Fail(nil, policytest.Addr(0))
	require.Equal(t, got, owners(t, other.Picker()))
}

func TestOwners_TheKeysOfABackendThatIsAwayScatter(t *testing.T) {
	t.Parallel()
	const n = 10
	c := policytest.Channel(t, consistenthash.Name, "", policytest.Alike(n)...)
	before := owners(t, c.Picker())
	c.Idle(policytest.Addr(0))
	after, heirs, total := owners(t, c.Picker()), make(map[string]int), 0
	for key, was := range before {
		if was == policytest.Addr(0) {
			heirs[after[key]]++
			total++
		}
	}
	require.Len(t, heirs, n-1, "every other backend takes some")
	for addr, got := range heirs {
		require.Lessf(t, got, total*3/(n-1), "%s takes %d of %d", addr, got, total)
	}
}

// However many are away, the others share the keys by weight.
func TestOwners_TheKeysOfManyThatAreAwayScatter(t *testing.T) {
	t.Parallel()
	const n = 40
	c := policytest.Channel(t, consistenthash.Name, "", policytest.Alike(n)...)
	for i := range n {
		if i%4 != 0 {
			c.Idle(policytest.Addr(i))
		}
	}
	counts := make(map[string]int)
	for _, addr := range owners(t, c.Picker()) {
		counts[addr]++
	}
	require.Len(t, counts, n/4)
	for addr, got := range counts { // 150 each, and six σ
		require.InDeltaf(t, len(someKeys)*4/n, got, 75, "%s", addr)
	}
}

func TestOwners_ChannelsShareNothing(t *testing.T) {
	t.Parallel()
	one := policytest.Channel(t, consistenthash.Name, "", policytest.Alike(10)...)
	before := owners(t, one.Picker())
	two := policytest.Channel(t, consistenthash.Name, "", policytest.Endpoints(9, 9)...)
	require.NoError(t, two.Update(policytest.Endpoints(7)...))
	require.NoError(t, one.Update(policytest.Alike(10)...))
	require.Equal(t, before, owners(t, one.Picker()))
}

func FuzzOwners(f *testing.F) {
	f.Add([]byte{1, 2, 3}, uint64(0))
	f.Add([]byte{0, 255, 7, 7}, uint64(9))
	f.Fuzz(func(t *testing.T, raw []byte, seed uint64) {
		if len(raw) < 2 || len(raw) > 12 {
			return
		}
		random := rand.New(rand.NewPCG(seed, 1))
		var list []resolver.Endpoint
		for i, b := range raw {
			list = append(list, balancertest.Endpoint(fmt.Sprint("a", b%16, ":", i), attrs.Attrs{Weight: uint32(b) * uint32(b)}))
		}
		c := policytest.Channel(t, consistenthash.Name, "", list...)
		before := owners(t, c.Picker())
		away := list[random.IntN(len(list))].Addresses[0].Addr
		c.Idle(away)
		requireOnlyFrom(t, away, before, owners(t, c.Picker()))
		random.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		require.Equal(t, before, ownersAmong(t, list))
	})
}
