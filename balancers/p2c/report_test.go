package p2c_test

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/steelyard-go/steelyard/balancers/p2c"
)

// utilization is a server's load report, as far as the policy reads it.
type utilization struct{ application, cpu float64 }

func (u utilization) GetApplicationUtilization() float64 { return u.application }
func (u utilization) GetCpuUtilization() float64         { return u.cpu }

// meter makes a server report the calls it had of late against its capacity.
type meter struct {
	capacity float64 // calls per second
	rate     float64 // smoothed over a second
	last     time.Time
}

func (m *meter) report() any {
	now := time.Now()
	m.rate = m.rate*math.Exp(-now.Sub(m.last).Seconds()) + 1
	m.last = now
	return utilization{application: m.rate / m.capacity, cpu: 0.01}
}

func TestReport_BusyBackendsGetFewerCalls(t *testing.T) {
	for _, load := range []string{p2c.Latency, p2c.Requests} {
		synctest.Test(t, func(t *testing.T) {
			servers := []*server{{took: 5 * time.Millisecond}, {took: 5 * time.Millisecond}, {took: 5 * time.Millisecond}}
			for i, s := range servers {
				m := &meter{capacity: []float64{1000, 1000, 500}[i], last: time.Now()}
				s.load = m.report
			}
			tr := newTraffic(p2c.Config{Load: load}, servers...)
			tr.run(t, 10*time.Second, 2*time.Millisecond)
			shares := tr.run(t, 30*time.Second, 2*time.Millisecond)
			// √½ : 1 : 1, half of the way from 1:1:1 to the capacities.
			require.InDeltaf(t, 0.261, shares[servers[2]], 0.03, "load %s: half the capacity of the others", load)
			require.InDeltaf(t, 0.369, shares[servers[0]], 0.03, "load %s", load)
		})
	}
}

func TestReport_ProcessorsCountWhereTheApplicationSaysNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		idle, busy := &server{took: 5 * time.Millisecond}, &server{took: 5 * time.Millisecond}
		idle.load = func() any { return utilization{cpu: 0.2} }
		busy.load = func() any { return utilization{cpu: 0.9} }
		tr := newTraffic(p2c.Config{}, idle, busy)
		tr.run(t, 5*time.Second, 10*time.Millisecond)
		shares := tr.run(t, 20*time.Second, 10*time.Millisecond)
		require.Less(t, shares[busy], 0.4)
		require.Greater(t, shares[busy], 0.05, "it must be heard of again")
	})
}

func TestReport_NonsenseIsLeftOut(t *testing.T) {
	for _, nonsense := range []any{
		"busy", nil,
		utilization{},
		utilization{application: math.NaN()},
		utilization{application: math.Inf(1)},
		utilization{application: -1},
		utilization{cpu: -5},
		utilization{application: math.MaxFloat64},
	} {
		synctest.Test(t, func(t *testing.T) {
			a, b := &server{took: 5 * time.Millisecond}, &server{took: 5 * time.Millisecond}
			a.load = func() any { return nonsense }
			b.load = func() any { return utilization{application: 0.5} }
			tr := newTraffic(p2c.Config{}, a, b)
			require.InDelta(t, 0.5, tr.run(t, 10*time.Second, 5*time.Millisecond)[a], 0.05, "%v", nonsense)
		})
	}
}

func TestReport_AnOldOneIsForgotten(t *testing.T) {
	for _, load := range []string{p2c.Latency, p2c.Requests} {
		synctest.Test(t, func(t *testing.T) {
			a, b := &server{took: 5 * time.Millisecond}, &server{took: 5 * time.Millisecond}
			a.load = func() any { return utilization{application: 3} }
			b.load = func() any { return utilization{application: 0.1} }
			tr := newTraffic(p2c.Config{Load: load}, a, b)
			tr.run(t, 10*time.Second, 20*time.Millisecond)
			require.Less(t, tr.run(t, 10*time.Second, 20*time.Millisecond)[a], 0.3, load)
			a.load, b.load = nil, nil
			tr.run(t, time.Minute, 20*time.Millisecond)
			require.InDelta(t, 0.5, tr.run(t, 40*time.Second, 20*time.Millisecond)[a], 0.05, load)
		})
	}
}
