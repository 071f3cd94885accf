package balancertest_test

import (
	"context"
	"fmt"
	"testing"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/balancer/base"
	_ "google.golang.org/grpc/balancer/roundrobin" // the policy under test

	"github.com/steelyard-go/steelyard/attrs"
	"github.com/steelyard-go/steelyard/balancertest"
)

// firstBuilder builds pickers that send every call to the backend whose address
// sorts first.
type firstBuilder struct{}

func (firstBuilder) Build(info base.PickerBuildInfo) balancer.Picker {
	var first balancer.SubConn
	lowest := ""
	for sc, ready := range info.ReadySCs {
		if first == nil || ready.Address.Addr < lowest {
			first, lowest = sc, ready.Address.Addr
		}
	}
	return firstPicker{first}
}

type firstPicker struct{ sc balancer.SubConn }

func (p firstPicker) Pick(balancer.PickInfo) (balancer.PickResult, error) {
	return balancer.PickResult{SubConn: p.sc}, nil
}

// A picker is tested with connections that stand for themselves.
func ExampleNewSubConn() {
	info := base.PickerBuildInfo{ReadySCs: make(map[balancer.SubConn]base.SubConnInfo)}
	for _, addr := range []string{"10.0.0.2:80", "10.0.0.1:80"} {
		sc := balancertest.NewSubConn(addr)
		info.ReadySCs[sc] = base.SubConnInfo{Address: sc.Addresses()[0]}
	}
	result, err := firstBuilder{}.Build(info).Pick(balancer.PickInfo{})
	fmt.Println(result.SubConn, err)
	// Output: 10.0.0.1:80 <nil>
}

// A whole policy is tested on a channel: here gRPC's own round_robin, which
// needs its health updates queued.
func ExampleChannel() {
	t := &example{} // in a test, its *testing.T
	defer t.finish()

	c := balancertest.NewChannel(t, "round_robin", "", balancertest.WithQueuedHealth())
	if err := c.Update(
		balancertest.Endpoint("10.0.0.1:80", attrs.Attrs{Zone: "eu-1a"}),
		balancertest.Endpoint("10.0.0.2:80", attrs.Attrs{Zone: "eu-1b"}),
	); err != nil {
		t.Errorf("update: %v", err)
	}
	c.Ready("10.0.0.1:80", "10.0.0.2:80")
	fmt.Println(c.State(), c.Count(context.Background(), 10))

	c.Fail(nil, "10.0.0.1:80")
	fmt.Println(c.State(), c.Count(context.Background(), 10))
	// Output:
	// READY map[10.0.0.1:80:5 10.0.0.2:80:5]
	// READY map[10.0.0.2:80:10]
}

// example stands in for a test, which an example has none of.
type example struct {
	testing.TB
	cleanUp func()
}

func (e *example) finish()                         { e.cleanUp() }
func (*example) Helper()                           {}
func (e *example) Cleanup(f func())                { e.cleanUp = f }
func (*example) Errorf(format string, args ...any) { fmt.Printf(format+"\n", args...) }
