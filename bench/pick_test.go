package bench

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/balancer"
)

// ended is how a call ends that went well and brought no load report.
var ended = balancer.DoneInfo{BytesSent: true, BytesReceived: true}

// keys is how many different keys the picks have, in turn: enough for a hash
// table not to stay in the processor's cache.
const keys = 1 << 17

// spin picks for a call with its nth key and ends the call.
func (c *call) spin(picker balancer.Picker, n uint64) error {
	c.number(n % keys)
	picked, err := picker.Pick(c.info)
	if err == nil && picked.Done != nil {
		picked.Done(ended)
	}
	return err
}

// BenchmarkPick is what a call pays for its policy: the pick and the Done. The
// weights are 1:2:4, with which the policies that know weights use them. On a
// busy machine cpu-ns/op tells more than ns/op; it has the garbage collector's
// work in it too. The line of the frame, which chooses nothing, is what the
// benchmark itself takes.
func BenchmarkPick(b *testing.B) {
	eachPicker(b, tried(sizes), func(b *testing.B, p policy, picker balancer.Picker) {
		c, n := p.newCall(), rand.Uint64()
		b.ReportAllocs()
		cpu := cpuTime()
		for b.Loop() {
			if err := c.spin(picker, n); err != nil {
				b.Fatal(err)
			}
			n++
		}
		reportCPU(b, cpu, "cpu-ns/op", 1)
	})
}

// BenchmarkPickParallel is BenchmarkPick from GOMAXPROCS goroutines at once.
func BenchmarkPickParallel(b *testing.B) {
	eachPicker(b, tried([]int{100, 10_000}), func(b *testing.B, p policy, picker balancer.Picker) {
		b.ReportAllocs()
		cpu := cpuTime()
		b.RunParallel(func(pb *testing.PB) {
			c, n := p.newCall(), rand.Uint64()
			for pb.Next() {
				if err := c.spin(picker, n); err != nil {
					b.Error(err)
					return
				}
				n++
			}
		})
		reportCPU(b, cpu, "cpu-ns/op", 1)
	})
}

// reportCPU reports what processors have worked since, per part of an operation.
func reportCPU(b *testing.B, since time.Duration, unit string, parts int) {
	b.ReportMetric(float64((cpuTime()-since).Nanoseconds())/float64(b.N)/float64(parts), unit)
}

// eachPicker runs a benchmark for each policy and size. The backends are
// connected once for all counts of it.
func eachPicker(b *testing.B, sizes []int, run func(*testing.B, policy, balancer.Picker)) {
	for _, p := range append(slices.Clone(policies), frame) {
		for _, n := range sizes {
			var h *host
			open := sync.OnceFunc(func() {
				h = opened(b, p, endpoints(n, 1, 2, 4), p.numbered(keys))
				for c := range p.numbered(keys) { // none is left to connect
					if r := h.pick(c); r.Done != nil {
						r.Done(ended)
					}
				}
			})
			b.Run(fmt.Sprintf("policy=%s/backends=%d", p.label, n), func(b *testing.B) {
				open()
				b.ResetTimer()
				run(b, p, h.picker())
			})
			if h != nil {
				h.close()
			}
		}
	}
}
