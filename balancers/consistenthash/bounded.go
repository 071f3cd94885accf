package consistenthash

import (
	"math"

	"google.golang.org/grpc/balancer"

	"github.com/steelyard-go/steelyard/balancers"
)

// minBound is the number of calls that any backend may hold: bounds of a few
// calls would scatter the keys of a quiet channel.
const minBound = 8

// bounded is the picker that bounds what a backend holds.
type bounded struct {
	picker
	loads  []*balancers.Load // of the table's members
	shares []float64         // factor × w/W, W being the weight of those that take calls
	total  *balancers.Load   // of the channel, across rebuilds
}

func newBounded(p picker, factor float64, members []balancers.Backend, total *balancers.Load) *bounded {
	b := &bounded{picker: p, loads: make([]*balancers.Load, len(members)), shares: make([]float64, len(members)), total: total}
	weight := 0.0
	for i := range members {
		if members[i].SubConn != nil {
			weight += float64(members[i].Attrs.Weight)
		}
	}
	for i := range members {
		b.loads[i] = members[i].Load
		b.shares[i] = factor * float64(members[i].Attrs.Weight) / weight
	}
	return b
}

// roundingError keeps a share that is whole from being rounded up.
const roundingError = 1e-9

// laps bounds how often a pick goes through all members for a backend with room.
// The bounds add up to more than the calls in flight, so there is one, unless
// other picks took it in the same instant; a second lap counts those in.
const laps = 4

// Pick takes the first of the key's choices that has room or, if the last lap
// found none, its owner.
func (b *bounded) Pick(info balancer.PickInfo) (balancer.PickResult, error) {
	hash, err := b.hash(info)
	if err != nil {
		return balancer.PickResult{}, err
	}
	for lap := range laps + 1 {
		calls := float64(b.total.InFlight() + 1)
		for m := range b.table.preferences(hash) {
			sc := b.subConns[m]
			if sc == nil {
				continue
			}
			bound := max(minBound, int64(math.Ceil(b.shares[m]*calls-roundingError)))
			if lap == laps {
				bound = math.MaxInt64
			}
			if done, ok := b.loads[m].BeginWithin(bound, b.total); ok {
				return balancer.PickResult{SubConn: sc, Done: done}, nil
			}
		}
	}
	return balancer.PickResult{}, balancer.ErrNoSubConnAvailable
}
