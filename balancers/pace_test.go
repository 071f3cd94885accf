package balancers

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/balancer"

	"github.com/steelyard-go/steelyard/balancertest"
	"github.com/steelyard-go/steelyard/internal/policytest"
)

// inTurn picks its connections in turn, counts its calls in flight, and fails
// with err once that is set.
type inTurn struct {
	subConns []*balancertest.SubConn
	turn     int
	load     Load
	err      error
}

func (p *inTurn) Pick(balancer.PickInfo) (balancer.PickResult, error) {
	p.turn++
	if p.err != nil {
		return balancer.PickResult{}, p.err
	}
	return balancer.PickResult{SubConn: p.subConns[p.turn%len(p.subConns)], Done: p.load.Begin()}, nil
}

func turns(addrs ...string) *inTurn {
	p := &inTurn{}
	for _, addr := range addrs {
		p.subConns = append(p.subConns, balancertest.NewSubConn(addr))
	}
	return p
}

func TestGuard_PassesByThoseThatLeft(t *testing.T) {
	p := turns("a", "b", "c")
	g := &guard{inner: p}
	g.gone.Store(p.subConns[1], nil)
	for range 10 {
		picked, err := g.Pick(balancer.PickInfo{})
		require.NoError(t, err)
		require.NotEqual(t, balancer.SubConn(p.subConns[1]), picked.SubConn)
		require.EqualValues(t, 1, p.load.InFlight(), "the call is counted in once, those passed by are counted out")
		picked.Done(balancer.DoneInfo{})
	}
}

func TestGuard_LetsCallsWaitWhenAllHaveLeft(t *testing.T) {
	p := turns("a", "b")
	g := &guard{inner: p}
	g.gone.Store(p.subConns[0], nil)
	g.gone.Store(p.subConns[1], nil)
	_, err := g.Pick(balancer.PickInfo{})
	require.ErrorIs(t, err, balancer.ErrNoSubConnAvailable)
	require.Zero(t, p.load.InFlight())

	g.gone.Delete(p.subConns[0])
	picked, err := g.Pick(balancer.PickInfo{})
	require.NoError(t, err)
	require.Equal(t, balancer.SubConn(p.subConns[0]), picked.SubConn, "it came back")
}

func TestGuard_PassesErrorsOn(t *testing.T) {
	p := turns("a")
	p.err = errors.New("no key")
	_, err := (&guard{inner: p}).Pick(balancer.PickInfo{})
	require.ErrorIs(t, err, p.err)
	require.Equal(t, 1, p.turn, "asked once")
}

func TestGuard_AllocatesNothing(t *testing.T) {
	p := turns("a", "b", "c")
	g := &guard{inner: p}
	g.gone.Store(p.subConns[1], nil)
	policytest.RequireAllocs(t, 0, func() {
		picked, err := g.Pick(balancer.PickInfo{})
		if err != nil {
			t.Fatal(err)
		}
		picked.Done(balancer.DoneInfo{})
	})
}

// A call whose only choice has left waits for the end of the pause, so however
// long a build took the pause is short; and a quick one does not make it none.
func TestPace_PauseIsWithinBounds(t *testing.T) {
	for took, want := range map[time.Duration]time.Duration{
		0:                     minPause,
		2 * time.Millisecond:  8 * time.Millisecond,
		20 * time.Millisecond: maxPause,
		time.Minute:           maxPause,
	} {
		require.Equalf(t, want, pauseAfter(took), "a build that took %v", took)
	}
}
