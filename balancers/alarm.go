package balancers

import "time"

// alarm calls a function later, once, with the channel's lock held. The lock
// guards the alarm as well. A timer alone would not do: its callback may wait
// for the lock while the alarm is stopped or set anew, and must not ring then.
// The zero alarm is not set.
type alarm struct {
	timer *time.Timer // nil while it is not set
}

// set lets ring be called in d from now, in place of what was to be called.
func (a *alarm) set(c *channel, d time.Duration, ring func()) {
	a.stop()
	var timer *time.Timer
	timer = time.AfterFunc(d, func() {
		c.locked(func() {
			if a.timer == timer {
				a.timer = nil
				ring()
			}
		})
	})
	a.timer = timer
}

func (a *alarm) isSet() bool { return a.timer != nil }

func (a *alarm) stop() {
	if a.isSet() {
		a.timer.Stop()
		a.timer = nil
	}
}
