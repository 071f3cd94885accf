// Package weighted is the policy steelyard_weighted: each backend's share of
// the calls equals its share of the weight.
//
//	import _ "github.com/steelyard-go/steelyard/balancers/weighted"
//
//	{"loadBalancingConfig": [{"steelyard_weighted": {"schedule": "random"}}]}
//
// Schedule "random" draws each call's backend in proportion to weight, by
// Vose's alias method with one random number a pick. Picks are independent:
// short runs are uneven, any number of clients add up to the right shares.
//
// Schedule "smooth" walks a fixed rotation in which every backend's calls lie
// as evenly as they can: its count is never off by two calls from its share,
// over any window that starts with the picker, and a heavy backend's calls never
// come in a clump. The rotation starts at a random place for each picker.
//
// It is good where the capacity of servers is known and differs; it does not
// notice a server that is slower than its weight says: see package p2c.
//
// Limit: the smooth rotation is at most 65,536 calls long, or 4 for each backend
// if that is more. Weights that need a longer one are rounded to it.
package weighted

import (
	"fmt"
	"math/rand/v2"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/balancer/base"

	"github.com/steelyard-go/steelyard/balancers"
	"github.com/steelyard-go/steelyard/balancers/internal/alias"
)

// Name is what service configs call the policy.
const Name = "steelyard_weighted"

// The schedules.
const (
	Random = "random"
	Smooth = "smooth"
)

// Config is the policy's config.
type Config struct {
	// Schedule is [Random], the default, or [Smooth].
	Schedule string `json:"schedule,omitempty"`
}

var defaults = Config{Schedule: Random}

// ServiceConfig returns the service config JSON that chooses this policy.
func (c Config) ServiceConfig() string { return balancers.ServiceConfig(Name, c) }

// Validate reports the first field that is out of range.
func (c Config) Validate() error {
	if c.Schedule != Random && c.Schedule != Smooth {
		return fmt.Errorf("schedule: got %.40q, want %q or %q", c.Schedule, Random, Smooth)
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
	subConns := make([]balancer.SubConn, len(s.Backends))
	weights := make([]uint32, len(s.Backends))
	for i, b := range s.Backends {
		subConns[i], weights[i] = b.SubConn, b.Attrs.Weight
	}
	if cfg.Schedule == Smooth {
		return &smoothPicker{schedule: newSchedule(weights, rand.Uint64N(1<<32)), subConns: subConns}
	}
	return &randomPicker{table: alias.New(weights), subConns: subConns}
}

type randomPicker struct {
	table    *alias.Table
	subConns []balancer.SubConn
}

func (p *randomPicker) Pick(balancer.PickInfo) (balancer.PickResult, error) {
	return balancer.PickResult{SubConn: p.subConns[p.table.Draw(rand.Uint64())]}, nil
}

type smoothPicker struct {
	schedule *schedule
	subConns []balancer.SubConn
}

func (p *smoothPicker) Pick(balancer.PickInfo) (balancer.PickResult, error) {
	return balancer.PickResult{SubConn: p.subConns[p.schedule.next()]}, nil
}
