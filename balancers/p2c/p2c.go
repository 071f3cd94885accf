// Package p2c is the policy steelyard_p2c: of two backends drawn at random,
// the less loaded one.
//
//	import _ "github.com/steelyard-go/steelyard/balancers/p2c"
//
//	{"loadBalancingConfig": [{"steelyard_p2c": {
//		"choices": 2, "load": "latency", "zonePreference": "on", "slowStart": "0s"}}]}
//
// The draw is in proportion to weight, so that shares are the weights while
// there is little to do. Of those drawn the one with the lowest score is taken:
//
//	√(L/Lref) × (1 + q/ŵ) × (1−f)^−2
//
// q is this channel's calls in flight there and ŵ the weight relative to the
// mean; L is the smoothed latency of successful calls and Lref the channel's
// slow mean of it, differences up to a factor of 1.5 not counting; f is the
// smoothed share of calls that failed with Unknown, DeadlineExceeded,
// ResourceExhausted, Internal, Unavailable or DataLoss, an eighth or less not
// counting. Looking at two instead of all keeps clients that see the same
// numbers from stampeding to one server, and is nearly as good (Mitzenmacher,
// The Power of Two Choices in Randomized Load Balancing, 2001). The constants
// are those that did best in the simulation in bench/simulation.
//
// A backend that fails fast does not look fast: a failure may raise L, never
// lower it. One that has not been measured counts as average and, with "load":
// "latency", gets one call at a time until it has answered. What is known fades within some ten seconds
// without calls, so a backend that was slow or failing is tried again. If all
// drawn are failing the pick draws again, at most twice; it never fails itself.
//
// With "load": "requests" latency is left out, and with it every look at the
// clock. A timer stands in for it for as long as failures or load
// reports have to fade.
//
// ORCA load reports that come with answers (gRFC A51) scale the weight: a busier
// backend than the mean counts for less. A stream counts in q while it lasts;
// its duration is no latency. Which methods are streams is known from the
// protobuf descriptors that are linked into the client.
//
// In a channel that knows its zone ([attrs.SetLocalZone]) the candidates are
// local, with one from another zone beside them, which is taken if its score is
// less than half as high or so. A local zone that is short of capacity hands
// calls over in proportion, and one where calls fail is left as a whole. With
// "slowStart" a backend that becomes READY goes from a tenth of its weight to
// all of it over that time.
//
// It is good where calls or servers differ in speed, and against servers that
// break. A client knows its own calls only: one with few of them has little to
// go by.
//
// Limits: of no more backends than choices all are looked at, so a light one of
// two gets more than its weight once the heavy one is busy. Methods without a
// descriptor, as in a generic proxy, are taken for plain calls. Samples count for at most 16 times Lref, so mixing long streams of
// those with short calls blurs L; "requests" does not mind.
//
// [attrs.SetLocalZone]: https://pkg.go.dev/github.com/steelyard-go/steelyard/attrs#SetLocalZone
package p2c

import (
	"fmt"
	"time"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/balancer/base"

	"github.com/steelyard-go/steelyard/balancers"
	"github.com/steelyard-go/steelyard/balancers/internal/zone"
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
	// ZonePreference is [On], the default, or [Off]: whether backends in the
	// channel's own zone, where that is known, are preferred.
	ZonePreference string `json:"zonePreference,omitempty"`
	// SlowStart is how long a backend that becomes READY takes to get its full
	// weight: 100 ms to an hour, 0, the default, for no time at all.
	SlowStart balancers.Duration `json:"slowStart,omitempty"`
}

// The zone preferences.
const (
	On  = zone.On
	Off = zone.Off
)

var defaults = Config{Choices: 2, Load: Latency, ZonePreference: On}

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
	return zone.Validate(c.ZonePreference)
}

// SlowStartWindow is how the frame learns of SlowStart.
func (c Config) SlowStartWindow() time.Duration { return time.Duration(c.SlowStart) }

func init() { balancers.RegisterPolicy(Name, defaults, newPolicy) }

// NewPickerBuilder returns the policy as a builder of pickers for gRPC's base
// balancer and for unit tests: see [balancers.NewPickerBuilder].
func NewPickerBuilder(cfg Config) base.PickerBuilder {
	return balancers.NewPickerBuilder(Name, cfg, defaults, newPolicy)
}

// newPolicy keeps what the channel has learned of its endpoints.
func newPolicy() balancers.Policy[Config] {
	var m *memory
	return func(cfg Config, s balancers.Snapshot) balancer.Picker {
		if m == nil {
			m = newMemory(s.Context)
		}
		m.setTimed(cfg.Load == Latency)
		m.update(s.Members)
		return newPicker(cfg, s, m)
	}
}
