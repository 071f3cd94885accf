package bench

import (
	"fmt"
	"math"
	"testing"

	"google.golang.org/grpc/resolver"
)

// awkward are weights that rotations find hard: of which few calls, or few
// runs through the list, do not come out even.
var awkward = []struct {
	label    string
	backends int
	weights  []uint32 // dealt out in turn
}{
	{"1:1000", 2, []uint32{1, 1_000}},
	{"999:1000:1001", 3, []uint32{999, 1_000, 1_001}},
	{"primes", 100, []uint32{2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97}},
	{oneHeavy, 100, heavy(100, 1_000)},
	{"millions", 10, []uint32{1, 1_000_000, 999_983, 7, 31_337}},
	{"1to100", 10_000, upTo(100)},
}

func upTo(n uint32) []uint32 {
	weights := make([]uint32, n)
	for i := range weights {
		weights[i] = uint32(i) + 1
	}
	return weights
}

// BenchmarkSmooth is by how many calls a backend's count was off its share, at
// the worst, at any time in a million calls of a new picker: of the policies
// that rotate by weight. It reports no time.
func BenchmarkSmooth(b *testing.B) {
	for _, p := range only(func(p policy) bool { return p.rotates }) {
		for _, a := range awkward {
			if onlyTried() && a.backends > 1_000 {
				continue
			}
			report(b, fmt.Sprintf("policy=%s/weights=%s/backends=%d", p.label, a.label, a.backends), func(b *testing.B) metrics {
				list := endpoints(a.backends, a.weights...)
				h := opened(b, p, list, p.numbered(1))
				defer h.close()
				return metrics{"max-dev-calls": h.worstOff(list, 1_000_000)}
			})
		}
	}
}

// worstOff makes the calls and returns the largest deviation. A backend is
// behind its share at the worst right before a call to it, or in the end, and
// ahead of it right after one.
func (h *host) worstOff(list []resolver.Endpoint, calls int) float64 {
	share, picks := h.of.fair(list), make([]float64, len(list))
	worst, c := 0.0, h.of.newCall()
	look := func(backend int32, calls int) {
		worst = max(worst, math.Abs(float64(calls)*share[backend]-picks[backend]))
	}
	for i := range calls {
		picked := h.pick(c)
		if picked.Done != nil {
			picked.Done(ended)
		}
		backend := picked.SubConn.(*subConn).number
		look(backend, i)
		picks[backend]++
		look(backend, i+1)
	}
	for backend := range list {
		look(int32(backend), calls)
	}
	return worst
}
