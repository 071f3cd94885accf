package consistenthash

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/resolver"

	"github.com/steelyard-go/steelyard/attrs"
	"github.com/steelyard-go/steelyard/balancers"
	"github.com/steelyard-go/steelyard/balancertest"
)

// site is a channel where building a table takes as long as the test wants, but
// for the first one. The tables are empty.
type site struct {
	tables
	ctx     context.Context
	close   context.CancelFunc
	takes   time.Duration // a build
	rebuild func()        // what a rebuild that was asked for does

	mu       sync.Mutex
	listed   []balancers.Backend
	begun    []begin
	built    map[*table][]member
	rebuilds int // asked for
}

// begin is when a build began, of what, and out of what.
type begin struct {
	at      time.Time
	former  *membership
	members []member
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{takes: 10 * time.Millisecond, built: make(map[*table][]member)}
	s.ctx, s.close = context.WithCancel(t.Context())
	s.rebuild = func() { s.serve(len(s.backends())) }
	s.build = func(ctx context.Context, former *membership, members []member) *table {
		if s.began(former, members) > 1 {
			s.pass(s.takes)
		}
		if ctx.Err() != nil {
			return nil
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		built := new(table)
		s.built[built] = members
		return built
	}
	return s
}

// began takes note of a build and returns how many there have been.
func (s *site) began(former *membership, members []member) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begun = append(s.begun, begin{time.Now(), former, members})
	return len(s.begun)
}

func (s *site) builds() []begin {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.begun)
}

func (s *site) backends() []balancers.Backend {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.listed
}

// asked returns how many rebuilds have been asked for.
func (s *site) asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rebuilds
}

// list makes the members those of the channel and returns those whose table
// serves.
func (s *site) list(members []member) []member {
	s.mu.Lock()
	s.listed = backendsOf(members)
	s.mu.Unlock()
	serving, _ := s.serve(len(members))
	return serving
}

// serve returns the members whose table serves, and their backends. As many as
// are connected, of those that are listed, take calls.
func (s *site) serve(connected int) ([]member, []balancers.Backend) {
	listed := s.backends()
	table, backends := s.serving(balancers.Snapshot{Members: listed, Backends: listed[:connected], Context: s.ctx, Rebuild: func() {
		s.mu.Lock()
		s.rebuilds++
		s.mu.Unlock()
		s.rebuild()
	}})
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.built[table], backends
}

// pass waits, while the channel is open.
func (s *site) pass(d time.Duration) {
	select {
	case <-time.After(d):
	case <-s.ctx.Done():
	}
}

func backendsOf(members []member) []balancers.Backend {
	backends := make([]balancers.Backend, len(members))
	for i, m := range members {
		backends[i] = balancers.Backend{
			SubConn: balancertest.NewSubConn(m.addr),
			Address: resolver.Address{Addr: m.addr}, Attrs: attrs.Attrs{Weight: m.weight},
		}
	}
	return backends
}

// inBubble runs test with a site and closes the channel in the end.
func inBubble(t *testing.T, test func(t *testing.T, s *site)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		defer s.close() // the bubble fails if a goroutine stays behind
		test(t, s)
	})
}
