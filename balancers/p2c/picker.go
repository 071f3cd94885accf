package p2c

import (
	"math/rand/v2"
	"slices"
	"time"

	"google.golang.org/grpc/balancer"

	"github.com/steelyard-go/steelyard/balancers"
	"github.com/steelyard-go/steelyard/balancers/internal/alias"
)

const (
	// redraws bounds how often a pick draws again because all it drew fail.
	redraws = 2
	// tries bounds how often a draw is repeated because it fell on a backend
	// drawn already: one that has nearly all of the weight would else be drawn
	// for ever.
	tries = 4
	// mostlyFailing is the share of successes below which a backend fails.
	mostlyFailing = 0.5
	// probePenalty puts an unmeasured backend that is being probed behind all others.
	probePenalty = 1e6
)

type picker struct {
	memory  *memory
	timed   bool
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

func newPicker(cfg Config, backends []balancers.Backend, m *memory) *picker {
	p := &picker{
		memory:  m,
		timed:   cfg.Load == Latency,
		choices: min(cfg.Choices, len(backends)),
		nodes:   make([]node, len(backends)),
	}
	weights, total := make([]uint32, len(backends)), 0.0
	for i, b := range backends {
		weights[i] = b.Attrs.Weight
		total += float64(b.Attrs.Weight)
	}
	for i, b := range backends {
		mean := total / float64(len(backends))
		p.nodes[i] = node{endpoint: m.endpoints[b.Load], subConn: b.SubConn, perWeight: mean / float64(b.Attrs.Weight)}
	}
	p.table = alias.New(weights)
	return p
}

func (p *picker) Pick(balancer.PickInfo) (balancer.PickResult, error) {
	var now time.Duration
	if p.timed {
		now = p.memory.clock()
	}
	c := choice{
		view:   view{timed: p.timed, now: tickOf(now), reference: p.memory.slowLatency()},
		random: rand.Uint64(),
	}
	for again := 0; again <= redraws && (again == 0 || c.failing); again++ {
		p.draw(&c)
	}
	if p.timed && !c.best.measured() {
		c.best.probed(c.now)
	}
	return balancer.PickResult{SubConn: c.best.subConn, Done: p.memory.begin(c.best.endpoint, p.timed, now)}, nil
}

// choice is the best of the backends that a pick has drawn so far.
type choice struct {
	view
	random  uint64
	best    *node
	cost    float64
	failing bool
}

// next returns the next random number. The first of a pick comes from the
// runtime, the others from it by SplitMix64, at a quarter of the cost: they have
// to be unlike each other, and nobody can foresee the first.
func (c *choice) next() uint64 {
	c.random += 0x9e3779b97f4a7c15
	z := c.random
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// take keeps the cheaper one. Of equals that is the one drawn first: which one
// that is, is as random as the draw, and so the shares at rest are the weights.
func (c *choice) take(n *node) {
	if cost, failing := c.costOf(n); c.best == nil || cost < c.cost {
		c.best, c.cost, c.failing = n, cost, failing
	}
}

// draw draws the choices and keeps the best of them.
func (p *picker) draw(c *choice) {
	var room [maxChoices]uint32
	drawn := append(room[:0], p.table.Draw(c.next()))
	c.take(&p.nodes[drawn[0]])
	for len(drawn) < p.choices {
		i := p.drawOther(c, drawn)
		drawn = append(drawn, i)
		c.take(&p.nodes[i])
	}
}

// drawOther draws a backend that is not among drawn, in proportion to weight
// or, when the weight will not let go of those, all alike.
func (p *picker) drawOther(c *choice, drawn []uint32) uint32 {
	for range tries {
		if i := p.table.Draw(c.next()); !slices.Contains(drawn, i) {
			return i
		}
	}
	i := uint32(c.next() % uint64(len(p.nodes)))
	for slices.Contains(drawn, i) {
		i = (i + 1) % uint32(len(p.nodes))
	}
	return i
}

// view is what a pick looks at backends with.
type view struct {
	timed     bool
	now       tick
	reference float64
}

// costOf is the square of the score, which orders backends alike and saves the
// root: slowness × (1 + in flight ÷ relative weight)² × (1 − failures)^−4.
func (v *view) costOf(n *node) (cost float64, failing bool) {
	inFlight := n.load.InFlight()
	queue := 1 + float64(inFlight)*n.perWeight
	cost = queue * queue
	var failures float64
	if v.timed {
		slowness, measured := n.slownessAt(v.now, v.reference)
		cost *= slowness
		if !measured && n.probing(inFlight, v.now) {
			cost *= probePenalty
		}
		failures = n.failuresAt(v.now)
	} else {
		failures = n.failuresDrawn()
	}
	if failures <= fewFailures {
		return cost, false
	}
	success := max(1-failures, minSuccess)
	return cost / (success * success * success * success), success < mostlyFailing
}
