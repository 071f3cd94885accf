package e2e

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// BenchmarkScale_PutToPicker is the time from a Put of a new weight until the
// channel has a picker that shares calls by it, in peace: fewer than ten a second.
func BenchmarkScale_PutToPicker(b *testing.B) {
	for _, size := range []int{10, 1000} {
		b.Run(fmt.Sprintf("endpoints=%d", size), func(b *testing.B) {
			etcd := startScale(b, size)
			c := dialScale(b, newScaleBuilder(etcd.Client()), size)
			puts := 20
			if *scaleFull {
				puts = 1000
			}
			var late, fromStart, fromReturn []time.Duration
			for i := range puts {
				pause, began := 100*time.Millisecond+rand.N(50*time.Millisecond), time.Now()
				<-time.After(pause)
				late = append(late, time.Since(began)-pause)
				started, returned, there := etcd.putToPicker(b, c, i%2 == 0)
				fromStart = append(fromStart, there.Sub(started))
				fromReturn = append(fromReturn, there.Sub(returned))
			}
			b.ReportMetric(scaleMillis(quantile(fromReturn, 0.5)), "p50-ms")
			b.ReportMetric(scaleMillis(quantile(fromReturn, 0.99)), "p99-ms")
			b.ReportMetric(scaleMillis(quantile(fromStart, 0.5)), "p50-from-start-ms")
			b.ReportMetric(scaleMillis(quantile(fromStart, 0.99)), "p99-from-start-ms")
			b.ReportMetric(scaleMillis(quantile(late, 0.99)), "p99-timer-late-ms") // the machine's share
			b.ReportMetric(0, "ns/op")                                             // pauses too
		})
	}
}

// putToPicker has the first instance outweigh all others together, or no more.
func (e *scaleEtcd) putToPicker(tb testing.TB, c *scaleChannel, heavy bool) (started, returned, there time.Time) {
	tb.Helper()
	weight := uint32(1)
	if heavy {
		weight = 1_000_000
	}
	for len(c.watched.pickers) > 0 {
		<-c.watched.pickers
	}
	started = time.Now()
	discoverPutValue(tb, e.Client(), scaleKey(0), scaleValue(scaleAddr(0), weight))
	returned = time.Now()
	timeout := time.After(waitLimit)
	for {
		select {
		case p := <-c.watched.pickers:
			if p.heavy == heavy {
				return started, returned, p.at
			}
		case <-timeout:
			require.Fail(tb, "no picker with the new weight", "within %v", waitLimit)
		}
	}
}

// quantile sorts values.
func quantile[T cmp.Ordered](values []T, q float64) T {
	slices.Sort(values)
	return values[int(q*float64(len(values)-1))]
}
