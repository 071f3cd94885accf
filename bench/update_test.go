package bench

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/resolver"
)

// large are the sizes at which the cost of an update is of interest.
var large = []int{1_000, 10_000}

// BenchmarkRebuild is a list that says nothing new: what the policy spends on
// taking a list over and building a picker. The line of the frame alone tells
// how much of that is not the policy's own.
func BenchmarkRebuild(b *testing.B) {
	for _, p := range append(only(distinct), frame) {
		eachUpdate(b, p, func(list []resolver.Endpoint) []resolver.Endpoint { return list })
	}
}

// BenchmarkWeightChange is a list in which one weight has changed, until the
// picker that knows it is published. It runs for the policies that read
// weights from the list.
func BenchmarkWeightChange(b *testing.B) {
	for _, p := range only(func(p policy) bool { return distinct(p) && !p.ignoresWeights && !p.reports }) {
		eachUpdate(b, p, func(list []resolver.Endpoint) []resolver.Endpoint {
			changed := slices.Clone(list)
			middle := len(list) / 2
			changed[middle] = endpoint(list[middle].Addresses[0].Addr, 8)
			return changed
		})
	}
}

// eachUpdate runs a benchmark in which a list and its change take turns.
func eachUpdate(b *testing.B, p policy, change func([]resolver.Endpoint) []resolver.Endpoint) {
	for _, n := range large {
		list := endpoints(n, 1, 2, 4)
		lists := [][]resolver.Endpoint{change(list), list}
		var h *host
		open := sync.OnceFunc(func() { h = opened(b, p, list, p.numbered(keys)) })
		b.Run(fmt.Sprintf("policy=%s/backends=%d", p.label, n), func(b *testing.B) {
			open()
			b.ReportAllocs()
			b.ResetTimer()
			turn := 0
			for b.Loop() {
				h.updateAndAwait(lists[turn])
				turn = 1 - turn
			}
		})
		if h != nil {
			h.close()
		}
	}
}

// patience bounds how long a policy may take to build a picker.
const patience = 10 * time.Second

// updateAndAwait hands a list over and waits for the picker made of it, also
// where a policy makes it on a goroutine of its own.
func (h *host) updateAndAwait(list []resolver.Endpoint) {
	before := h.pickers.Load()
	h.update(list)
	for start := time.Now(); h.pickers.Load() == before; runtime.Gosched() {
		if time.Since(start) > patience {
			h.tb.Fatalf("%s: no picker %v after an update", h.of.label, patience)
		}
	}
}

// BenchmarkMemory is the heap that a channel holds on to with all its backends
// connected. The fake connections, which are the same for all, are part of it.
func BenchmarkMemory(b *testing.B) {
	for _, p := range append(only(distinct), frame) {
		const n = 10_000
		report(b, fmt.Sprintf("policy=%s/backends=%d", p.label, n), func(b *testing.B) metrics {
			list := endpoints(n, 1, 2, 4)
			before := liveHeap()
			h := opened(b, p, list, p.numbered(keys))
			held := liveHeap() - before
			runtime.KeepAlive(list) // was there before
			h.close()
			return metrics{"heap-B/backend": float64(held) / n}
		})
	}
}

func liveHeap() int64 {
	runtime.GC()
	runtime.GC() // what the first one only moved out of sync.Pool
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
