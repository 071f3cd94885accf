package demo

import (
	"context"
	"maps"
	"sync"
	"time"

	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/stats"

	"github.com/steelyard-go/steelyard/attrs"
)

// listLog is what a client's resolver last told it. It wraps the resolver, so
// that the demo knows when a list was in use, not only when it was sent: gRPC's
// UpdateState returns once the policy has taken the list over.
type listLog struct {
	resolver.Builder

	mu   sync.Mutex
	at   time.Time
	list map[string]attrs.Attrs // by address
}

// Build implements resolver.Builder.
func (l *listLog) Build(target resolver.Target, cc resolver.ClientConn, opts resolver.BuildOptions) (resolver.Resolver, error) {
	return l.Builder.Build(target, loggedConn{cc, l}, opts)
}

type loggedConn struct {
	resolver.ClientConn
	log *listLog
}

// UpdateState implements resolver.ClientConn.
func (c loggedConn) UpdateState(s resolver.State) error {
	err := c.ClientConn.UpdateState(s)
	list := make(map[string]attrs.Attrs, len(s.Endpoints))
	for _, e := range s.Endpoints {
		list[e.Addresses[0].Addr] = attrs.FromEndpoint(e)
	}
	c.log.mu.Lock()
	defer c.log.mu.Unlock()
	c.log.list, c.log.at = list, time.Now()
	return err
}

// now is the client's list, by address, and since when it is in use. It does not change any more.
func (l *listLog) now() (list map[string]attrs.Attrs, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.list, l.at
}

// get tells what the client's list says of the address, and since when the list is in use.
func (l *listLog) get(addr string) (a attrs.Attrs, listed bool, at time.Time) {
	list, at := l.now()
	a, listed = list[addr]
	return a, listed, at
}

// connLog counts a client's connections. It is a stats.Handler: gRPC tells it of
// every connection that is made, and not of attempts that fail.
type connLog struct {
	mu    sync.Mutex
	made  map[string]int       // by address
	ended map[string]time.Time // by address, the last time
}

func newConnLog() *connLog {
	return &connLog{made: map[string]int{}, ended: map[string]time.Time{}}
}

type addrKey struct{}

// TagConn implements stats.Handler.
func (*connLog) TagConn(ctx context.Context, info *stats.ConnTagInfo) context.Context {
	return context.WithValue(ctx, addrKey{}, info.RemoteAddr.String())
}

// HandleConn implements stats.Handler.
func (l *connLog) HandleConn(ctx context.Context, s stats.ConnStats) {
	addr, _ := ctx.Value(addrKey{}).(string)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch s.(type) {
	case *stats.ConnBegin:
		l.made[addr]++
	case *stats.ConnEnd:
		l.ended[addr] = time.Now()
	}
}

// TagRPC implements stats.Handler.
func (*connLog) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

// HandleRPC implements stats.Handler.
func (*connLog) HandleRPC(context.Context, stats.RPCStats) {}

// connections are those made so far, by address.
func (l *connLog) connections() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.made)
}

// endedAt is when a connection to the address last ended; zero if none did.
func (l *connLog) endedAt(addr string) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ended[addr]
}

// tally is what became of a client's calls.
type tally struct {
	mu sync.Mutex
	counts
	first     map[string]time.Time // by server, when it first answered
	lastBegun map[string]time.Time // by server, when the last call it answered began
	lastFail  time.Time
	lastErr   error
}

// counts is the part of a tally that is compared over time.
type counts struct {
	calls    int // failed ones too
	failed   int
	byServer map[string]int
	homes    map[string]home // by key
}

// home is the server that last answered a key.
type home struct {
	server string
	begun  time.Time // when its last call began
	left   time.Time // when the last call began that another server answered; zero if none did
}

func newTally() *tally {
	return &tally{
		counts:    counts{byServer: map[string]int{}, homes: map[string]home{}},
		first:     map[string]time.Time{},
		lastBegun: map[string]time.Time{},
	}
}

func (t *tally) add(key, server string, begun time.Time, err error) {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.calls++
	if err != nil {
		t.failed++
		t.lastFail, t.lastErr = now, err
		return
	}
	t.byServer[server]++
	t.homes[key] = t.homes[key].after(server, begun)
	if t.first[server].IsZero() {
		t.first[server] = now
	}
	if begun.After(t.lastBegun[server]) {
		t.lastBegun[server] = begun
	}
}

// after is the home once a server has answered one more call.
func (h home) after(server string, begun time.Time) home {
	switch {
	case begun.Before(h.begun):
		return h // a call that took longer than a later one
	case server != h.server:
		return home{server: server, begun: begun, left: h.begun}
	default:
		h.begun = begun
		return h
	}
}

// now gives a copy of the counts as they are.
func (t *tally) now() counts {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.counts
	c.byServer, c.homes = maps.Clone(c.byServer), maps.Clone(c.homes)
	return c
}

// server tells when the server first answered, and when the last call that it
// answered began; zero if it never did.
func (t *tally) server(name string) (first, lastBegun time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.first[name], t.lastBegun[name]
}

func (t *tally) lastFailure() (time.Time, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.lastFail, t.lastErr
}
