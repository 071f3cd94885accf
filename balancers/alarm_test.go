package balancers

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// wait lets d go by, and all that happens within.
func wait(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// waitLocked lets d go by with the lock held, and then runs do: the callback of
// an alarm whose time comes with the end of d gets the lock after that.
func waitLocked(c *channel, d time.Duration, do func()) {
	c.mu.Lock()
	<-time.After(d)
	do()
	c.mu.Unlock()
	synctest.Wait()
}

// bell is an alarm and the times at which it rang.
type bell struct {
	alarm
	channel *channel
	begun   time.Time
	rung    []time.Duration
}

func (b *bell) ring() { b.rung = append(b.rung, time.Since(b.begun)) }

// withBell runs test in a bubble with a bell that is set to ring in a second.
func withBell(t *testing.T, test func(t *testing.T, b *bell)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bell{channel: newChannel("", nil, nil), begun: time.Now()}
		b.channel.locked(func() {
			b.set(b.channel, time.Second, func() {
				require.False(t, b.channel.mu.TryLock(), "the lock is held")
				require.False(t, b.isSet(), "so that it can be set again")
				b.ring()
			})
		})
		test(t, b)
	})
}

func TestAlarm_RingsOnce(t *testing.T) {
	withBell(t, func(t *testing.T, b *bell) {
		wait(time.Hour)
		require.Equal(t, []time.Duration{time.Second}, b.rung)
	})
}

// When a bell may be stopped or set anew, and must not ring as it was to.
var bellMoments = map[string]time.Duration{
	"in time":                     time.Second - 1,
	"while it waits for the lock": time.Second,
}

func TestAlarm_DoesNotRingOnceItIsStopped(t *testing.T) {
	for name, moment := range bellMoments {
		t.Run(name, func(t *testing.T) {
			withBell(t, func(t *testing.T, b *bell) {
				timer := b.timer
				waitLocked(b.channel, moment, b.stop)
				require.False(t, timer.Stop(), "no timer holds on to what it would call")
				wait(time.Hour)
				require.Empty(t, b.rung)
			})
		})
	}
}

func TestAlarm_SetAnewRingsAtItsNewTimeOnly(t *testing.T) {
	for name, moment := range bellMoments {
		t.Run(name, func(t *testing.T) {
			withBell(t, func(t *testing.T, b *bell) {
				waitLocked(b.channel, moment, func() { b.set(b.channel, time.Minute, b.ring) })
				wait(time.Hour)
				require.Equal(t, []time.Duration{moment + time.Minute}, b.rung)
			})
		})
	}
}
