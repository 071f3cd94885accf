package balancers

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/balancer"

	"github.com/steelyard-go/steelyard/balancertest"
	"github.com/steelyard-go/steelyard/internal/policytest"
)

const insidePolicy = "steelyard_test_inside"

// insideBuilder keeps what gRPC does not show of the channel that it builds.
type insideBuilder struct {
	builder[slowConfig]
	channel *channel
}

type slowConfig struct {
	SlowStart Duration `json:"slowStart"`
}

func (c slowConfig) SlowStartWindow() time.Duration { return time.Duration(c.SlowStart) }

func (b *insideBuilder) Build(cc balancer.ClientConn, opts balancer.BuildOptions) balancer.Balancer {
	b.channel = b.builder.Build(cc, opts).(*channel)
	return b.channel
}

// inside returns a channel with so many backends READY and its inside.
func inside(t *testing.T, config string, backends int) (*balancertest.Channel, *channel) {
	t.Helper()
	b := &insideBuilder{builder: builder[slowConfig]{name: insidePolicy, newPolicy: func() Policy[slowConfig] {
		return func(slowConfig, Snapshot) balancer.Picker { return turns() }
	}}}
	balancer.Register(b)
	c := balancertest.NewChannel(t, insidePolicy, config)
	list := policytest.Alike(backends)
	require.NoError(t, c.Update(list...))
	for _, e := range list {
		c.Ready(e.Addresses[0].Addr)
	}
	return c, b.channel
}

// isSet looks at one of c's alarms.
func isSet(c *channel, a *alarm) (set bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return a.isSet()
}

func TestChannel_AnEarlierPauseDoesNotEndALaterOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := inside(t, "", shortList+1)
		wait(maxPause)
		require.False(t, isSet(c, &c.pace.pause))
		c.locked(c.publishLocked)
		waitLocked(c, minPause, c.publishLocked)
		require.True(t, isSet(c, &c.pace.pause), "the first pause is over, the second has just begun")
		wait(minPause)
		require.False(t, isSet(c, &c.pace.pause))
	})
}

// An alarm that is set holds the whole channel in memory, for minutes if slow
// start takes an hour.
func TestChannel_CloseLeavesNoAlarmSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake, c := inside(t, `{"slowStart":"1h"}`, shortList+1)
		fake.Fail(nil, policytest.Addr(0))
		fake.Ready(policytest.Addr(0))
		require.True(t, isSet(c, &c.pace.pause))
		require.True(t, isSet(c, &c.slowStart.step))
		fake.Close()
		require.False(t, isSet(c, &c.pace.pause))
		require.False(t, isSet(c, &c.slowStart.step))
	})
}
