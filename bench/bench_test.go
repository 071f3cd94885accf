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
			if p.keyed() && w.label == oneHeavy {
				continue // a map may have no room for the light ones
			}
			t.Run(p.label+"/"+w.label, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					list := endpoints(n, w.weights(n)...)
					h := opened(t, p, list, p.spread(calls))
					defer h.close()
					h.during = func() { <-time.After(time.Millisecond) } // all are as quick
					s := h.count(list, p.spread(calls))
					require.Zero(t, s.starved)
					if p.keyed() { // the shares of a map are not drawn anew for each call
						require.Less(t, s.peak, 2.5)
						return
					}
					require.Greater(t, s.p, 1e-6)
				})
			})
		}
	}
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
