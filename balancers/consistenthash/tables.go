package consistenthash

import (
	"context"
	"iter"
	"sync"
	"time"

	"github.com/steelyard-go/steelyard/balancers"
)

// tables keeps one channel's table up to date. The first one is built at once,
// later ones in the background while the old one serves.
type tables struct {
	build func(ctx context.Context, former *membership, members []member) *table // updated, but in tests

	mu      sync.Mutex
	current *membership // nil before the first one
	wanted  *membership // to be built, nil when current is what there should be
	working bool        // a goroutine is at it
	pause   *time.Timer // before it builds
}

// membership is a list of members and their table.
type membership struct {
	members []member
	table   *table // nil until it is built
}

const (
	// settle is the pause before the first table after a quiet time: a burst of
	// changes is over by then, most of the time, and costs one table.
	settle = 5 * time.Millisecond
	// restCost is the pause after a table, as a multiple of what that took: where
	// the list changes all the time tables are built a fifth of the time.
	restCost = 4
	// maxRest is the longest pause: it delays what the next list says.
	maxRest = 100 * time.Millisecond
)

// serving returns the table that serves now and the backends in its order, those
// without a SubConn that are not on the list any more. If the list is another
// one, its table gets built in the background.
func (ts *tables) serving(s balancers.Snapshot) (*table, []balancers.Backend) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	switch {
	case ts.current == nil:
		ts.current = membershipOf(s.Members)
		ts.current.table = ts.build(context.WithoutCancel(s.Context), nil, ts.current.members)
		return ts.current.table, s.Members
	case ts.current.is(s.Members):
		ts.wanted = nil
		return ts.current.table, s.Members
	}
	if ts.wanted == nil || !ts.wanted.is(s.Members) {
		ts.wanted = membershipOf(s.Members)
	}
	if !ts.working {
		ts.working = true
		ts.pause = time.NewTimer(settle)
		go ts.work(s.Context, s.Rebuild)
	}
	backends, takingCalls := ts.current.among(ts.wanted, s.Members)
	if 2*takingCalls < len(s.Backends) {
		ts.pause.Reset(0) // calls wait, or few backends have them all
	}
	return ts.current.table, backends
}

// work builds what is wanted until nothing is, or the channel closes.
func (ts *tables) work(ctx context.Context, rebuild func()) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-ts.pause.C:
		}
		current, wanted := ts.next()
		if wanted == nil {
			return
		}
		start := time.Now()
		built := ts.build(ctx, current, wanted.members)
		if built == nil {
			return
		}
		ts.finish(wanted, built, time.Since(start))
		rebuild()
	}
}

func (ts *tables) next() (current, wanted *membership) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.working = ts.wanted != nil
	return ts.current, ts.wanted
}

// finish begins the pause after a table and lets it serve. If yet another list
// has come meanwhile it does so too, lest constant changes hold up all of them,
// but not if it lacks members that are back.
func (ts *tables) finish(m *membership, built *table, took time.Duration) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.pause.Reset(min(restCost*took, maxRest))
	m.table = built
	switch {
	case ts.wanted == m:
		ts.current, ts.wanted = m, nil
	case ts.wanted != nil && 10*m.shared(ts.wanted) >= 9*ts.current.shared(ts.wanted):
		ts.current = m
	}
}

func membershipOf(backends []balancers.Backend) *membership {
	m := &membership{members: make([]member, len(backends))}
	for i := range backends {
		m.members[i] = memberOf(&backends[i])
	}
	return m
}

func memberOf(b *balancers.Backend) member {
	return member{addr: b.Address.Addr, weight: b.Attrs.Weight}
}

// is tells whether backends are the members. That is cheap: strings that are
// equal are the same ones, most of the time.
func (m *membership) is(backends []balancers.Backend) bool {
	if len(m.members) != len(backends) {
		return false
	}
	for i := range backends {
		if m.members[i] != memberOf(&backends[i]) {
			return false
		}
	}
	return true
}

// among returns, for each member, the backend of its address or one without a
// SubConn, and how many have one. The backends are those of the other list.
func (m *membership) among(other *membership, backends []balancers.Backend) (found []balancers.Backend, takingCalls int) {
	found = make([]balancers.Backend, len(m.members))
	for i, j := range m.common(other) {
		found[i] = backends[j]
		if found[i].SubConn != nil {
			takingCalls++
		}
	}
	return found, takingCalls
}

// shared returns how many addresses are in both.
func (m *membership) shared(other *membership) int {
	n := 0
	for range m.common(other) {
		n++
	}
	return n
}

// common yields, for each address that is in both, where it is. Both are sorted
// by address.
func (m *membership) common(other *membership) iter.Seq2[int, int] {
	return func(yield func(i, j int) bool) {
		j := 0
		for i := range m.members {
			addr := m.members[i].addr
			for j < len(other.members) && other.members[j].addr < addr {
				j++
			}
			if j == len(other.members) {
				return
			}
			if other.members[j].addr == addr {
				if !yield(i, j) {
					return
				}
				j++
			}
		}
	}
}
