package weighted_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/steelyard-go/steelyard/balancers/weighted"
	"github.com/steelyard-go/steelyard/internal/policytest"
)

// pass lets d go by, and all that happens within.
func pass(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // only used in a bubble, where time is fake
	synctest.Wait()
}

func TestSlowStart_SharesRampFromATenthToTheWeight(t *testing.T) {
	for _, schedule := range []string{weighted.Random, weighted.Smooth} {
		t.Run(schedule, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				weights := []uint32{40, 20, 10, 30}
				c := policytest.Channel(t, weighted.Name, `{"schedule":"`+schedule+`","slowStart":"90s"}`,
					policytest.Endpoints(weights...)...)
				policytest.RequireShares(t, policytest.Endpoints(weights...), c.Count(t.Context(), 20_000))
				c.Fail(nil, policytest.Addr(3))
				c.Ready(policytest.Addr(3))
				pass(time.Second)
				for tenths := range uint32(12) {
					weights[3] = 3 * min(10, 1+tenths)
					endpoints := policytest.Endpoints(weights...)
					policytest.RequireShares(t, endpoints, c.Count(t.Context(), 20_000))
					if schedule == weighted.Smooth {
						require.LessOrEqual(t, worstOff(t, c.Picker(), endpoints, 5000), 3.36)
					}
					pass(10 * time.Second)
				}
				require.Equal(t, 4, c.Created())
			})
		})
	}
}
