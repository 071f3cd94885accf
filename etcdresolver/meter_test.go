package etcdresolver

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/experimental/stats"
	"google.golang.org/grpc/resolver"
)

// recorder notes what gRPC's metrics are told.
type recorder struct {
	stats.MetricsRecorder

	mu     sync.Mutex
	counts map[string]int64
	gauges map[string]int64
	delays []float64
	labels map[string]bool
}

func newRecorder() *recorder {
	return &recorder{counts: make(map[string]int64), gauges: make(map[string]int64), labels: make(map[string]bool)}
}

func (r *recorder) RecordInt64Count(handle *stats.Int64CountHandle, n int64, labels ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts[handle.Name] += n
	r.labels[labels[0]] = true
}

func (r *recorder) RecordInt64Gauge(handle *stats.Int64GaugeHandle, n int64, labels ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gauges[handle.Name] = n
	r.labels[labels[0]] = true
}

func (r *recorder) RecordFloat64Histo(_ *stats.Float64HistoHandle, seconds float64, labels ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.delays = append(r.delays, seconds)
	r.labels[labels[0]] = true
}

func TestMeter_TellsGRPCOfTheChannel(t *testing.T) {
	const updates, endpoints, held = "steelyard.resolver.updates", "steelyard.resolver.endpoints", "steelyard.resolver.held_endpoints"
	synctest.Test(t, func(t *testing.T) {
		etcd, recorder := newFakeEtcd(), newRecorder()
		all := []change{{"payments/a", addrA}, {"payments/b", addrB}, {"payments/c", addrC}}
		etcd.commit(all...)
		cc := &fakeCC{options: resolver.BuildOptions{MetricsRecorder: recorder}}
		cc.dial(t, etcd.builder(t), "payments")
		synctest.Wait()
		require.Equal(t, map[string]bool{"etcd:///payments": true}, recorder.labels)
		require.EqualValues(t, 1, recorder.counts[updates])
		require.Equal(t, map[string]int64{endpoints: 3, held: 0}, recorder.gauges)
		require.Empty(t, recorder.delays, "no event told of it")

		pass(settle)
		etcd.put("payments/d", addrD)
		pass(settle)
		require.EqualValues(t, 2, recorder.counts[updates])
		require.Equal(t, map[string]int64{endpoints: 4, held: 0}, recorder.gauges)
		require.Equal(t, []float64{defaultDebounce.Seconds()}, recorder.delays)

		etcd.commit(change{key: "payments/a"}, change{key: "payments/b"}, change{key: "payments/c"})
		pass(settle)
		require.EqualValues(t, 2, recorder.counts[updates], "no update")
		require.Equal(t, map[string]int64{endpoints: 4, held: 3}, recorder.gauges, "and yet news")
		etcd.commit(all...)
		pass(settle)
		require.Equal(t, map[string]int64{endpoints: 4, held: 0}, recorder.gauges)
		require.EqualValues(t, 2, recorder.counts[updates])
		require.Len(t, recorder.delays, 1)
	})
}

func TestMeter_TellsWhenTheListIsEmpty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd, recorder := newFakeEtcd(), newRecorder()
		etcd.put("payments/a", addrA)
		cc := &fakeCC{options: resolver.BuildOptions{MetricsRecorder: recorder}}
		cc.dial(t, etcd.builder(t, WithEmptyGuard(0)), "payments")
		synctest.Wait()
		etcd.delete("payments/a")
		pass(time.Minute)
		require.Zero(t, recorder.gauges["steelyard.resolver.endpoints"])
		require.EqualValues(t, 2, recorder.counts["steelyard.resolver.updates"])
	})
}
