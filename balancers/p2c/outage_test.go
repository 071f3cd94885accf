package p2c_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/balancer"

	"github.com/steelyard-go/steelyard/balancers/p2c"
	"github.com/steelyard-go/steelyard/balancertest"
	"github.com/steelyard-go/steelyard/internal/policytest"
)

// After an outage another process may stand there: it must not pay for what the
// last one did, but the calls that were sent there have not come back.
func TestPolicy_AfterAnOutageAnEndpointIsUnknownAndItsCallsCount(t *testing.T) {
	forAll(t, func(t *testing.T, config string) {
		c := balancertest.NewChannel(t, p2c.Name, config)
		require.NoError(t, c.Update(ab(1)...))
		c.Ready("a")
		for range 20 {
			call := policytest.Begin(t, c.Picker(), t.Context())
			pass(10 * time.Millisecond)
			call.Done(failed)
		}
		calls := begin(t, c, 10)
		c.Ready("b")
		require.Equal(t, map[string]int{"b": 11}, held(t, c.Picker(), 11), "even where b is busier than a, which fails")

		c.Fail(nil, "a")
		c.Ready("a")
		requireMore(t, c, 1, "a")
		requireLevel(t, c)
		for _, call := range calls {
			call.End()
			call.End()
		}
		requireMore(t, c, 10, "a")
		requireLevel(t, c)
	})
}

func TestPolicy_AfterAnOutageAnEndpointIsNotTakenForSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := policytest.Channel(t, p2c.Name, `{}`, ab(1)...)
		ofA := func(calls int, took time.Duration) (n int) {
			for range calls {
				call := policytest.Begin(t, c.Picker(), t.Context())
				if call.Addr == "a" {
					n++
					pass(took)
				} else {
					pass(10 * time.Millisecond)
				}
				call.End()
			}
			return n
		}
		ofA(1000, 10*time.Millisecond)
		ofA(100, 500*time.Millisecond)
		require.Less(t, ofA(100, 10*time.Millisecond), 5, "it was slow")
		c.Fail(nil, "a")
		c.Ready("a")
		require.InDelta(t, 100, ofA(200, 10*time.Millisecond), 40)
	})
}

// Calls end when they end, whatever has become of their channel.
func TestPolicy_DonesAfterCloseAreHarmless(t *testing.T) {
	forAll(t, func(t *testing.T, config string) {
		c, early := tenToA(t, config)
		picker := c.Picker()
		late := begin(t, c, 200)
		for _, call := range early {
			call.Done(failed)
		}
		c.Close()
		pass(time.Minute)
		for range 2 {
			for i, call := range append(early, late...) {
				call.Done([]balancer.DoneInfo{answered, failed, reported}[i%3])
			}
			pass(time.Minute)
		}
		// gRPC may still have this picker in hand.
		require.Len(t, held(t, picker, 100), 2)
	})
}

// What stands in for the clock may stand still: it is no reason to wait.
func TestPolicy_PicksGoOnWhileTheTickerStandsStill(t *testing.T) {
	forAll(t, func(t *testing.T, config string) { // in a bubble where no time passes
		c := policytest.Channel(t, p2c.Name, config, policytest.Alike(5)...)
		for range 1000 {
			policytest.Begin(t, c.Picker(), t.Context()).Done(failed)
		}
		total := 0
		for _, n := range c.Count(t.Context(), 1000) {
			total += n
		}
		require.Equal(t, 1000, total)
	})
}
