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
		eachChannel(b, p, func(b *testing.B, h *host, list []resolver.Endpoint) {
			for b.Loop() {
				h.updateAndAwait(list)
			}
		})
	}
}

// BenchmarkWeightChange is a list in which one weight has changed, until calls
// are shared by it. It runs for the policies that read weights from the list.
func BenchmarkWeightChange(b *testing.B) {
	for _, p := range only(func(p policy) bool { return distinct(p) && !p.ignoresWeights && !p.reports }) {
		eachChannel(b, p, func(b *testing.B, h *host, list []resolver.Endpoint) {
			changed := slices.Clone(list)
			middle := len(list) / 2
			changed[middle] = endpoint(list[middle].Addresses[0].Addr, 8)
			lists := [][]resolver.Endpoint{changed, list}
			marks := h.marks(lists[0], lists[1])
			var taking time.Duration
			b.ResetTimer()
			turn := 0
			for b.Loop() {
				start := time.Now()
				h.updateAndAwait(lists[turn])
				taking += time.Since(start)
				h.awaitMarks(marks[turn])
				turn = 1 - turn
				h.rest(b)
			}
			b.ReportMetric(float64(taking.Nanoseconds())/float64(b.N), "list-ns/op")
		})
	}
}

// BenchmarkMembership is a backend that leaves the list and comes back, each
// until calls are shared by the list. The backend connects at once. A policy
// that connects when a call wants it would be measured by its calls.
func BenchmarkMembership(b *testing.B) {
	for _, p := range append(only(func(p policy) bool { return distinct(p) && !p.lazy }), frame) {
		eachChannel(b, p, func(b *testing.B, h *host, list []resolver.Endpoint) {
			middle := len(list) / 2
			without := slices.Delete(slices.Clone(list), middle, middle+1)
			marks := h.marks(without, list)
			var removed, added time.Duration
			b.ResetTimer()
			for b.Loop() {
				start := time.Now()
				h.updateAndAwait(without)
				h.awaitMarks(marks[0])
				removed += time.Since(start)
				h.rest(b)
				start = time.Now()
				h.update(list)
				before := h.pickers.Load()
				h.connect()
				h.await("a picker after a connect", func() bool { return h.pickers.Load() != before })
				h.awaitMarks(marks[1])
				added += time.Since(start)
				h.rest(b)
			}
			b.ReportMetric(float64(removed.Nanoseconds())/float64(b.N), "removed-ns/op")
			b.ReportMetric(float64(added.Nanoseconds())/float64(b.N), "added-ns/op")
		})
	}
}

// rest lets policies that build in the background, and then rest from it, come
// to the end of that, for the next change to be a single one again. It takes no
// time of the benchmark.
func (h *host) rest(b *testing.B) {
	if h.of.keyed() {
		b.StopTimer()
		h.settle()
		b.StartTimer()
	}
}

// eachChannel runs a benchmark of updates for each size.
func eachChannel(b *testing.B, p policy, run func(*testing.B, *host, []resolver.Endpoint)) {
	for _, n := range tried(large) {
		list := endpoints(n, 1, 2, 4)
		var h *host
		open := sync.OnceFunc(func() { h = opened(b, p, list, p.numbered(keys)) })
		b.Run(fmt.Sprintf("policy=%s/backends=%d", p.label, n), func(b *testing.B) {
			open()
			b.ReportAllocs()
			b.ResetTimer()
			run(b, h, list)
		})
		if h != nil {
			h.close()
		}
	}
}

// mark is a key and the backend it goes to with some list.
type mark struct{ key, owner int32 }

// marks returns, for each of two lists, keys that tell which of them is in
// force: those that go elsewhere with the other. Policies without keys have no
// marks, and those of gRPC, which do all that is to do in the update, need none.
// The second list is in force in the end.
func (h *host) marks(first, second []resolver.Endpoint) [2][]mark {
	var marks [2][]mark
	if !h.of.keyed() || h.of.stock {
		return marks
	}
	var owners [2][]int32
	for _, turn := range []int{0, 1} {
		h.update([][]resolver.Endpoint{first, second}[turn])
		h.connect()
		h.settle()
		owners[turn] = h.owners(keys)
	}
	for key := range owners[0] {
		if owners[0][key] != owners[1][key] && len(marks[0]) < 64 {
			for turn := range marks {
				marks[turn] = append(marks[turn], mark{int32(key), owners[turn][key]})
			}
		}
	}
	if len(marks[0]) == 0 {
		h.tb.Fatalf("%s: all keys go to the same backends with both lists", h.of.label)
	}
	return marks
}

// awaitMarks waits until all marks go where they should.
func (h *host) awaitMarks(marks []mark) {
	c := h.of.newCall()
	h.await("the shares of the new list", func() bool {
		for _, m := range marks {
			c.place(int(m.key), keys)
			picked := h.pick(c)
			if picked.Done != nil {
				picked.Done(ended)
			}
			if picked.SubConn.(*subConn).number != m.owner {
				return false
			}
		}
		return true
	})
}

// BenchmarkMemory is the heap that a channel holds on to with all its backends
// connected. The fake connections, which are the same for all, are part of it.
func BenchmarkMemory(b *testing.B) {
	for _, p := range append(only(distinct), frame) {
		for _, n := range tried(sizes[1:]) {
			report(b, fmt.Sprintf("policy=%s/backends=%d", p.label, n), func(b *testing.B) metrics {
				held := heapOf(b, p, n)
				return metrics{"heap-B/channel": held, "heap-B/backend": held / float64(n)}
			})
		}
	}
}

func heapOf(b *testing.B, p policy, n int) float64 {
	list := endpoints(n, 1, 2, 4)
	before := liveHeap()
	h := opened(b, p, list, p.numbered(keys))
	h.settle()
	held := liveHeap() - before
	runtime.KeepAlive(list) // was there before
	h.close()
	return float64(held)
}

func liveHeap() int64 {
	runtime.GC()
	runtime.GC() // what the first one only moved out of sync.Pool
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
