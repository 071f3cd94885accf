package bench

import (
	"fmt"
	"os"
	"testing"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/balancer/base"
	"google.golang.org/grpc/resolver"

	"github.com/steelyard-go/steelyard/balancers"
)

// longEnv is the environment variable that lets benchmarks run that take
// half a minute and more for a single operation.
const longEnv = "STEELYARD_BENCH_LONG"

// Two policies that choose nothing, to tell the cost of a frame from that of
// what stands in it: gRPC's base balancer, and the frame of this module.
var (
	stockBase = policy{label: "stock_base", lb: "bench_base", addresses: true, stock: true}
	frame     = policy{label: "frame", lb: "bench_frame"}
)

func init() {
	balancer.Register(base.NewBalancerBuilder(stockBase.lb, buildConstant{}, base.Config{}))
	balancers.Register(frame.lb, struct{}{}, func(_ struct{}, backends []balancers.Backend) balancer.Picker {
		return constant{backends[0].SubConn}
	})
}

type buildConstant struct{}

func (buildConstant) Build(info base.PickerBuildInfo) balancer.Picker {
	for sc := range info.ReadySCs {
		return constant{sc}
	}
	return base.NewErrPicker(balancer.ErrNoSubConnAvailable)
}

type constant struct{ subConn balancer.SubConn }

func (p constant) Pick(balancer.PickInfo) (balancer.PickResult, error) {
	return balancer.PickResult{SubConn: p.subConn}, nil
}

// BenchmarkConnect is the start of a channel: the list comes, the backends
// become READY one by one, a call is made after each, and the list comes once
// more, so that a picker with all of them is part of the cost. What takes time
// quadratic in their number runs with few of them, unless longEnv is set. A
// policy that connects when a call wants it has no such start.
func BenchmarkConnect(b *testing.B) {
	for _, p := range append(only(func(p policy) bool { return distinct(p) && !p.lazy }), frame, stockBase) {
		sizes := []int{1_000, 10_000}
		if p.stock && os.Getenv(longEnv) == "" {
			sizes = []int{300, 1_000}
		}
		for _, n := range sizes {
			b.Run(fmt.Sprintf("policy=%s/backends=%d", p.label, n), func(b *testing.B) {
				list := endpoints(n, 1, 2, 4)
				b.ReportAllocs()
				cpu := cpuTime()
				for b.Loop() {
					connectOneByOne(b, p, list)
				}
				reportCPU(b, cpu, "cpu-ns/backend", n)
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/backend")
			})
		}
	}
}

func connectOneByOne(b *testing.B, p policy, list []resolver.Endpoint) {
	h := newHost(b, p)
	defer h.close()
	h.update(list)
	c := p.newCall()
	for i, s := range h.take() {
		s.ready()
		if err := c.spin(h.picker(), uint64(i)); err != nil {
			b.Fatal(err)
		}
	}
	h.update(list)
}
