// Package roundrobin is the policy steelyard_round_robin: every READY backend
// in turn, whatever its weight.
//
//	import _ "github.com/steelyard-go/steelyard/balancers/roundrobin"
//
//	{"loadBalancingConfig": [{"steelyard_round_robin": {}}]}
//
// One counter for the channel numbers the calls, and a call's number names its
// backend. So the counts of any two backends differ by at most one, however
// many goroutines pick at once, and the turn goes on where it was when the list
// changes. It starts at a random place, so that clients that start together
// do not march in step.
//
// It is good where calls cost about the same and servers are alike; it sends a
// slow server as much as a fast one. Weights do not count: see package weighted.
package roundrobin

import (
	"math/rand/v2"
	"sync/atomic"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/balancer/base"

	"github.com/steelyard-go/steelyard/balancers"
)

// Name is what service configs call the policy.
const Name = "steelyard_round_robin"

// Config is the policy's config. It has no fields yet.
type Config struct{}

// ServiceConfig returns the service config JSON that chooses this policy.
func (c Config) ServiceConfig() string { return balancers.ServiceConfig(Name, c) }

func init() { balancers.RegisterPolicy(Name, Config{}, newPolicy) }

// NewPickerBuilder returns the policy as a builder of pickers for gRPC's base
// balancer and for unit tests: see [balancers.NewPickerBuilder].
func NewPickerBuilder(cfg Config) base.PickerBuilder {
	return balancers.NewPickerBuilder(Name, cfg, Config{}, newPolicy)
}

// newPolicy keeps one counter for all pickers of a channel: a list that
// changes all the time would else start at the same few backends each time.
func newPolicy() balancers.Policy[Config] {
	turn := new(atomic.Uint64)
	turn.Store(rand.Uint64N(1 << 32))
	return func(_ Config, s balancers.Snapshot) balancer.Picker {
		p := &picker{turn: turn, subConns: make([]balancer.SubConn, len(s.Backends))}
		for i, b := range s.Backends {
			p.subConns[i] = b.SubConn
		}
		return p
	}
}

type picker struct {
	turn     *atomic.Uint64
	subConns []balancer.SubConn
}

func (p *picker) Pick(balancer.PickInfo) (balancer.PickResult, error) {
	i := p.turn.Add(1) % uint64(len(p.subConns))
	return balancer.PickResult{SubConn: p.subConns[i]}, nil
}
