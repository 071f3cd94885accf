package consistenthash_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/resolver"

	"github.com/steelyard-go/steelyard/attrs"
	"github.com/steelyard-go/steelyard/balancers/consistenthash"
	"github.com/steelyard-go/steelyard/balancertest"
	"github.com/steelyard-go/steelyard/internal/policytest"
)

func TestOwners_ARemovedMemberMovesItsOwnKeys(t *testing.T) {
	t.Parallel()
	for _, n := range consistenthash.Few(1, []int{10, 2}) {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			endpoints := policytest.Alike(n)
			before := ownersAmong(t, endpoints)
			for i, e := range consistenthash.Few(2, endpoints) {
				rest := slices.Delete(slices.Clone(endpoints), i, i+1)
				requireOnlyFrom(t, e.Addresses[0].Addr, before, ownersAmong(t, rest))
			}
		})
	}
}

func TestOwners_ANewMemberTakesKeysAndMovesNoOthers(t *testing.T) {
	t.Parallel()
	for _, n := range consistenthash.Few(1, []int{10, 2}) {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			endpoints := policytest.Alike(n)
			before := ownersAmong(t, endpoints)
			added := balancertest.Endpoint(newcomer, attrs.FromEndpoint(endpoints[0])) // as heavy as the others
			requireOnlyTo(t, newcomer, before, ownersAmong(t, append(slices.Clone(endpoints), added)))
		})
	}
}

const newcomer = "10.9.9.9:8080"

func TestOwners_AMemberThatComesOrGoesMovesItsOwnKeys(t *testing.T) {
	t.Parallel()
	forFleets(t, func(t *testing.T, endpoints []resolver.Endpoint) {
		all := ownersAmong(t, endpoints)
		for i, e := range consistenthash.Few(2, endpoints) {
			own := 0
			for _, addr := range all {
				if addr == e.Addresses[0].Addr {
					own++
				}
			}
			rest := ownersAmong(t, slices.Delete(slices.Clone(endpoints), i, i+1))
			require.LessOrEqualf(t, moved(all, rest), own+len(someKeys)/100, "%s owned %d", e.Addresses[0].Addr, own)
		}
	})
}

// A fleet is alike for long, and then one weight changes: that must not cost
// more keys than that weight is worth. The least that can move is the change
// in the heavier one's share.
func TestOwners_ANewWeightMovesAboutWhatItIsWorth(t *testing.T) {
	t.Parallel()
	for _, n := range consistenthash.Few(1, []int{10, 100}) {
		for _, step := range consistenthash.Few(2, [][2]uint32{{1, 2}, {1000, 1}, {2, 1}, {10, 5}, {100, 101}}) {
			t.Run(fmt.Sprintf("%d backends of %d, one to %d", n, step[0], step[1]), func(t *testing.T) {
				weights := slices.Repeat([]uint32{step[0]}, n)
				before := ownersAmong(t, policytest.Endpoints(weights...))
				weights[n/2] = step[1]
				after := ownersAmong(t, policytest.Endpoints(weights...))

				was, is := float64(step[0]), float64(step[1])
				rest := was * float64(n-1)
				least := is/(rest+is) - was/(rest+was)
				if least < 0 {
					least = -least
				}
				// The least, and a hundredth of the keys for chance.
				most := (1.2*least + 0.01) * float64(len(someKeys))
				require.LessOrEqual(t, float64(moved(before, after)), most, "of %d keys", len(someKeys))
			})
		}
	}
}

// A member that gets heavier takes keys and gives none away, and next to none
// move between the others.
func TestOwners_AHeavierMemberTakesKeysAndMovesFewOthers(t *testing.T) {
	t.Parallel()
	for _, weights := range consistenthash.Few(1, [][]uint32{{1, 2, 4, 5}, {3, 3, 3, 3, 3}, {1, 2, 4, 1, 2, 4, 5, 5}, {100, 150, 120, 90, 100}}) {
		t.Run(fmt.Sprint(weights), func(t *testing.T) {
			before := ownersAmong(t, policytest.Endpoints(weights...))
			for i := range weights {
				heavier := slices.Clone(weights)
				heavier[i] *= 2
				after, addr, taken, given := ownersAmong(t, policytest.Endpoints(heavier...)), policytest.Addr(i), 0, 0
				for key, was := range before {
					switch {
					case was == addr && after[key] != addr:
						given++
					case was != addr && after[key] == addr:
						taken++
					}
				}
				require.Positive(t, taken)
				require.Zero(t, given)
				require.LessOrEqual(t, moved(before, after), taken+len(someKeys)/100)
			}
		})
	}
}

func TestOwners_SharesFollowWeights(t *testing.T) {
	t.Parallel()
	for _, tc := range consistenthash.Few(1, []struct {
		name      string
		endpoints []resolver.Endpoint
		peak      float64 // to average, of 100,000 keys: chance adds to what the table promises
	}{
		{"weighted", policytest.Endpoints(slices.Repeat([]uint32{1, 2, 4, 8}, 25)...), 1.4},
		{"alike", policytest.Alike(100), 1.18},
		{"large", policytest.Endpoints(slices.Repeat([]uint32{100_000, 200_000}, 50)...), 1.25},
	}) {
		t.Run(tc.name, func(t *testing.T) {
			picker := consistenthash.NewPickerBuilder(consistenthash.Config{}).Build(policytest.BuildInfo(tc.endpoints...))
			counts := make(map[string]int)
			const n = 100_000
			for i := range n {
				counts[owner(t, picker, fmt.Sprint("key ", i))]++
			}
			weight, ofClass, wantOfClass := 0.0, make(map[uint32]int), make(map[uint32]float64)
			for _, e := range tc.endpoints {
				weight += float64(attrs.FromEndpoint(e).Weight)
			}
			for _, e := range tc.endpoints {
				w, got := attrs.FromEndpoint(e).Weight, counts[e.Addresses[0].Addr]
				want := n * float64(w) / weight
				require.Lessf(t, float64(got), tc.peak*want, "weight %d", w)
				require.Greaterf(t, float64(got), want/tc.peak/1.05, "weight %d", w)
				ofClass[w] += got
				wantOfClass[w] += want
			}
			for w, want := range wantOfClass {
				require.InEpsilonf(t, want, ofClass[w], 0.03, "all of weight %d", w)
			}
		})
	}
}
