package balancers_test

import (
	"cmp"
	"fmt"
	"slices"

	"google.golang.org/grpc/balancer"

	"github.com/steelyard-go/steelyard/balancers"
)

// failover is a policy of one's own: all calls go to the heaviest backend, and
// to the next one while that is down.
type failover struct{ balancers.Backend }

func (p failover) Pick(balancer.PickInfo) (balancer.PickResult, error) {
	return balancer.PickResult{SubConn: p.SubConn, Done: p.Load.Begin()}, nil
}

func init() {
	balancers.Register("example_failover", struct{}{}, func(_ struct{}, backends []balancers.Backend) balancer.Picker {
		return failover{slices.MaxFunc(backends, func(a, b balancers.Backend) int {
			return cmp.Compare(a.Attrs.Weight, b.Attrs.Weight)
		})}
	})
}

// A type with a Pick and a call of Register, from an init function, are a
// policy. A client chooses it in its service config like any other.
func ExampleRegister() {
	fmt.Println(balancers.ServiceConfig("example_failover", struct{}{}))
	// Output: {"loadBalancingConfig":[{"example_failover":{}}]}
}
