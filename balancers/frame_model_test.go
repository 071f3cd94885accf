package balancers_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/resolver"

	"github.com/steelyard-go/steelyard/attrs"
	"github.com/steelyard-go/steelyard/balancertest"
)

// backendModel is what the frame must make of one endpoint.
type backendModel struct {
	draining  bool
	connected bool
	health    connectivity.State
	state     connectivity.State // as it counts for the channel
	calls     []func(balancer.DoneInfo)
}

func (b *backendModel) serves() bool { return b.connected && b.health == connectivity.Ready }

// move follows gRFC A62: TRANSIENT_FAILURE ends with READY only.
func (b *backendModel) move(to connectivity.State) {
	if to != connectivity.Connecting || b.state != connectivity.TransientFailure {
		b.state = to
	}
}

// model is a channel with the frame on it beside a plain idea of it.
type model struct {
	t        *testing.T
	channel  *balancertest.Channel
	recorder *recorder
	addrs    []string // all that may ever be listed
	list     map[string]*backendModel
	trace    []string // the last steps
}

func newModel(t *testing.T, addrs []string, opts ...balancertest.Option) *model {
	c, r := host(t, opts...)
	return &model{t: t, channel: c, recorder: r, addrs: addrs, list: make(map[string]*backendModel)}
}

// step does what the number says, to the backend that it says.
func (m *model) step(op, which, more byte) {
	addr := m.addrs[int(which)%len(m.addrs)]
	b := m.list[addr]
	op %= 8
	m.trace = append(m.trace, fmt.Sprintf("%d(%s,%d)", op, addr, more))
	m.trace = m.trace[max(0, len(m.trace)-20):]
	switch {
	case op == 0:
		m.relist(more)
	case op == 1:
		m.accepted(m.channel.Configure(fmt.Sprintf(`{"choices":%d}`, 2+more%9)))
	case b == nil:
		return
	case op == 2 || op == 3:
		m.connect(addr, b)
	case op == 4:
		m.channel.Fail(nil, addr)
		b.connected = false
		b.move(connectivity.TransientFailure)
	case op == 5:
		m.channel.Idle(addr)
		b.connected = false
		b.move(connectivity.Connecting)
	case op == 6:
		m.setHealth(addr, b, []connectivity.State{connectivity.Ready, connectivity.Connecting, connectivity.TransientFailure}[more%3])
	case op == 7:
		m.call(more)
	}
	m.check()
}

func (m *model) connect(addr string, b *backendModel) {
	m.channel.Ready(addr)
	if !b.connected {
		b.connected = true
		b.move(b.health)
	}
}

func (m *model) setHealth(addr string, b *backendModel, health connectivity.State) {
	b.health = health
	m.channel.SubConn(addr).SetHealth(health, nil)
	if b.connected {
		b.move(health)
	}
}

// relist draws a new list: seed says who is in it and who drains.
func (m *model) relist(seed byte) {
	random := rand.New(rand.NewPCG(uint64(seed), 0))
	leaves, drains := random.IntN(4), random.IntN(4)
	next := make(map[string]*backendModel)
	var list []resolver.Endpoint
	for _, addr := range m.addrs {
		if random.IntN(4) < leaves {
			continue
		}
		b := m.list[addr]
		if b == nil {
			b = &backendModel{health: connectivity.Ready, state: connectivity.Connecting}
		}
		b.draining = random.IntN(4) < drains
		next[addr] = b
		list = append(list, endpoint(attrs.Attrs{Weight: random.Uint32N(9), Draining: b.draining}, addr))
	}
	for addr, b := range m.list {
		if next[addr] == nil {
			b.end()
		}
	}
	m.list = next
	m.accepted(m.channel.Update(list...))
}

// accepted checks the answer to a list or a config: only an empty list is refused.
func (m *model) accepted(err error) {
	if len(m.list) == 0 {
		require.ErrorIs(m.t, err, balancer.ErrBadResolverState)
		return
	}
	require.NoError(m.t, err)
}

func (b *backendModel) end() {
	for _, done := range b.calls {
		done(balancer.DoneInfo{})
	}
	b.calls = nil
}

// call begins a call, or ends one that was begun before.
func (m *model) call(more byte) {
	if more%2 == 0 {
		if picked, err := m.channel.Pick(context.Background()); err == nil {
			b := m.list[fmt.Sprint(picked.SubConn)]
			b.calls = append(b.calls, picked.Done)
		}
		return
	}
	for _, b := range m.list {
		if n := len(b.calls); n > 0 {
			b.calls[n-1](balancer.DoneInfo{})
			b.calls = b.calls[:n-1]
		}
	}
}

// check is what holds at every moment.
func (m *model) check() {
	for range 20 {
		picked, err := m.channel.Pick(context.Background())
		if err != nil {
			break
		}
		picked.Done(balancer.DoneInfo{})
		b := m.list[fmt.Sprint(picked.SubConn)]
		require.True(m.t, b != nil && b.serves(), "a call went to %v; after %v", picked.SubConn, m.trace)
	}
	require.Equal(m.t, m.state(), m.channel.State(), "after %v", m.trace)
	require.Equal(m.t, len(m.list), m.channel.Created()-m.channel.ShutDown(), "after %v", m.trace)
	for addr := range m.list {
		require.NotNil(m.t, m.channel.SubConn(addr), "after %v", m.trace)
	}
}

// settled is what holds once what may take a while has happened.
func (m *model) settled() {
	pass(soon)
	m.check()
	require.Equal(m.t, m.serving(), serving(m.channel), "after %v", m.trace)
	if m.channel.State() != connectivity.Ready {
		return
	}
	for addr, b := range m.list {
		require.EqualValues(m.t, len(b.calls), m.recorder.member(addr).Load.InFlight(), "%s after %v", addr, m.trace)
	}
}

func (m *model) serving() []string {
	var fresh, draining []string
	for _, addr := range slices.Sorted(maps.Keys(m.list)) {
		switch b := m.list[addr]; {
		case b.serves() && b.draining:
			draining = append(draining, addr)
		case b.serves():
			fresh = append(fresh, addr)
		}
	}
	if fresh != nil {
		return fresh
	}
	return draining
}

func (m *model) state() connectivity.State {
	state := connectivity.TransientFailure
	if len(m.list) == 0 && m.channel.Updates() == 0 {
		return connectivity.Connecting // no list yet
	}
	for _, b := range m.list {
		if b.state == connectivity.Ready {
			return b.state
		}
		if b.state == connectivity.Connecting {
			state = b.state
		}
	}
	return state
}

// play runs a script of steps, three bytes each, some with a pause behind them.
func play(t *testing.T, backends int, script []byte, opts ...balancertest.Option) {
	bubble(t, func(t *testing.T) {
		m := newModel(t, names(backends), opts...)
		m.relist(0)
		for i := 0; i+2 < len(script); i += 3 {
			m.step(script[i], script[i+1], script[i+2])
			switch pause := script[i] / 8 % 16; {
			case pause == 0:
				m.settled()
			case pause < 5:
				pass(time.Duration(pause) * time.Millisecond)
			}
		}
		m.settled()
	})
}

func TestFrame_FollowsTheModel(t *testing.T) {
	for seed := range uint64(36) {
		random := rand.New(rand.NewPCG(seed, 1))
		backends := []int{3, 8, 90}[seed%3]
		script := make([]byte, 3*300)
		for i := range script {
			script[i] = byte(random.Uint32())
		}
		for i := 0; i < len(script); i += 3 {
			if script[i]%8 == 0 && random.IntN(4) > 0 {
				script[i] += 2 // fewer new lists, more of what happens within one
			}
		}
		t.Run(fmt.Sprintf("seed %d, %d backends", seed, backends), func(t *testing.T) {
			play(t, backends, script, healthWays[[]string{"after it", "inside the registration"}[seed/3%2]]...)
		})
	}
}

func FuzzFrame_FollowsTheModel(f *testing.F) {
	f.Add(false, []byte{2, 0, 0, 10, 1, 0, 7, 0, 0, 5, 0, 0, 0, 0, 77, 4, 1, 0})
	f.Add(true, []byte{2, 0, 0, 10, 1, 0, 18, 2, 0, 13, 1, 0, 8, 0, 5, 13, 2, 0})
	f.Fuzz(func(t *testing.T, long bool, script []byte) {
		backends := 5
		if long {
			backends = 90
		}
		if len(script) > 3*500 {
			script = script[:3*500]
		}
		play(t, backends, script)
	})
}
