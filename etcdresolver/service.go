package etcdresolver

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// hurryInterval bounds how often gRPC can cut a wait short.
const hurryInterval = time.Second

// service is the discovery of one service for all channels of a builder: one
// loop, and so one watch, that runs while there are channels. Between them it
// remembers its list.
type service struct {
	log  *slog.Logger
	wake chan struct{} // cuts the loop's wait short; holds one token
	loop *loop

	mu       sync.Mutex
	channels map[*channel]struct{}
	latest   *outcome // what a channel that joins gets, if it says anything
	stop     context.CancelFunc
	stopped  chan struct{} // closed when the loop last started has ended
	hurried  time.Time
}

func newService(name string, store store, link *link, opts options) *service {
	s := &service{
		log:      opts.logger.With("service", name),
		wake:     make(chan struct{}, 1),
		channels: make(map[*channel]struct{}),
		latest:   &outcome{},
		stopped:  make(chan struct{}),
	}
	close(s.stopped)
	s.loop = newLoop(name, store, link, opts, s)
	return s
}

// join adds c and starts the loop for the first channel.
func (s *service) join(c *channel) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.channels[c] = struct{}{}
	if len(s.channels) == 1 {
		s.startLocked()
	}
	if !s.latest.equal(&outcome{}) {
		c.offer(s.latest)
	}
}

// leave removes c and stops the loop with the last channel. It does not wait:
// the loop ends by itself, whatever etcd does.
func (s *service) leave(c *channel) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.channels, c)
	if len(s.channels) == 0 {
		s.stop()
	}
}

func (s *service) startLocked() {
	// A list is worth remembering. That there was none may long be untrue.
	if s.latest.err != nil {
		s.latest = &outcome{}
	}
	ctx, stop := context.WithCancel(context.Background())
	before, stopped := s.stopped, make(chan struct{})
	s.stop, s.stopped = stop, stopped
	go func() {
		defer close(stopped)
		<-before // the loop's memory belongs to one goroutine at a time
		s.loop.run(ctx)
	}()
}

// publish gives o to all channels, now and later, unless the run of the loop that
// found it was stopped: then channels that joined since wait for the next run.
func (s *service) publish(run context.Context, o *outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if run.Err() != nil || s.latest.equal(o) {
		return
	}
	s.latest = o
	for c := range s.channels {
		c.offer(o)
	}
}

// published returns the list that channels have.
func (s *service) published() []*member {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.latest.list
}

// hurry cuts the loop's wait short, at most once in hurryInterval.
func (s *service) hurry() {
	s.mu.Lock()
	now := time.Now()
	early := now.Sub(s.hurried) < hurryInterval
	if !early {
		s.hurried = now
	}
	s.mu.Unlock()
	if !early {
		s.wakeUp()
	}
}

// wakeUp cuts the loop's wait short.
func (s *service) wakeUp() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// rest takes back what was asked for while nothing was waited for.
func (s *service) rest() {
	select {
	case <-s.wake:
	default:
	}
}
