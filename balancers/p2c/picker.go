package p2c

import (
	"math/rand/v2"

	"google.golang.org/grpc/balancer"

	"github.com/steelyard-go/steelyard/balancers"
	"github.com/steelyard-go/steelyard/balancers/internal/zone"
)

// redraws bounds how often a pick draws again because all it drew fail.
const redraws = 2

type picker struct {
	memory *memory
	timed  bool
	all    group  // where zones do not matter
	zones  *zones // nil where they do not
}

func newPicker(cfg Config, s balancers.Snapshot, m *memory) *picker {
	own := s.LocalZone
	if cfg.ZonePreference == zone.Off {
		own = ""
	}
	local, remote, share := zone.Split(own, s.Members, s.Backends, traits)
	if len(local) == 0 {
		local, remote = remote, nil
	}
	mean := meanWeight(s.Backends)
	p := &picker{memory: m, timed: cfg.Load == Latency, all: newGroup(local, cfg.Choices, mean, m)}
	if len(remote) > 0 {
		p.zones = &zones{local: p.all, remote: newGroup(remote, cfg.Choices, mean, m), share: share, sides: &m.sides}
		p.zones.local.on(&m.sides.local)
		p.zones.remote.on(&m.sides.remote)
	} else {
		p.all.on(nil)
	}
	return p
}

// traits counts weights in tenths, as a backend's own weight does.
func traits(b *balancers.Backend) zone.Traits {
	return zone.Traits{Zone: b.Attrs.Zone, Weight: uint64(b.Weight()), Full: 10 * uint64(b.Attrs.Weight)}
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
	var v view
	v.look(p.memory, start)
	if p.timed && p.memory.methods.stream(info.FullMethodName) {
		start, v.stream = stream, true
	}
	best := p.choose(&v)
	for again := 0; best.failing && again < redraws; again++ {
		if other := p.choose(&v); other.cost < best.cost {
			best = other
		}
	}
	e := best.endpoint
	if start >= 0 && !e.measured() {
		e.probed(v.now)
	}
	return balancer.PickResult{SubConn: best.subConn, Done: e.begin(start)}, nil
}

// choose draws the candidates and returns the best of them.
func (p *picker) choose(v *view) choice {
	random := rand.Uint64()
	if p.zones != nil {
		return p.zones.choose(v, random)
	}
	return p.all.choose(v, random)
}
