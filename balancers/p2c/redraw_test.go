package p2c

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/balancer"
)

// failing returns a picker of backends of which these shares of calls fail.
func failing(shares ...float64) *picker {
	g := idleGroup(2, slices.Repeat([]uint32{1}, len(shares)))
	for i, share := range shares {
		g.nodes[i].failures.update(0, to(share))
	}
	return &picker{memory: g.nodes[0].memory, all: g}
}

// requireShare makes calls that teach nothing, and checks what share of them
// goes to the backends that count; it fails the right share once in 10⁹ times.
func requireShare(t *testing.T, want float64, p *picker, counts func(i int) bool) {
	t.Helper()
	const calls = 10_000
	n := 0.0
	for range calls {
		picked, err := p.Pick(balancer.PickInfo{})
		require.NoError(t, err)
		if counts(slices.IndexFunc(p.all.nodes, func(n node) bool { return n.inFlight.count() > 0 })) {
			n++
		}
		picked.Done(canceled)
	}
	require.InDelta(t, want, n/calls, 6.1*math.Sqrt(want*(1-want)/calls))
}

func TestPick_DrawsAgainTwiceWhereAllDrawnFail(t *testing.T) {
	p := failing(0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0, 0, 0, 0)
	const both = 6. / 10 * 5 / 9
	requireShare(t, both*both*both, p, func(i int) bool { return i < 6 })
}

func TestPick_TakesTheBestOfAllThatItHasDrawn(t *testing.T) {
	p := failing(0.6, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9)
	const neither = 8. / 10
	requireShare(t, 1-neither*neither*neither, p, func(i int) bool { return i == 0 })
}

func TestPick_DrawsOnceWhereOneDrawnServes(t *testing.T) {
	p := failing(0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0, 0, 0, 0) // more than half of their calls go well
	requireShare(t, 6./10*5/9, p, func(i int) bool { return i < 6 })
}

// One random number makes both candidates, and neither depends on the other.
func TestGroup_EachHalfOfTheRandomNumberDrawsACandidate(t *testing.T) {
	g, v, random := idleGroup(2, slices.Repeat([]uint32{1}, 10)), new(view), rand.New(rand.NewPCG(45, 46))
	for range 1000 {
		r := random.Uint64()
		first, second := g.table.Draw32(uint32(r>>32)), g.table.Draw32(uint32(r))
		if first == second {
			continue
		}
		require.Same(t, g.nodes[first].endpoint, g.choose(v, r).endpoint)
		done := g.nodes[first].begin(untimed)
		require.Same(t, g.nodes[second].endpoint, g.choose(v, r).endpoint)
		done(canceled)
	}
}
