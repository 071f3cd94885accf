package consistenthash

import (
	"context"
	"sync"
	"time"

	"github.com/steelyard-go/steelyard/balancers"
)

// tables keeps one channel's table up to date. The first one is built at once,
// later ones in the background while the old one serves.
type tables struct {
	build func(context.Context, []member) *table // newTable, but in tests

	mu       sync.Mutex
	current  *membership // nil before the first one
	wanted   *membership // to be built, nil when current is what there should be
	building bool        // a goroutine is at it
}

// membership is a list of members and their table.
type membership struct {
	members []member
	table   *table // nil until it is built
}

// restCost is how long the background rests after a table before it builds the
// next one, as a multiple of what that took: where the list changes all the time
// tables are built a fifth of the time.
const restCost = 4

// serving returns the table that serves now and the backends in its order, those
// without a SubConn that are not on the list any more. If the list is another
// one, its table gets built in the background.
func (ts *tables) serving(s balancers.Snapshot) (*table, []balancers.Backend) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	switch {
	case ts.current == nil:
		ts.current = membershipOf(s.Members)
		ts.current.table = ts.build(context.WithoutCancel(s.Context), ts.current.members)
		return ts.current.table, s.Members
	case ts.current.is(s.Members):
		ts.wanted = nil
		return ts.current.table, s.Members
	}
	if ts.wanted == nil || !ts.wanted.is(s.Members) {
		ts.wanted = membershipOf(s.Members)
	}
	if !ts.building {
		ts.building = true
		go ts.work(s.Context, s.Rebuild)
	}
	return ts.current.table, ts.current.among(s.Members)
}

// work builds what is wanted until nothing is, or the channel closes.
func (ts *tables) work(ctx context.Context, rebuild func()) {
	for {
		start := time.Now()
		wanted := ts.next()
		if wanted == nil {
			return
		}
		built := ts.build(ctx, wanted.members)
		if built == nil {
			return
		}
		ts.finish(wanted, built)
		rebuild()
		select {
		case <-ctx.Done():
			return
		case <-time.After(restCost * time.Since(start)):
		}
	}
}

func (ts *tables) next() *membership {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.building = ts.wanted != nil
	return ts.wanted
}

// finish lets a new table serve, also if yet another list has come meanwhile,
// but not if the old list is back.
func (ts *tables) finish(m *membership, built *table) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.wanted == nil {
		return
	}
	m.table = built
	ts.current = m
	if ts.wanted == m {
		ts.wanted = nil
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

// among returns, for each member, the backend of its address, or one without a
// SubConn. Both are sorted by address.
func (m *membership) among(backends []balancers.Backend) []balancers.Backend {
	found := make([]balancers.Backend, len(m.members))
	for i, member := range m.members {
		for len(backends) > 0 && backends[0].Address.Addr < member.addr {
			backends = backends[1:]
		}
		if len(backends) > 0 && backends[0].Address.Addr == member.addr {
			found[i], backends = backends[0], backends[1:]
		}
	}
	return found
}
