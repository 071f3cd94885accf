package simulation

import (
	"time"

	"github.com/steelyard-go/steelyard/attrs"
)

// condition is how a server does. The zero condition is a server that is well.
type condition struct {
	// Slow is how many times as long service takes, 0 being 1.
	Slow float64 `json:"slow,omitempty"`
	// Fails is how often a call fails with Unavailable, from 0 to 1.
	Fails float64 `json:"fails,omitempty"`
	// FailsIn is how long a failing call takes, with no worker and no wait. 0
	// lets it take a worker, for as long as if it succeeded.
	FailsIn time.Duration `json:"failsInNs,omitempty"`
	// Hangs lets calls in, and does nothing with them.
	Hangs bool `json:"hangs,omitempty"`
	// Cold is how many times as long service takes at first. That falls in a
	// straight line to 1, within WarmIn.
	Cold   float64       `json:"cold,omitempty"`
	WarmIn time.Duration `json:"warmInNs,omitempty"`
	// Down means no connections: those that there are break, and so do the calls
	// on them.
	Down bool `json:"down,omitempty"`
	// Absent means not in the resolver's list.
	Absent bool `json:"absent,omitempty"`
}

// server is a queue with several workers.
type server struct {
	backend
	addr    string
	attrs   attrs.Attrs
	workers int
	watched bool

	condition
	since time.Duration // when the condition began
	busy  int           // workers

	first, last *call // waiting for a worker
	load        loadMeter
}

// factor is how many times as long service takes now.
func (s *server) factor(now time.Duration) float64 {
	factor := max(s.Slow, 1)
	if age := now - s.since; s.Cold > 1 && age < s.WarmIn {
		factor *= s.Cold - (s.Cold-1)*float64(age)/float64(s.WarmIn)
	}
	return factor
}

// fails tells whether c fails here, and whether at once.
func (s *server) fails(c *call) (failed, quickly bool) {
	failed = c.luck < s.Fails
	return failed, failed && s.FailsIn > 0
}

// queue lets c wait for a worker.
func (s *server) queue(c *call) {
	c.behind = nil
	if s.first == nil {
		s.first = c
	} else {
		s.last.behind = c
	}
	s.last = c
}

// unqueue returns the call that waited longest, nil if none waits.
func (s *server) unqueue() *call {
	c := s.first
	if c != nil {
		s.first, c.behind = c.behind, nil
	}
	return c
}
