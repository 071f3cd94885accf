package balancertest_test

import (
	"fmt"
	"testing"

	"google.golang.org/grpc/balancer"

	"github.com/steelyard-go/steelyard/balancertest"
)

// The time for a backend must not depend on how many there are.
func BenchmarkChannel_Ready(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		b.Run(fmt.Sprintf("backends=%d", n), func(b *testing.B) {
			addrs := make([]string, n)
			for i := range addrs {
				addrs[i] = fmt.Sprintf("b%d", i)
			}
			list := endpoints(addrs...)
			for b.Loop() {
				balancer.Register(probeBuilder{&probe{onUpdate: connect}})
				c := balancertest.NewChannel(b, "balancertest_probe", "")
				if err := c.Update(list...); err != nil {
					b.Fatal(err)
				}
				c.Ready(addrs...)
				c.Close()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/backend")
		})
	}
}
