package simulation

import (
	"testing/synctest"
	"time"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// This file is the way of a call: from its client to a server, through its
// queue, and back.

var (
	errFailed   = status.Error(codes.Unavailable, "simulated failure")
	errLost     = status.Error(codes.Unavailable, "simulated loss of the connection")
	errDeadline = status.Error(codes.DeadlineExceeded, "deadline exceeded")
)

const (
	// tries is how often a call asks for a backend before it waits.
	tries = 3
	// retryIn is how long it waits then.
	retryIn = time.Millisecond
)

// begins picks a backend for c and sends c there.
func (w *world) begins(c *call) {
	for range tries {
		picked, err := (*c.client.picker.Load()).Pick(w.keyed.of(c))
		if err == nil {
			if w.send(c, picked) {
				return
			}
		} else if err != balancer.ErrNoSubConnAvailable { //nolint:errorlint // so does gRPC
			w.end(c, err, nil)
			return
		}
		synctest.Wait() // some policies connect, or look up, in a goroutine
		w.dialer.connect()
	}
	c.held = true
	w.agenda.enter(w.now+retryIn, retry, c)
}

// send hands c to the backend picked, unless that has just been lost.
func (w *world) send(c *call, picked balancer.PickResult) bool {
	s := picked.SubConn.(*subConn).server
	if s.Down {
		if picked.Done != nil {
			picked.Done(balancer.DoneInfo{}) // as gRPC does
		}
		return false
	}
	c.server, c.done, c.failed = s, picked.Done, false
	if w.measures(c) {
		w.meter.sent(c, s.watched)
	}
	w.serve(s, c)
	return true
}

// measures tells whether c's client is one of those that count.
func (w *world) measures(c *call) bool {
	return w.scenario.callers == "" || w.scenario.callers == c.client.zone
}

// serve is the server's side.
func (w *world) serve(s *server, c *call) {
	if s.Hangs {
		return
	}
	c.held = true
	failed, quickly := s.fails(c)
	c.failed = failed
	switch {
	case quickly:
		w.agenda.enter(w.now+s.FailsIn, fail, c)
	case s.busy < s.workers:
		w.work(s, c)
	default:
		s.queue(c)
	}
}

// work lets a free worker of s take c up.
func (w *world) work(s *server, c *call) {
	s.load.work(w.now, s.busy)
	s.busy++
	took := toStep(c.work * float64(meanService) * s.factor(w.now))
	w.agenda.enter(w.now+took, finish, c)
}

// finished lets the worker of c answer and take up the next call. Calls whose
// client has gone it leaves alone; one that it has begun it finishes.
func (w *world) finished(c *call) {
	s := c.server
	s.load.work(w.now, s.busy)
	s.busy--
	w.answer(c)
	for next := s.unqueue(); next != nil; next = s.unqueue() {
		if next.open {
			w.work(s, next)
			return
		}
		next.held = false
		w.recycle(next)
	}
}

// answer sends the server's answer to the client, if that still waits.
func (w *world) answer(c *call) {
	c.held = false
	if !c.open {
		w.recycle(c)
		return
	}
	var err error
	if c.failed {
		err = errFailed
	}
	var report any
	if s := c.server; w.policy.reports {
		report = s.load.answer(w.now, s.busy, s.workers, c.failed)
	}
	w.end(c, err, report)
}

// end is the end of c for its client.
func (w *world) end(c *call, err error, report any) {
	w.open.remove(c)
	c.open = false
	if w.measures(c) {
		w.meter.ended(c, w.now, err)
	}
	if c.done != nil {
		answered := err != errDeadline && err != errLost //nolint:errorlint // ours
		c.done(balancer.DoneInfo{Err: err, BytesSent: true, BytesReceived: answered, ServerLoad: report})
		c.done = nil
	}
	if !c.held {
		w.recycle(c)
	}
}

func (w *world) newCall() *call {
	c := w.free
	if c == nil {
		return new(call)
	}
	w.free, c.behind = c.behind, nil
	return c
}

// recycle puts c aside that nobody holds any more.
func (w *world) recycle(c *call) {
	*c = call{behind: w.free}
	w.free = c
}
