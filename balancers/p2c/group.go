package p2c

import (
	"slices"

	"google.golang.org/grpc/balancer"

	"github.com/steelyard-go/steelyard/balancers"
	"github.com/steelyard-go/steelyard/balancers/internal/alias"
)

// tries bounds how often a draw is repeated because it fell on a backend drawn
// already: one that has nearly all of the weight would else be drawn for ever.
const tries = 4

// group is backends that candidates are drawn from.
type group struct {
	choices int
	table   *alias.Table
	nodes   []node
}

// node is a backend in a picker.
type node struct {
	*endpoint
	subConn   balancer.SubConn
	perWeight float64 // mean weight ÷ weight
}

func newGroup(backends []balancers.Backend, choices int, meanWeight float64, m *memory) group {
	g := group{choices: min(choices, len(backends)), nodes: make([]node, len(backends))}
	weights := make([]uint32, len(backends))
	for i := range backends {
		b := &backends[i]
		weights[i] = b.Weight()
		g.nodes[i] = node{endpoint: m.endpoints[b.Load], subConn: b.SubConn, perWeight: meanWeight / float64(weights[i])}
	}
	g.table = alias.New(weights)
	return g
}

// on says which side of the zones the group's backends are on, nil for none.
func (g *group) on(s *side) {
	for i := range g.nodes {
		g.nodes[i].side.Store(s)
	}
}

// choose draws the group's choices, in proportion to weight, and returns the
// best of them. Of equals that is the one drawn first: which one that is, is as
// random as the draw, and so the shares at rest are the weights.
func (g *group) choose(v *view, random uint64) (best choice) {
	first, second := g.table.Draw32(uint32(random>>32)), g.table.Draw32(uint32(random))
	if v.busyness != 0 {
		first, second = g.byReport(v, first, mix(random)), g.byReport(v, second, mix(random>>32))
	}
	best.node = &g.nodes[first]
	best.cost, best.failing = v.costOf(best.node)
	if g.choices == 1 {
		return best
	}
	if second == first {
		second = g.other(v, []uint32{first}, mix(random))
	}
	n := &g.nodes[second]
	if cost, failing := v.costOf(n); cost < best.cost {
		best = choice{n, cost, failing}
	}
	if g.choices > 2 {
		g.chooseMore(v, random, &best, first, second)
	}
	return best
}

// chooseMore draws the choices beyond the second.
func (g *group) chooseMore(v *view, random uint64, best *choice, first, second uint32) {
	var room [maxChoices]uint32
	drawn := append(room[:0], first, second)
	for len(drawn) < g.choices {
		random = mix(random)
		i := g.other(v, drawn, random)
		drawn = append(drawn, i)
		n := &g.nodes[i]
		if cost, failing := v.costOf(n); cost < best.cost {
			*best = choice{n, cost, failing}
		}
	}
}

// draw draws a backend in proportion to its weight, or to what load reports make
// of it. Of random the lower half counts.
func (g *group) draw(v *view, random uint64) uint32 {
	i := g.table.Draw32(uint32(random))
	if v.busyness != 0 {
		i = g.byReport(v, i, mix(random))
	}
	return i
}

// byReport draws again instead of i the more often, the less reports make of
// i's weight. That gives all the right share without another table.
func (g *group) byReport(v *view, i uint32, random uint64) uint32 {
	for range tries {
		if float64(random>>32)*maxReported < g.nodes[i].reported(v)*(1<<32) {
			break
		}
		i = g.table.Draw32(uint32(random))
		random = mix(random)
	}
	return i
}

// other draws a backend that is not among drawn, in proportion to weight or,
// when the weight will not let go of those, all alike.
func (g *group) other(v *view, drawn []uint32, random uint64) uint32 {
	for range tries {
		if i := g.draw(v, random); !slices.Contains(drawn, i) {
			return i
		}
		random = mix(random)
	}
	i := uint32(random % uint64(len(g.nodes)))
	for slices.Contains(drawn, i) {
		i = (i + 1) % uint32(len(g.nodes))
	}
	return i
}

// mix returns the random number that follows another (SplitMix64). The first of
// a pick comes from the runtime, the rest from it at a quarter of the cost: they
// have to be unlike each other, and nobody can foresee the first.
func mix(random uint64) uint64 {
	random += 0x9e3779b97f4a7c15
	random = (random ^ random>>30) * 0xbf58476d1ce4e5b9
	random = (random ^ random>>27) * 0x94d049bb133111eb
	return random ^ random>>31
}
