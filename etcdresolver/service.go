package etcdresolver

import (
	"log/slog"
	"sync"
	"time"
)

// hurryInterval bounds how often gRPC can cut a wait short.
const hurryInterval = time.Second

// service is the discovery of one service for all channels of a builder. While
// there are channels it has a run, and so one watch of each thing it follows; between
// them it remembers its list.
type service struct {
	name   string
	source source
	opts   options
	log    *slog.Logger
	known  *knowledge

	deliveries deliveries

	mu       sync.Mutex
	channels map[*channel]struct{}
	latest   *outcome // what a channel that joins gets, if it says anything
	run      *run     // nil while there are no channels
	hurried  time.Time
}

func newService(name string, source source, opts options) *service {
	s := &service{
		name:     name,
		source:   source,
		opts:     opts,
		log:      opts.logger.With("service", name),
		channels: make(map[*channel]struct{}),
		latest:   &outcome{},
	}
	s.known = newKnowledge(name, opts, s.log)
	return s
}

// join adds c and starts a run for the first channel.
func (s *service) join(c *channel) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.channels[c] = struct{}{}
	if s.run == nil {
		// A list is worth remembering. That there was none may long be untrue.
		if s.latest.err != nil {
			s.latest = &outcome{}
		}
		s.run = startRun(s, len(s.latest.list) > 0)
	}
	if !s.latest.equal(&outcome{}) {
		c.offer(s.latest, time.Time{})
	}
}

// leave removes c and stops the run with the last channel. It does not wait: the
// run ends by itself, whatever etcd does.
func (s *service) leave(c *channel) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.channels, c)
	if len(s.channels) == 0 && s.run != nil {
		s.run.stop()
		s.run = nil
	}
}

// publish gives o, of which etcd told at heard, to all channels, now and later,
// unless the run that found it was stopped: then channels that joined since wait for
// the next one.
func (s *service) publish(r *run, o *outcome, heard time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.run != r || s.latest.equal(o) && s.latest.held == o.held {
		return
	}
	s.latest = o
	for c := range s.channels {
		c.offer(o, heard)
	}
}

// hurry cuts the wait for the instances short, at most once in hurryInterval: what
// gRPC misses are endpoints.
func (s *service) hurry() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now(); s.run != nil && now.Sub(s.hurried) >= hurryInterval {
		s.hurried = now
		signal(s.run.feeds[0].wake)
	}
}
