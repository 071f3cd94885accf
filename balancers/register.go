package balancers

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/serviceconfig"
)

// Register makes a policy available to service configs under name. C is its
// config: the JSON is read over a copy of defaults, and if C has a method
// Validate() error, what it refuses is refused with the policy's name before
// it. The copy is a shallow one: defaults must hold no maps or slices. build
// returns a picker for the backends that can take calls, at least one, sorted
// by address; it must not modify the slice and may keep it.
//
// Like [balancer.Register] it must be called from an init function, and the
// last one to take a name wins: give yours a prefix.
func Register[C any](name string, defaults C, build func(cfg C, backends []Backend) balancer.Picker) {
	RegisterPolicy(name, defaults, func() Policy[C] {
		return func(cfg C, s Snapshot) balancer.Picker { return build(cfg, s.Backends) }
	})
}

// RegisterPolicy is [Register] for policies with a memory of their own or a
// need to see the whole membership. newPolicy is called once for each channel:
// what the policy must remember from one build to the next, it keeps in the
// variables of its closure, and no other channel sees it.
//
// If C has a method SlowStartWindow() time.Duration that returns more than 0, a
// backend that becomes READY starts slowly: [Backend.Ramp] rises over that time
// from 1 to 10 tenths, in steps. Those of the channel's first list are spared
// that, and so are all while more than half of the weight would be ramping, or of
// the backends if C has a method IgnoresWeights() bool that returns true. The window,
// "slowStart" in errors, is 100 ms to an hour.
func RegisterPolicy[C any](name string, defaults C, newPolicy func() Policy[C]) {
	balancer.Register(builder[C]{name: name, defaults: defaults, newPolicy: newPolicy})
}

// builder is what gRPC keeps in its registry. All channels share it, so it
// holds nothing that changes.
type builder[C any] struct {
	name      string
	defaults  C
	newPolicy func() Policy[C]
}

func (b builder[C]) Name() string { return b.name }

func (b builder[C]) ParseConfig(text json.RawMessage) (serviceconfig.LoadBalancingConfig, error) {
	cfg, err := parse(b.name, b.defaults, text)
	if err != nil {
		return nil, err
	}
	if len(text) == 0 {
		text = json.RawMessage("{}")
	}
	return &parsed[C]{name: b.name, cfg: cfg, text: slices.Clone(text)}, nil
}

func (b builder[C]) Build(cc balancer.ClientConn, _ balancer.BuildOptions) balancer.Balancer {
	return newChannel(b.name, cc, &configured[C]{builder: b, cfg: b.defaults, policy: b.newPolicy()})
}

// configured is one channel's policy and the config it runs on now. It hides
// the config's type from the channel.
type configured[C any] struct {
	builder[C]
	cfg    C
	policy Policy[C]
}

// configure takes a config over. No config at all means the defaults: that is
// what a parent hands down that knows the policy by name only.
func (c *configured[C]) configure(config serviceconfig.LoadBalancingConfig) error {
	if config == nil {
		c.cfg = c.defaults
		return nil
	}
	p, ok := config.(*parsed[C])
	if !ok || p.name != c.name {
		return fmt.Errorf("%s: got a config of another policy (%T), want one from its own ParseConfig", c.name, config)
	}
	c.cfg = p.cfg
	return nil
}

func (c *configured[C]) slowStart() time.Duration { return slowStartOf(&c.cfg) }

func (c *configured[C]) level() bool { return ignoresWeights(&c.cfg) }

func (c *configured[C]) build(s Snapshot) balancer.Picker { return c.policy(c.cfg, s) }
