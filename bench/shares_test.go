package bench

import (
	"flag"
	"fmt"
	"iter"
	"math"
	"testing"

	"google.golang.org/grpc/resolver"

	"github.com/steelyard-go/steelyard/attrs"
)

var sizes = []int{3, 10, 100, 1_000, 10_000}

// weightings say what n backends weigh.
var weightings = []struct {
	label   string
	weights func(n int) []uint32
}{
	{"equal", func(int) []uint32 { return []uint32{1} }},
	{"1:2:4", func(int) []uint32 { return []uint32{1, 2, 4} }},
	{oneHeavy, func(n int) []uint32 { return heavy(n, 1_000) }},
}

// oneHeavy is the weighting in which one backend weighs a thousand times as
// much as any other.
const oneHeavy = "1:1000"

// heavy returns n weights of 1, but for the one in the middle.
func heavy(n int, weight uint32) []uint32 {
	weights := make([]uint32, n)
	for i := range weights {
		weights[i] = 1
	}
	weights[n/2] = weight
	return weights
}

// shares is how calls were spread, against how they should have been.
type shares struct {
	chi2PerDF float64 // about 1 for an honest draw, less for a rotation, more for what is biased
	p         float64 // how often an honest draw is off by as much
	off       float64 // calls that a backend got too many or too few, at the worst
	offShare  float64 // the same, relative to those expected, of the backend that is worst off by it
	peak      float64 // the largest observed ÷ expected
	starved   int     // backends that got no call
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
	counts, expected := make([]int, len(list)), h.of.fair(list)
	for i, e := range list {
		counts[i] = picks[e.Addresses[0].Addr]
		expected[i] *= float64(total)
	}
	return compare(counts, expected)
}

// fair returns each backend's share as it should be.
func (p policy) fair(list []resolver.Endpoint) []float64 {
	share, sum := make([]float64, len(list)), 0.0
	for i, e := range list {
		share[i] = 1
		if !p.ignoresWeights {
			share[i] = float64(attrs.FromEndpoint(e).Weight)
		}
		sum += share[i]
	}
	for i := range share {
		share[i] /= sum
	}
	return share
}

func compare(counts []int, expected []float64) shares {
	var s shares
	var chi2 float64
	for i, want := range expected {
		off := float64(counts[i]) - want
		chi2 += off * off / want
		s.off = max(s.off, math.Abs(off))
		s.offShare = max(s.offShare, math.Abs(off)/want)
		s.peak = max(s.peak, float64(counts[i])/want)
		if counts[i] == 0 {
			s.starved++
		}
	}
	df := float64(max(1, len(counts)-1))
	s.chi2PerDF, s.p = chi2/df, chi2P(df, chi2)
	return s
}

// callsFor is how many calls it takes to see how n backends share: a million,
// or more where that would be less than a hundred for each; an eighth of the
// million where only a try is asked for. A map of keys that consists of hundreds
// of pieces for each backend takes sixteen times as many. It is a power of two, so
// that evenly spread hashes fall evenly on tables whose size is one.
func (p policy) callsFor(n int) int {
	each := 100
	if p.keyed() && !p.stock { // gRPC's ring has 4,096 pieces at the most
		each = 1600
	}
	calls := 1 << 20
	if onlyTried() {
		calls = 1 << 17
	}
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
			if p.ignoresWeights && w.label != "equal" {
				continue
			}
			for _, n := range tried(sizes) {
				report(b, fmt.Sprintf("policy=%s/weights=%s/backends=%d", p.label, w.label, n), func(b *testing.B) metrics {
					list, calls := endpoints(n, w.weights(n)...), p.spread(p.callsFor(n))
					h := opened(b, p, list, calls)
					defer h.close()
					s := h.count(list, calls)
					return metrics{
						"chi2/df": s.chi2PerDF, "p": s.p,
						"max-dev-calls": s.off, "max-dev-%": 100 * s.offShare,
						"peak/avg": s.peak, "starved": float64(s.starved),
					}
				})
			}
		}
	}
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

// onlyTried tells that the benchmarks run to see that they run, with
// -benchtime 1x. What is no matter of time then keeps itself short.
func onlyTried() bool {
	benchtime := flag.Lookup("test.benchtime")
	return benchtime != nil && benchtime.Value.String() == "1x"
}

// tried returns the sizes, without the largest if only a try is asked for.
func tried(sizes []int) []int {
	if onlyTried() {
		return sizes[:len(sizes)-1]
	}
	return sizes
}
