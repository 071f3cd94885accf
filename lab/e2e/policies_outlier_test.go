package e2e

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	estats "google.golang.org/grpc/experimental/stats"
	"google.golang.org/grpc/stats"
	_ "google.golang.org/grpc/xds" // the only public way to outlier_detection_experimental
)

// ejections hears from outlier detection's metrics when it first ejects a backend.
type ejections struct {
	estats.UnimplementedMetricsRecorder
	first atomic.Int64 // in ns since 1970, 0 for never
}

func (e *ejections) RecordInt64Count(handle *estats.Int64CountHandle, _ int64, _ ...string) {
	if handle.Descriptor().Name == "grpc.lb.outlier_detection.ejections_enforced" {
		e.first.CompareAndSwap(0, time.Now().UnixNano())
	}
}

// The channel takes metrics recorders as stats handlers.
func (e *ejections) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context   { return ctx }
func (e *ejections) HandleRPC(context.Context, stats.RPCStats)                         {}
func (e *ejections) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (e *ejections) HandleConn(context.Context, stats.ConnStats)                       {}

func TestPolicies_UnderOutlierDetectionSpareTheEjectedBackend(t *testing.T) {
	const (
		ejectionTime = 2 * time.Second
		// One call is enough: p2c finds out by itself and makes few.
		fields = `"interval":"0.1s","baseEjectionTime":"2s","maxEjectionPercent":50,
			"failurePercentageEjection":{"threshold":50,"enforcementPercentage":100,"minimumHosts":1,"requestVolume":1}`
	)
	forEachPolicy(t, func(t *testing.T, p underTest) {
		servers := startPolicyServers(t, 3)
		bad := servers[2]
		var heard ejections
		c, _ := dialManual(t, endpointsOf(servers), p.under("outlier_detection_experimental", fields), grpc.WithStatsHandler(&heard))
		c.awaitAll(t, servers)

		bad.failing.Store(true)
		tr := c.keepCalling(t, fewWorkers)
		require.Eventually(t, func() bool { return heard.first.Load() > 0 }, waitLimit, pollInterval, "ejection")
		tr.end()
		ejected := time.Unix(0, heard.first.Load())
		served := bad.calls.Load()
		for time.Since(ejected) < ejectionTime*3/4 {
			c.spread(t, fewWorkers) // and no call fails
		}
		require.Equal(t, served, bad.calls.Load(), "calls to the ejected backend")

		bad.failing.Store(false)
		c.awaitAll(t, servers)
		require.GreaterOrEqual(t, time.Since(ejected), ejectionTime, "it has been let back in")
		require.Positive(t, c.spread(t, 100)[bad.addr], "and stays")
		accepted, closed := connections(servers)
		require.Equal(t, []int64{3, 0}, []int64{accepted, closed}, "connections made and closed")
	})
}
