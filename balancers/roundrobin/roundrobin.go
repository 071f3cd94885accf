// Package roundrobin is the policy steelyard_round_robin: every READY backend
// in turn, whatever its weight.
//
//	import _ "github.com/steelyard-go/steelyard/balancers/roundrobin"
//
//	{"loadBalancingConfig": [{"steelyard_round_robin": {
//		"zonePreference": "on", "slowStart": "30s"
//	}}]}
//
// One counter numbers the calls, and a call's number names its backend. So the
// counts of any two backends differ by at most one, however many goroutines
// pick at once. The turn goes on where it was as long as the backends are the
// same; other backends start at a random place, so that neither clients that
// start together march in step nor a list that changes all the time sends more
// to the first than to the last.
//
// With zonePreference "on", the default, and a resolver that tells the client's
// own zone ([attrs.SetLocalZone]), calls stay in that zone as far as it has its
// share of the backends: 1.4 times the mean load of all is where the rest go to
// the other zones. With slowStart, off by default, a backend that becomes READY
// ramps from a tenth of the calls of the others to as many over that time. Where
// backends differ for these reasons, they take turns by the smooth rotation of
// package weighted, which is off by at most two calls.
//
// It is good where calls cost about the same and servers are alike; it sends a
// slow server as much as a fast one. Weights do not count: see package weighted.
//
// [attrs.SetLocalZone]: https://pkg.go.dev/github.com/steelyard-go/steelyard/attrs#SetLocalZone
package roundrobin

import (
	"sync/atomic"
	"time"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/balancer/base"

	"github.com/steelyard-go/steelyard/balancers"
	"github.com/steelyard-go/steelyard/balancers/internal/schedule"
	"github.com/steelyard-go/steelyard/balancers/internal/zone"
)

// Name is what service configs call the policy.
const Name = "steelyard_round_robin"

// Config is the policy's config.
type Config struct {
	// ZonePreference is "on", the default, or "off".
	ZonePreference string `json:"zonePreference,omitempty"`
	// SlowStart is how long a backend that becomes READY takes to as many calls
	// as the others: 100 ms to an hour, or 0, the default, for no time at all.
	SlowStart balancers.Duration `json:"slowStart,omitempty"`
}

var defaults = Config{ZonePreference: zone.On}

// ServiceConfig returns the service config JSON that chooses this policy.
func (c Config) ServiceConfig() string { return balancers.ServiceConfig(Name, c) }

// SlowStartWindow tells the frame how long to ramp backends.
func (c Config) SlowStartWindow() time.Duration { return time.Duration(c.SlowStart) }

// IgnoresWeights tells the frame that to this policy all backends are alike.
func (Config) IgnoresWeights() bool { return true }

// Validate reports the first field that is out of range.
func (c Config) Validate() error { return zone.Validate(c.ZonePreference) }

func init() { balancers.RegisterPolicy(Name, defaults, newPolicy) }

// NewPickerBuilder returns the policy as a builder of pickers for gRPC's base
// balancer and for unit tests: see [balancers.NewPickerBuilder].
func NewPickerBuilder(cfg Config) base.PickerBuilder {
	return balancers.NewPickerBuilder(Name, cfg, defaults, newPolicy)
}

// newPolicy keeps the rotation, so that it goes on across builds that change
// nothing about it.
func newPolicy() balancers.Policy[Config] {
	var last *rotation
	return func(cfg Config, s balancers.Snapshot) balancer.Picker {
		if cfg.ZonePreference == zone.Off {
			s.LocalZone = ""
		}
		local, remote, share := zone.Split(s.LocalZone, s.Members, s.Backends, traits)
		backends, weights := zone.Weigh(local, remote, share, traits)
		subConns := make([]balancer.SubConn, len(backends))
		for i := range backends {
			subConns[i] = backends[i].SubConn
		}
		last = schedule.New(last, subConns, weights)
		if turn, inTurn := last.Turns(); turn != nil {
			return &evenPicker{turn, inTurn}
		}
		return picker{last}
	}
}

// traits counts every backend the same, in tenths.
func traits(b *balancers.Backend) zone.Traits {
	return zone.Traits{Zone: b.Attrs.Zone, Weight: uint64(b.Ramp), Full: 10}
}

type rotation = schedule.Schedule[balancer.SubConn]

// evenPicker is the picker where all backends are alike.
type evenPicker struct {
	turn     *atomic.Uint64
	subConns []balancer.SubConn
}

func (p *evenPicker) Pick(balancer.PickInfo) (balancer.PickResult, error) {
	n := p.turn.Add(1) - 1
	return balancer.PickResult{SubConn: p.subConns[n%uint64(len(p.subConns))]}, nil
}

// picker is the one where zones or ramps make them differ.
type picker struct{ *rotation }

func (p picker) Pick(balancer.PickInfo) (balancer.PickResult, error) {
	return balancer.PickResult{SubConn: p.Next()}, nil
}
