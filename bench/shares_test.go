package bench

import (
	"fmt"
	"iter"
	"math"
	"testing"

	"google.golang.org/grpc/resolver"

	"github.com/steelyard-go/steelyard/attrs"
)

var sizes = []int{3, 100, 1_000, 10_000}

// shares is how calls were spread, against how they should have been.
type shares struct {
	chi2PerDF    float64 // about 1 for an honest draw, less for a rotation, more for what is biased
	maxDeviation float64 // of a backend's calls from those expected, relative to those
	peak         float64 // the largest observed ÷ expected
	starved      int     // backends that got no call
}

// count makes the calls one by one, ending each before the next, and compares.
func (h *host) count(list []resolver.Endpoint, calls iter.Seq[*call]) shares {
	total := 0
	for c := range calls {
		picked := h.pick(c)
		picked.SubConn.(*subConn).picks++
		h.during()
		if picked.Done != nil {
			picked.Done(ended)
		}
		total++
	}
	picks := make(map[string]int, len(list))
	for _, s := range h.made {
		picks[s.addr] += s.picks
	}
	counts, expected, sum := make([]int, len(list)), make([]float64, len(list)), 0.0
	for i, e := range list {
		counts[i], expected[i] = picks[e.Addresses[0].Addr], 1
		if !h.of.ignoresWeights {
			expected[i] = float64(attrs.FromEndpoint(e).Weight)
		}
		sum += expected[i]
	}
	for i := range expected {
		expected[i] *= float64(total) / sum
	}
	return compare(counts, expected)
}

func compare(counts []int, expected []float64) shares {
	var s shares
	var chi2 float64
	for i, want := range expected {
		off := float64(counts[i]) - want
		chi2 += off * off / want
		s.maxDeviation = max(s.maxDeviation, math.Abs(off)/want)
		s.peak = max(s.peak, float64(counts[i])/want)
		if counts[i] == 0 {
			s.starved++
		}
	}
	s.chi2PerDF = chi2 / float64(max(1, len(counts)-1))
	return s
}

// callsFor is how many calls it takes to see how n backends share: 131,072, or
// more where that would be less than a hundred for each. A map of keys that
// consists of hundreds of pieces for each backend takes four times as many. It
// is a power of two, so that evenly spread hashes fall evenly on tables whose
// size is one.
func (p policy) callsFor(n int) int {
	each := 100
	if p.keyed() && !p.stock { // gRPC's ring has 4,096 pieces at the most
		each = 400
	}
	calls := 1 << 17
	for calls < each*n {
		calls *= 2
	}
	return calls
}

// BenchmarkShares counts who gets the calls when nothing is in flight. It
// reports no time. What prefers quick backends is left out: calls that take no
// time are no quicker here than there, but for the noise, which it would
// follow. TestPolicies_SpreadTheCalls gives its calls a time. Policies that
// ignore weights are held against equal shares, and run with equal weights.
func BenchmarkShares(b *testing.B) {
	for _, p := range only(func(p policy) bool { return distinct(p) && !p.timesCalls }) {
		for _, w := range weightings {
			if p.ignoresWeights && len(w.weights) > 1 {
				continue
			}
			for _, n := range sizes {
				report(b, fmt.Sprintf("policy=%s/weights=%s/backends=%d", p.label, w.label, n), func(b *testing.B) metrics {
					list, calls := endpoints(n, w.weights...), p.spread(p.callsFor(n))
					h := opened(b, p, list, calls)
					defer h.close()
					s := h.count(list, calls)
					return metrics{
						"chi2/df": s.chi2PerDF, "max-dev-%": 100 * s.maxDeviation,
						"peak/avg": s.peak, "starved": float64(s.starved),
					}
				})
			}
		}
	}
}

var weightings = []struct {
	label   string
	weights []uint32 // dealt out in turn
}{
	{"equal", []uint32{1}},
	{"1:2:4", []uint32{1, 2, 4}},
}

type metrics map[string]float64

// report is a benchmark of what is not a matter of time: it is measured once
// for each -count, however long -benchtime is.
func report(b *testing.B, name string, measure func(*testing.B) metrics) {
	var measured metrics
	b.Run(name, func(b *testing.B) {
		if b.N == 1 { // how each count begins
			measured = measure(b)
		}
		for unit, value := range measured {
			b.ReportMetric(value, unit)
		}
		b.ReportMetric(0, "ns/op") // drops it
	})
}
