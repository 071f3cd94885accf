package p2c_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/balancer"

	"github.com/steelyard-go/steelyard/internal/policytest"
)

// What was learned by one clock fades by the other.

const latencyLoad, requestsLoad = `{"load":"latency"}`, `{"load":"requests"}`

func TestPolicy_ABackendThatFailedBeforeASwitchOfLoadRecovers(t *testing.T) {
	for from, to := range map[string]string{latencyLoad: requestsLoad, requestsLoad: latencyLoad} {
		t.Run("to="+to, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				servers := alikeServers(10)
				bad := servers[0]
				tr, c := newLiveTraffic(t, from, servers...)
				tr.run(t, 20*time.Second, 5*time.Millisecond)
				bad.err = errDown
				tr.run(t, 5*time.Second, 5*time.Millisecond)
				require.NoError(t, c.Configure(to))
				pass(100 * time.Millisecond) // all calls have ended
				require.Zero(t, peek(t, c.Picker(), 300)[policytest.Addr(0)], "the switch is no reason to try it")

				bad.err = nil
				tr.run(t, time.Minute, 10*time.Millisecond)
				require.InDelta(t, 0.1, tr.run(t, 30*time.Second, 10*time.Millisecond)[bad], 0.04)
			})
		})
	}
}

func TestPolicy_SwitchesToAndFroLoseNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		servers := alikeServers(10)
		bad := servers[0]
		tr, c := newLiveTraffic(t, requestsLoad, servers...)
		pass(30 * time.Minute) // what stands in for the clock has not begun to go
		bad.err = errDown
		tr.run(t, 5*time.Second, 5*time.Millisecond)
		for range 2 {
			for _, config := range []string{latencyLoad, requestsLoad} {
				require.NoError(t, c.Configure(config))
				pass(100 * time.Millisecond)
				require.Zero(t, peek(t, c.Picker(), 300)[policytest.Addr(0)], config)
				require.Less(t, tr.run(t, 5*time.Second, 5*time.Millisecond)[bad], 0.02, config)
			}
		}
	})
}

// Calls that began while nobody looked at the clock may end long after, and tell
// the time by what stood in for it then.
func TestPolicy_AnUntimedCallThatEndsAfterASwitchSpoilsNothing(t *testing.T) {
	for name, done := range map[string]balancer.DoneInfo{"answered": answered, "failed": failed, "reported": reported} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				servers := alikeServers(10)
				bad := servers[0]
				tr, c := newLiveTraffic(t, requestsLoad, servers...)
				early := holdAt(t, c, policytest.Addr(0))
				require.NoError(t, c.Configure(latencyLoad))
				pass(30 * time.Minute)
				tr.run(t, 5*time.Second, 5*time.Millisecond)
				bad.err = errDown
				tr.run(t, 5*time.Second, 5*time.Millisecond)
				pass(100 * time.Millisecond)
				early.Done(done)
				require.Zero(t, peek(t, c.Picker(), 300)[policytest.Addr(0)], "its failures are not forgotten")

				bad.err = nil
				tr.run(t, time.Minute, 10*time.Millisecond)
				require.InDelta(t, 0.1, tr.run(t, 30*time.Second, 10*time.Millisecond)[bad], 0.04, "nor for ever")
			})
		})
	}
}
