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
	idle   bool              // nobody takes calls
}

func newBounded(p picker, factor float64, members []balancers.Backend, total *balancers.Load) *bounded {
	b := &bounded{picker: p, loads: make([]*balancers.Load, len(members)), shares: make([]float64, len(members)), total: total}
	weight := 0.0
	for i := range members {
		if members[i].SubConn != nil {
			weight += float64(members[i].Attrs.Weight)
		}
	}
	b.idle = weight == 0
	for i := range members {
		b.loads[i] = members[i].Load
		b.shares[i] = factor * float64(members[i].Attrs.Weight) / weight
	}
	return b
}

// roundingError keeps a share that is whole from being rounded up.
const roundingError = 1e-9

// Pick takes the first of the key's choices that has room. The bounds add up to
// as many calls as there are, this one among them, which holds no place yet: so
// there is room, unless other calls came meanwhile and took it. Then it is looked
// for once more, with bounds that count those in.
func (b *bounded) Pick(info balancer.PickInfo) (balancer.PickResult, error) {
	return b.PickBut(nil, info)
}

// PickBut implements [balancers.Sparing]. The bounds of those that are left may
// add up to less than the calls: then this one waits for the next picker.
func (b *bounded) PickBut(left func(balancer.SubConn) bool, info balancer.PickInfo) (balancer.PickResult, error) {
	hash, err := b.hash(info)
	if err != nil {
		return balancer.PickResult{}, err
	}
	if b.idle {
		return balancer.PickResult{}, balancer.ErrNoSubConnAvailable
	}
	for calls := b.total.Enter(); ; calls = b.total.InFlight() {
		for m := range b.table.preferences(hash) {
			sc := b.subConns[m]
			if sc == nil || left != nil && left(sc) {
				continue
			}
			bound := max(minBound, int64(math.Ceil(b.shares[m]*float64(calls)-roundingError)))
			if done, ok := b.loads[m].BeginWithin(bound, b.total); ok {
				return balancer.PickResult{SubConn: sc, Done: done}, nil
			}
		}
		if left != nil {
			b.total.Leave()
			return balancer.PickResult{}, balancer.ErrNoSubConnAvailable
		}
	}
}
