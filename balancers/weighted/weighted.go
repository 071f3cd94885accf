// Package weighted is the policy steelyard_weighted: each backend's share of
// the calls equals its share of the weight.
//
//	import _ "github.com/steelyard-go/steelyard/balancers/weighted"
//
//	{"loadBalancingConfig": [{"steelyard_weighted": {
//		"schedule": "random", "zonePreference": "on", "slowStart": "30s"
//	}}]}
//
// Schedule "random" draws each call's backend in proportion to weight, by
// Vose's alias method with one random number a pick. Picks are independent:
// short runs are uneven, any number of clients add up to the right shares.
//
// Schedule "smooth" is a rotation in which every backend's calls lie as evenly
// as they can: its count is never off by more than two calls from its share,
// over any window that starts with the rotation, and by less than 3.4 over any
// other, whatever the weights. So a heavy backend's calls never come in a clump.
// With pickers in parallel the calls that have got a backend are those of the
// rotation so far; k of them at once see k-1 calls more of deviation at most,
// by the calls that the others have not heard back of. The rotation starts at a
// random place when the backends or their weights change, and goes on where it
// is otherwise. It costs a few nanoseconds for one or two weights, and up to
// one more for each doubling of the number of different ones.
//
// With zonePreference "on", the default, and a resolver that tells the client's
// own zone ([attrs.SetLocalZone]), calls stay in that zone as far as its
// backends' weight goes: 1.4 times the mean load of all is where the rest go to
// the other zones. Within the zone, and among all others, shares still equal
// weights. With slowStart, off by default, a backend that becomes READY ramps
// from a tenth of its weight to all of it over that time.
//
// It is good where the capacity of servers is known and differs; it does not
// notice a server that is slower than its weight says: see package p2c.
//
// Limit: shares are of this channel's calls, and calls count alike: a few that
// are very expensive can all fall on one backend.
//
// [attrs.SetLocalZone]: https://pkg.go.dev/github.com/steelyard-go/steelyard/attrs#SetLocalZone
package weighted

import (
	"fmt"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/balancer/base"

	"github.com/steelyard-go/steelyard/balancers"
	"github.com/steelyard-go/steelyard/balancers/internal/alias"
	"github.com/steelyard-go/steelyard/balancers/internal/schedule"
	"github.com/steelyard-go/steelyard/balancers/internal/zone"
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
	// ZonePreference is "on", the default, or "off".
	ZonePreference string `json:"zonePreference,omitempty"`
	// SlowStart is how long a backend that becomes READY takes to its full
	// weight: 100 ms to an hour, or 0, the default, for no time at all.
	SlowStart balancers.Duration `json:"slowStart,omitempty"`
}

var defaults = Config{Schedule: Random, ZonePreference: zone.On}

// ServiceConfig returns the service config JSON that chooses this policy.
func (c Config) ServiceConfig() string { return balancers.ServiceConfig(Name, c) }

// SlowStartWindow tells the frame how long to ramp backends.
func (c Config) SlowStartWindow() time.Duration { return time.Duration(c.SlowStart) }

// Validate reports the first field that is out of range.
func (c Config) Validate() error {
	if c.Schedule != Random && c.Schedule != Smooth {
		return fmt.Errorf("schedule: got %.40q, want %q or %q", c.Schedule, Random, Smooth)
	}
	return zone.Validate(c.ZonePreference)
}

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
		subConns, weights := weigh(cfg, s)
		if cfg.Schedule == Random {
			last = nil
			return &randomPicker{table: alias.New(weights), subConns: subConns}
		}
		last = schedule.New(last, subConns, weights)
		return smoothPicker{last}
	}
}

// weigh returns the connections that take calls and their weights.
func weigh(cfg Config, s balancers.Snapshot) ([]balancer.SubConn, []uint64) {
	if cfg.ZonePreference == zone.Off {
		s.LocalZone = ""
	}
	local, remote, share := zone.Split(s.LocalZone, s.Members, s.Backends, traits)
	backends, weights := zone.Weigh(local, remote, share, traits)
	subConns := make([]balancer.SubConn, len(backends))
	for i := range backends {
		subConns[i] = backends[i].SubConn
	}
	return subConns, weights
}

func traits(b *balancers.Backend) zone.Traits {
	return zone.Traits{Zone: b.Attrs.Zone, Weight: uint64(b.Weight()), Full: 10 * uint64(b.Attrs.Weight)}
}

type randomPicker struct {
	table    *alias.Table
	subConns []balancer.SubConn
}

func (p *randomPicker) Pick(balancer.PickInfo) (balancer.PickResult, error) {
	return balancer.PickResult{SubConn: p.subConns[p.table.Draw(rand.Uint64())]}, nil
}

type rotation = schedule.Schedule[balancer.SubConn]

type smoothPicker struct{ *rotation }

func (p smoothPicker) Pick(balancer.PickInfo) (balancer.PickResult, error) {
	return balancer.PickResult{SubConn: p.Next()}, nil
}
