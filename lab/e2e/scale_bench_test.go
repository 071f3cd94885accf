package e2e

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/resolver"
)

// Each of these benchmarks is to be run once (-benchtime 1x), and is a comparison
// within one run. Processor time is that of this process: etcd and who writes there
// have their own.

// scaleSize is how many endpoints a large service has.
const scaleSize = 20_000

// BenchmarkScale_FirstList is the time from Build to the list of all endpoints. The
// resolvers take turns, so that both see the same machine.
func BenchmarkScale_FirstList(b *testing.B) {
	etcd := startScale(b, scaleSize)
	var took, worked, allocated [len(scaleResolvers)][]float64
	for b.Loop() {
		for i, r := range scaleResolvers {
			builder, err := r.new(etcd.Client()) // a new one: ours remembers
			require.NoError(b, err)
			runtime.GC() // what the one before left
			heap, cpu, began := scaleAllocated(), scaleCPU(), time.Now()
			cc := buildScale(b, builder)
			cc.requireList(b, scaleSize)
			took[i] = append(took[i], scaleMillis(time.Since(began)))
			worked[i] = append(worked[i], scaleMillis(scaleCPU()-cpu))
			allocated[i] = append(allocated[i], (scaleAllocated()-heap)/1e6)
			cc.Close()
		}
	}
	for i, r := range scaleResolvers {
		b.ReportMetric(quantile(took[i], 0.5), r.name+"-ms/list")
		b.ReportMetric(quantile(worked[i], 0.5), r.name+"-cpu-ms/list")
		b.ReportMetric(quantile(allocated[i], 0.5), r.name+"-MB/list")
	}
	b.ReportMetric(0, "ns/op") // closing too
}

// BenchmarkScale_Memory is what channels hold on to, with the last list of each.
func BenchmarkScale_Memory(b *testing.B) {
	for _, channels := range []int{1, 100} {
		size := scaleSize
		if channels > 1 && !*scaleFull {
			size /= 10
		}
		b.Run(fmt.Sprintf("channels=%d/endpoints=%d", channels, size), func(b *testing.B) {
			startScale(b, size).forEachResolver(b, func(b *testing.B, builder resolver.Builder) {
				before := scaleHeap()
				began := time.Now()
				ccs := buildScales(b, builder, channels, size)
				took := time.Since(began)
				b.ReportMetric((scaleHeap()-before)/float64(size), "B/endpoint")
				b.ReportMetric(scaleMillis(took), "ms")
				closeScales(ccs)
			})
		})
	}
}

// BenchmarkScale_Channels is a thousand channels on one service.
func BenchmarkScale_Channels(b *testing.B) {
	const channels, size, changes = 1000, 100, 5
	etcd := startScale(b, size)
	etcd.forEachResolver(b, func(b *testing.B, builder resolver.Builder) {
		before, routines, watches := scaleHeap(), runtime.NumGoroutine(), etcd.watches(b)
		began, worked := time.Now(), scaleCPU()
		ccs := buildScales(b, builder, channels, size)
		b.ReportMetric(scaleMillis(time.Since(began)), "ms")
		b.ReportMetric(scaleMillis(scaleCPU()-worked), "cpu-ms")
		b.ReportMetric((scaleHeap()-before)/channels, "B/channel")
		b.ReportMetric(float64(runtime.NumGoroutine()-routines), "goroutines")
		b.ReportMetric(etcd.watches(b)-watches, "watches")

		worked = scaleCPU()
		etcd.write(b, scaleCommand{Changes: changes, Every: 200 * time.Millisecond, Mark: true})
		for _, cc := range ccs {
			cc.requireList(b, size+1)
		}
		b.ReportMetric(scaleMillis(scaleCPU()-worked)/(changes+1), "cpu-ms/change")
		closeScales(ccs)
		etcd.write(b, scaleCommand{Unmark: true})
	})
}

// buildScales builds resolvers and returns when all have the list.
func buildScales(tb testing.TB, builder resolver.Builder, channels, size int) []*scaleCC {
	tb.Helper()
	ccs := make([]*scaleCC, channels)
	for i := range ccs {
		ccs[i] = buildScale(tb, builder)
	}
	for _, cc := range ccs {
		cc.requireList(tb, size)
	}
	return ccs
}

func closeScales(ccs []*scaleCC) {
	for _, cc := range ccs {
		cc.Close()
	}
}

// BenchmarkScale_Change is what one changed weight costs, with time between the
// changes, and 1,000 of them a second. Above the resolver is nothing, or a channel
// with steelyard_weighted.
func BenchmarkScale_Change(b *testing.B) {
	etcd := startScale(b, scaleSize)
	b.Run("above=nothing", func(b *testing.B) {
		etcd.forEachResolver(b, func(b *testing.B, builder resolver.Builder) {
			cc := buildScale(b, builder)
			defer cc.Close()
			cc.requireList(b, scaleSize)
			b.Run("one", func(b *testing.B) { etcd.measureOne(b, cc) })
			b.Run("storm", func(b *testing.B) { etcd.measureStorm(b, cc) })
		})
	})
	b.Run("above=weighted", func(b *testing.B) {
		etcd.forEachResolver(b, func(b *testing.B, builder resolver.Builder) {
			c := dialScale(b, builder, scaleSize)
			b.Run("one", func(b *testing.B) { etcd.measureOne(b, c.scaleCC) })
			if *scaleFull {
				b.Run("storm", func(b *testing.B) { etcd.measureStorm(b, c.scaleCC) })
			}
			require.LessOrEqual(b, c.watched.made.Load(), int64(scaleSize+2), "connections, one for each mark")
		})
	})
}

// measureOne makes changes so far apart that no resolver gathers them.
func (e *scaleEtcd) measureOne(b *testing.B, cc *scaleCC) {
	b.Helper()
	changes := 10
	if *scaleFull {
		changes = 200
	}
	runtime.GC()
	updates, worked, allocated := cc.count(), scaleCPU(), scaleAllocated()
	e.write(b, scaleCommand{Changes: changes, Every: 150 * time.Millisecond, Mark: true})
	cc.requireList(b, e.size+1)
	all := float64(changes + 1)
	b.ReportMetric(scaleMillis(scaleCPU()-worked)/all, "cpu-ms/change")
	b.ReportMetric((scaleAllocated()-allocated)/all, "B/change")
	b.ReportMetric(float64(cc.count()-updates)/all, "updates/change")
	e.write(b, scaleCommand{Unmark: true})
	cc.requireList(b, e.size)
	b.ReportMetric(0, "ns/op")
}

// measureStorm makes 1,000 changes a second. The last one is visible lag later, or
// missing at that time.
func (e *scaleEtcd) measureStorm(b *testing.B, cc *scaleCC) {
	b.Helper()
	seconds, patience := 5, 2*time.Second
	if *scaleFull {
		seconds, patience = 60, 30*time.Second
	}
	runtime.GC()
	updates, worked, allocated, began := cc.count(), scaleCPU(), scaleAllocated(), time.Now()
	e.write(b, scaleCommand{Changes: 1000 * seconds, Every: time.Millisecond, Mark: true})
	wrote := time.Now()
	storm := wrote.Sub(began).Seconds()
	arrived := cc.await(e.size+1, patience)
	b.ReportMetric(scaleMillis(time.Since(wrote)), "lag-ms")
	b.ReportMetric(float64(1000*seconds)/storm, "changes/s")
	b.ReportMetric(float64(cc.count()-updates)/storm, "updates/s")
	b.ReportMetric(scaleMillis(scaleCPU()-worked)/storm, "cpu-ms/s")
	b.ReportMetric((scaleAllocated()-allocated)/1e6/storm, "MB/s")
	b.ReportMetric(0, "ns/op")
	if !arrived {
		b.ReportMetric(1, "missing")
	}
	e.write(b, scaleCommand{Unmark: true})
	if arrived {
		cc.requireList(b, e.size)
	}
}
