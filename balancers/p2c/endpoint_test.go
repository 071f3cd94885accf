package p2c

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	ms   = float64(time.Millisecond)
	mean = 10 * ms // latency of the other backends
)

var (
	success  = balancer.DoneInfo{BytesSent: true, BytesReceived: true}
	failure  = balancer.DoneInfo{BytesSent: true, Err: status.Error(codes.Unavailable, "down")}
	notFound = balancer.DoneInfo{BytesSent: true, BytesReceived: true, Err: status.Error(codes.NotFound, "no")}
	canceled = balancer.DoneInfo{BytesSent: true, Err: status.Error(codes.Canceled, "never mind")}
)

// call makes a call to e that takes so long.
func call(e *endpoint, took time.Duration, info balancer.DoneInfo) {
	done := e.begin(e.memory.clock())
	pass(took)
	done(info)
}

// withMean returns an unmeasured endpoint of a channel whose calls take the mean.
func withMean(t *testing.T) *endpoint {
	m := newMemory(t.Context())
	m.reference.sample(mean)
	return newEndpoint(m)
}

func TestSampleLatency_AFirstFailureDoesNotLookFast(t *testing.T) {
	for took, want := range map[float64]float64{ms: mean, mean: mean, 5 * mean: 5 * mean} {
		e := withMean(t)
		e.sampleLatency(took, false, 1, mean)
		require.Equal(t, float32(want), e.latency.value())
	}
}

func TestSampleLatency_FailingFastIsNotBeingFast(t *testing.T) {
	e, now := withMean(t), tick(1)
	e.sampleLatency(mean, true, now, mean)
	for range 100 {
		now += 20
		e.sampleLatency(ms, false, now, mean)
	}
	e.sampleLatency(ms, false, now+60_000, mean)
	require.Equal(t, float32(mean), e.latency.value())

	e.sampleLatency(5*mean, false, now+60_000, mean)
	require.Greater(t, e.latency.value(), float32(mean), "but failing late is being slow")
	e.sampleLatency(ms, true, now+60_000, mean)
	require.Less(t, e.latency.value(), float32(5*mean))
}

func TestSampleLatency_OneLongCallCountsForSixteenTimesTheMean(t *testing.T) {
	e := withMean(t)
	e.sampleLatency(float64(time.Hour), true, 1, mean)
	require.Equal(t, float32(16*mean), e.latency.value())

	e = withMean(t)
	e.sampleLatency(mean, true, 1, mean)
	e.sampleLatency(float64(time.Hour), true, 1, mean)
	require.Equal(t, float32(mean+15*mean*minLatencyGain), e.latency.value())
}

// To find nothing may take less than to find something, or more: it does not
// tell how long other calls take.
func TestLearn_TheCallersOwnErrorsLeaveAMeasuredLatencyAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := withMean(t)
		call(e, 10*time.Millisecond, success)
		want := e.latency.word.Load()
		require.NotZero(t, want)
		for _, took := range []time.Duration{time.Millisecond, 100 * time.Millisecond, time.Minute} {
			call(e, took, notFound)
			require.Equal(t, want, e.latency.word.Load(), "after one that took %s", took)
		}
	})
}

func TestLearn_TheCallersOwnErrorsEndTheProbing(t *testing.T) {
	for took, want := range map[time.Duration]float64{time.Millisecond: mean, 50 * time.Millisecond: 5 * mean} {
		synctest.Test(t, func(t *testing.T) {
			e := withMean(t)
			call(e, took, notFound)
			require.Equal(t, float32(want), e.latency.value())
		})
	}
}

// There is nothing to compare latencies with before anything has succeeded.
func TestCost_IsFiniteBeforeTheFirstSuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := idleGroup(2, []uint32{1, 2, 3})
		m := g.nodes[0].memory
		requireFinite := func(what string) {
			for i := range g.nodes {
				var v view
				v.look(m, m.clock())
				cost, _ := v.costOf(&g.nodes[i])
				require.True(t, cost >= 1 && cost < math.Inf(1), "%s: %g", what, cost)
			}
		}
		requireFinite("before any call")
		for range 10 {
			for i := range g.nodes[:2] {
				call(g.nodes[i].endpoint, time.Millisecond, failure)
				requireFinite("when all have failed")
			}
			call(g.nodes[1].endpoint, time.Millisecond, notFound)
			requireFinite("when none has succeeded")
		}
		call(g.nodes[1].endpoint, 10*time.Millisecond, success)
		requireFinite("after a success")
		call(g.nodes[0].endpoint, time.Millisecond, failure)
		requireFinite("after a failure since")
	})
}

func TestForget_LeavesTheCallsInFlightAndNothingElse(t *testing.T) {
	e := withMean(t)
	done := e.begin(untimed)
	e.answered(true, utilizationOf(0.9), 1)
	e.sampleLatency(mean, true, 1, mean)
	e.forget()
	require.Equal(t, []float32{0, 0, 0}, []float32{e.latency.value(), e.failures.value(), e.busyness.value()})
	require.Equal(t, int64(1), e.inFlight.count())
	done(canceled)
	require.Zero(t, e.inFlight.count())
}

type utilizationOf float64

func (u utilizationOf) GetApplicationUtilization() float64 { return float64(u) }
func (utilizationOf) GetCpuUtilization() float64           { return 0 }
