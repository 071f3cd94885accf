package p2c_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/steelyard-go/steelyard/balancers/p2c"
	"github.com/steelyard-go/steelyard/internal/policytest"
)

func TestScore_TheDurationOfAStreamIsNoLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &server{took: 10 * time.Millisecond}, &server{took: 10 * time.Millisecond}
		tr := newTraffic(p2c.Config{}, a, b)
		tr.run(t, 5*time.Second, 5*time.Millisecond)

		tr.method = grpc_health_v1.Health_Watch_FullMethodName
		a.took, b.took = 5*time.Second, time.Millisecond
		tr.run(t, 5*time.Second, 100*time.Millisecond)
		tr.method = grpc_health_v1.Health_Check_FullMethodName
		a.took, b.took = 10*time.Millisecond, 10*time.Millisecond
		pass(5 * time.Second) // the streams have ended
		require.InDelta(t, 0.5, tr.run(t, 2*time.Second, 5*time.Millisecond)[a], 0.05)
	})
}

func TestScore_StreamsCountWhileTheyLastAndTheirFailuresCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &server{took: time.Hour}, &server{took: time.Millisecond}
		tr := newTraffic(p2c.Config{}, a, b)
		tr.method = grpc_health_v1.Health_Watch_FullMethodName
		require.Less(t, tr.run(t, time.Second, 10*time.Millisecond)[a], 0.05, "its one stream is still open")

		a.took, a.err = time.Millisecond, errDown
		tr = newTraffic(p2c.Config{}, a, b)
		tr.method = grpc_health_v1.Health_Watch_FullMethodName
		tr.run(t, time.Second, 10*time.Millisecond)
		require.Less(t, tr.run(t, 10*time.Second, 10*time.Millisecond)[a], 0.1)
	})
}

// Beyond the calls that have a slot of their own, counts are kept another way.
func TestPolicy_HundredsOfCallsAreCountedOutOnce(t *testing.T) {
	forAll(t, func(t *testing.T, config string) {
		c := policytest.Channel(t, p2c.Name, config, ab(1)[0])
		var calls []policytest.Call
		for range 300 {
			calls = append(calls, policytest.Begin(t, c.Picker(), t.Context()))
		}
		require.NoError(t, c.Update(ab(1)...))
		c.Ready("b")
		for range 2 {
			for _, call := range calls[:290] {
				call.Done(balancer.DoneInfo{BytesSent: true, BytesReceived: true})
			}
		}
		requireMore(t, c, 10, "b")
		requireLevel(t, c)
	})
}
