package simulation

import (
	"google.golang.org/grpc/balancer"

	"github.com/steelyard-go/steelyard/balancers"
)

// turns is the policy that tests of the harness use: every backend in turn,
// from the first, and nothing left to chance.
var turns = policy{label: "turns", lb: "simulation_turns"}

func init() {
	balancers.Register(turns.lb, struct{}{}, func(_ struct{}, backends []balancers.Backend) balancer.Picker {
		return &turnsPicker{backends: backends}
	})
}

// turnsPicker is for one goroutine.
type turnsPicker struct {
	backends []balancers.Backend
	next     int
}

func (p *turnsPicker) Pick(balancer.PickInfo) (balancer.PickResult, error) {
	b := p.backends[p.next%len(p.backends)]
	p.next++
	return balancer.PickResult{SubConn: b.SubConn}, nil
}
