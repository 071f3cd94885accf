package bench

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// The tests of this file guard the harness: numbers of policies that were not
// connected, or not used as they are meant to be, would be worth nothing.

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPolicies_SpreadTheCalls(t *testing.T) {
	const n, calls = 60, 60_000
	for _, p := range policies {
		for _, w := range weightings {
			t.Run(p.label+"/"+w.label, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					list := endpoints(n, w.weights...)
					h := opened(t, p, list, p.spread(calls))
					defer h.close()
					h.during = func() { <-time.After(time.Millisecond) } // all are as quick
					s := h.count(list, p.spread(calls))
					require.Zero(t, s.starved)
					if p.keyed() { // the shares of a map are not drawn anew for each call
						require.Less(t, s.peak, 2.5)
						return
					}
					require.Less(t, s.chi2PerDF*(n-1), chi2Quantile(n-1, 4.75), "p < 1e-6")
				})
			})
		}
	}
}

// chi2Quantile is the value that chi-square with df degrees of freedom exceeds
// as seldom as a normal variable exceeds z (Wilson and Hilferty 1931).
func chi2Quantile(df, z float64) float64 {
	return df * math.Pow(1-2/(9*df)+z*math.Sqrt(2/(9*df)), 3)
}

func TestPolicies_KeepAKeysBackend(t *testing.T) {
	for _, p := range policies {
		if !p.keyed() {
			continue
		}
		t.Run(p.label, func(t *testing.T) {
			h := opened(t, p, endpoints(20, 1), p.numbered(500))
			defer h.close()
			owners := make(map[any]int)
			for range 2 {
				for c := range p.numbered(500) {
					r := h.pick(c)
					owners[[2]any{c.key, r.SubConn}]++
					if r.Done != nil {
						r.Done(ended)
					}
				}
			}
			require.Len(t, owners, 500)
		})
	}
}

func TestHost_ConnectsEveryBackendOnce(t *testing.T) {
	for _, p := range append(only(func(p policy) bool { return !p.lazy }), frame) {
		t.Run(p.label, func(t *testing.T) {
			h := opened(t, p, endpoints(100, 1), p.numbered(1))
			defer h.close()
			require.Empty(t, h.take())
			require.Len(t, h.made, 101, "one each, and one more for the backend that drops an address")
		})
	}
}

func TestCall_SpreadKeysHaveEvenHashes(t *testing.T) {
	const n = 1000
	step, last := uint64(math.MaxUint64/n), uint64(0)
	seen := 0
	for c := range (policy{}).spread(n) {
		hash := xxhash.Sum64(c.key[:])
		if seen > 0 {
			require.Equal(t, step, hash-last)
		}
		last = hash
		seen++
	}
	require.Equal(t, n, seen)
}

func TestCompare(t *testing.T) {
	s := compare([]int{30, 50, 0, 120}, []float64{50, 50, 50, 50})
	require.InDelta(t, (400+0+2500+4900)/50.0/3, s.chi2PerDF, 1e-9)
	require.InDelta(t, 1.4, s.maxDeviation, 1e-9)
	require.InDelta(t, 2.4, s.peak, 1e-9)
	require.Equal(t, 1, s.starved)
}

func TestChi2Quantile_OfTheTables(t *testing.T) {
	require.InDelta(t, 124.34, chi2Quantile(100, 1.6449), 0.1) // p = 0.05
	require.InDelta(t, 149.45, chi2Quantile(100, 3.0902), 0.2) // p = 0.001
}
