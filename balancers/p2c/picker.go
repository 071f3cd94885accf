package p2c

import (
	"math/rand/v2"

	"google.golang.org/grpc/balancer"

	"github.com/steelyard-go/steelyard/balancers"
)

const (
	// redraws bounds how often a pick draws again because all it drew fail.
	redraws = 2
	// remotePenalty is how many times the score of a backend in another zone
	// the best local one may have; squared, as costs are.
	remotePenalty = 1.5 * 1.5
)

type picker struct {
	memory *memory
	timed  bool
	local  group
	remote *group // nil when zones do not matter
}

func newPicker(cfg Config, s balancers.Snapshot, m *memory) *picker {
	p := &picker{memory: m, timed: cfg.Load == Latency}
	local, remote := s.Backends, []balancers.Backend(nil)
	if len(local) == 0 {
		local, remote = remote, nil
	}
	mean := meanWeight(s.Backends)
	p.local = newGroup(local, cfg.Choices, mean, m)
	if len(remote) > 0 {
		remote := newGroup(remote, 1, mean, m)
		p.remote = &remote
	}
	return p
}

func meanWeight(backends []balancers.Backend) float64 {
	total := 0.0
	for i := range backends {
		total += float64(backends[i].Weight())
	}
	return total / float64(len(backends))
}

func (p *picker) Pick(info balancer.PickInfo) (balancer.PickResult, error) {
	start := int64(untimed)
	if p.timed {
		start = p.memory.clock()
	}
	v := p.memory.view(start)
	best := p.choose(&v)
	for again := 0; best.failing && again < redraws; again++ {
		if other := p.choose(&v); other.cost < best.cost {
			best = other
		}
	}
	e := best.endpoint
	if p.timed {
		if !e.measured() {
			e.probed(v.now)
		}
		if p.memory.methods.stream(info.FullMethodName) {
			start = stream
		}
	}
	return balancer.PickResult{SubConn: best.subConn, Done: e.begin(start)}, nil
}

// choose draws the candidates and returns the best of them.
func (p *picker) choose(v *view) choice {
	random := rand.Uint64()
	best := p.local.choose(v, random)
	if p.remote != nil {
		if other := p.remote.choose(v, mix(random)); other.cost*remotePenalty < best.cost {
			return other
		}
	}
	return best
}
