// Package p2c is the policy steelyard_p2c: of two backends drawn at random,
// the less loaded one.
//
//	import _ "github.com/steelyard-go/steelyard/balancers/p2c"
//
//	{"loadBalancingConfig": [{"steelyard_p2c": {"choices": 2, "load": "latency"}}]}
//
// The draw is in proportion to weight, so that shares are the weights while
// there is little to do. Of those drawn the one with the fewest calls in flight
// for its weight is taken: a server that slows down holds its calls longer and
// is given fewer. Looking at two instead of all keeps clients that see the same
// numbers from stampeding to one server, and is nearly as good (Mitzenmacher,
// The Power of Two Choices in Randomized Load Balancing, 2001).
//
// It is good where calls or servers differ in speed. A client knows its own
// calls only: one with few calls in flight has little to go by.
//
// Limit: both values of "load" count calls in flight and nothing else as yet.
// A backend that fails fast looks fast: put outlier detection above it.
package p2c

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/balancer/base"

	"github.com/steelyard-go/steelyard/balancers"
	"github.com/steelyard-go/steelyard/balancers/internal/alias"
)

// Name is what service configs call the policy.
const Name = "steelyard_p2c"

// What the load of a backend is made of.
const (
	// Latency takes calls in flight, latency and failures into account.
	Latency = "latency"
	// Requests leaves latency out, and with it every look at the clock.
	Requests = "requests"
)

// Config is the policy's config.
type Config struct {
	// Choices is how many backends are drawn for a pick: 2, the default, to 10.
	Choices int `json:"choices,omitempty"`
	// Load is [Latency], the default, or [Requests].
	Load string `json:"load,omitempty"`
}

var defaults = Config{Choices: 2, Load: Latency}

const maxChoices = 10

// ServiceConfig returns the service config JSON that chooses this policy.
func (c Config) ServiceConfig() string { return balancers.ServiceConfig(Name, c) }

// Validate reports the first field that is out of range.
func (c Config) Validate() error {
	if c.Choices < 2 || c.Choices > maxChoices {
		return fmt.Errorf("choices: got %d, want 2 to %d", c.Choices, maxChoices)
	}
	if c.Load != Latency && c.Load != Requests {
		return fmt.Errorf("load: got %.40q, want %q or %q", c.Load, Latency, Requests)
	}
	return nil
}

func init() { balancers.RegisterPolicy(Name, defaults, newPolicy) }

// NewPickerBuilder returns the policy as a builder of pickers for gRPC's base
// balancer and for unit tests: see [balancers.NewPickerBuilder].
func NewPickerBuilder(cfg Config) base.PickerBuilder {
	return balancers.NewPickerBuilder(Name, cfg, defaults, newPolicy)
}

func newPolicy() balancers.Policy[Config] { return build }

func build(cfg Config, s balancers.Snapshot) balancer.Picker {
	p := &picker{
		choices: min(cfg.Choices, len(s.Backends)),
		nodes:   make([]node, len(s.Backends)),
	}
	weights := make([]uint32, len(s.Backends))
	for i, b := range s.Backends {
		weights[i] = b.Attrs.Weight
		p.nodes[i] = node{subConn: b.SubConn, load: b.Load, weight: int64(b.Attrs.Weight)}
	}
	p.table = alias.New(weights)
	return p
}

type picker struct {
	choices int
	table   *alias.Table
	nodes   []node
}

type node struct {
	subConn balancer.SubConn
	load    *balancers.Load
	weight  int64
}

func (p *picker) Pick(balancer.PickInfo) (balancer.PickResult, error) {
	var room [maxChoices]uint32
	drawn := append(room[:0], p.table.Draw(rand.Uint64()))
	best := &p.nodes[drawn[0]]
	for len(drawn) < p.choices {
		i := p.drawOther(drawn)
		drawn = append(drawn, i)
		if p.nodes[i].lighter(best) {
			best = &p.nodes[i]
		}
	}
	return balancer.PickResult{SubConn: best.subConn, Done: best.load.Begin()}, nil
}

// redraws bounds how often a pick draws again because it drew a backend twice.
// One that has nearly all of the weight would else be drawn for ever.
const redraws = 4

// drawOther draws a backend that is not among drawn, in proportion to weight
// or, when the weight will not let go of those, all alike.
func (p *picker) drawOther(drawn []uint32) uint32 {
	for range redraws {
		if i := p.table.Draw(rand.Uint64()); !slices.Contains(drawn, i) {
			return i
		}
	}
	i := rand.Uint32N(uint32(len(p.nodes)))
	for slices.Contains(drawn, i) {
		i = (i + 1) % uint32(len(p.nodes))
	}
	return i
}

// lighter reports whether n has less in flight for its weight than o. When they
// have as much it does not, so that the one drawn first is taken: which one
// that is, is as random as the draw, and idle shares are exactly the weights.
func (n *node) lighter(o *node) bool {
	return n.load.InFlight()*o.weight < o.load.InFlight()*n.weight
}
