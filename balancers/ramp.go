package balancers

import (
	"fmt"
	"time"
)

// A backend that starts slowly begins at one tenth of its weight, and a tenth
// is added at each of the steps that a window has.
const (
	firstRamp = 1
	fullRamp  = 10
	rampSteps = fullRamp - firstRamp
)

// What a window for slow start may be.
const (
	minSlowStart = 100 * time.Millisecond
	maxSlowStart = time.Hour
)

// slowStarter is what a config is that asks for slow start.
type slowStarter interface{ SlowStartWindow() time.Duration }

// leveler is what the config of a policy is to which all backends count the same.
type leveler interface{ IgnoresWeights() bool }

func ignoresWeights(cfg any) bool {
	l, ok := cfg.(leveler)
	return ok && l.IgnoresWeights()
}

// slowStartOf returns the window that a policy's config asks for, 0 for none.
func slowStartOf(cfg any) time.Duration {
	if s, ok := cfg.(slowStarter); ok {
		return s.SlowStartWindow()
	}
	return 0
}

// checkSlowStart refuses windows that make no sense: one that is too short is
// over before anybody has noticed, and means a unit forgotten.
func checkSlowStart(window time.Duration) error {
	if window == 0 || window >= minSlowStart && window <= maxSlowStart {
		return nil
	}
	return fmt.Errorf("slowStart: got %q, want %q to %q, or \"0s\" for none", window, minSlowStart, maxSlowStart)
}

// slowStart paces the ramps of one channel's endpoints: one alarm takes all of
// them a step further at a time, so that there is one build a step however many
// have started. The channel's mutex guards it.
type slowStart struct {
	window time.Duration // 0 for none
	step   alarm         // until the next step, not set while nothing ramps
}

// setSlowStartLocked takes over the window of a new config. Ramps that are
// under way go on at the new pace, from the step they are at.
func (c *channel) setSlowStartLocked(window time.Duration) {
	s := &c.slowStart
	if window == s.window {
		return
	}
	s.window = window
	ramping := s.step.isSet()
	s.step.stop()
	switch {
	case window == 0:
		for _, ep := range c.sorted {
			ep.ramp = fullRamp
		}
	case ramping:
		s.beginStepLocked(c)
	}
}

// startSlowlyLocked begins the ramp of an endpoint that became READY, but for
// the first time of those in the channel's first list: there is nobody to spare
// them.
func (c *channel) startSlowlyLocked(ep *endpoint) {
	if c.slowStart.window > 0 && !ep.original {
		ep.ramp = firstRamp
		c.slowStart.beginStepLocked(c)
	}
	ep.original = false
}

// beginStepLocked sets the alarm for the next step, unless it is set already.
func (s *slowStart) beginStepLocked(c *channel) {
	if !s.step.isSet() {
		s.step.set(c, s.window/rampSteps, c.rampOnLocked)
	}
}

// rampOnLocked takes all ramps a step further.
func (c *channel) rampOnLocked() {
	for _, ep := range c.sorted {
		if ep.ramp < fullRamp {
			ep.ramp++
		}
		if ep.ramp < fullRamp {
			c.slowStart.beginStepLocked(c)
		}
	}
	c.rebuildLocked()
}

// rampTogether gives all their full weight where more than half of it ramps:
// there is not enough left to take what they are spared. Of the members, those
// with a SubConn take calls. To a policy that is level all weigh the same.
func rampTogether(members []Backend, level bool) {
	var ramping, total uint64
	for i := range members {
		if m := &members[i]; m.SubConn != nil {
			weight := uint64(m.Attrs.Weight)
			if level {
				weight = 1
			}
			total += weight
			if m.Ramp < fullRamp {
				ramping += weight
			}
		}
	}
	if 2*ramping <= total {
		return
	}
	for i := range members {
		members[i].Ramp = fullRamp
	}
}
