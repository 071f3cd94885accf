package bench

import (
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"

	"github.com/steelyard-go/steelyard/balancers"
)

// What else happens to a channel in life, done to it as fast as it can take it.

// eject has a connection that stays READY be unhealthy, as outlier detection does.
func (ch *churn) eject() {
	s := take(&ch.up, ch.random.IntN(len(ch.up)))
	s.health(balancer.SubConnState{ConnectivityState: connectivity.TransientFailure, ConnectionError: errRefused})
	ch.left(s)
	ch.ejected = append(ch.ejected, s)
}

// admit lets the connection back that was ejected first.
func (ch *churn) admit() {
	s := take(&ch.ejected, 0)
	s.left.Store(0)
	s.health(balancer.SubConnState{ConnectivityState: connectivity.Ready})
	ch.up = append(ch.up, s)
}

// replace is a list in which one backend is gone, and one with it that has a
// connection to make.
func (ch *churn) replace() {
	ch.reconnect()
	i := ch.random.IntN(len(ch.list))
	gone := ch.list[i]
	ch.list = slices.Delete(slices.Clone(ch.list), i, i+1)
	ch.host.update(ch.list)
	isGone := func(s *subConn) bool { return s.addr == gone.Addresses[0].Addr }
	for _, s := range slices.Concat(ch.up, ch.down, ch.ejected) {
		if isGone(s) {
			ch.left(s)
		}
	}
	ch.up, ch.down, ch.ejected = slices.DeleteFunc(ch.up, isGone), slices.DeleteFunc(ch.down, isGone), slices.DeleteFunc(ch.ejected, isGone)
	ch.list = append(ch.list, gone)
	ch.host.take()
	ch.host.update(ch.list)
	for _, s := range ch.host.take() {
		s.ready()
		ch.up = append(ch.up, s)
	}
}

// reconnect lets all be READY.
func (ch *churn) reconnect() {
	for len(ch.down) > 0 {
		ch.restore()
	}
}

// step is one of all that can happen.
func (ch *churn) step() {
	switch n := ch.random.IntN(200); {
	case n == 0:
		ch.replace()
	case n < 3:
		ch.reweigh(20)
	case n < 40 && len(ch.ejected) > 10:
		ch.admit()
	case n < 40:
		ch.eject()
	default:
		ch.flap()
	}
}

// counting is a policy of the frame and nothing else, whose calls are counted
// in and out.
var counting = policy{label: "counting", lb: "bench_counting", ignoresWeights: true}

var counted sync.Map // *balancers.Load of counting → nil

func init() {
	balancers.Register(counting.lb, struct{}{}, func(_ struct{}, backends []balancers.Backend) balancer.Picker {
		for _, b := range backends {
			counted.Store(b.Load, nil)
		}
		return countingPicker(backends)
	})
}

type countingPicker []balancers.Backend

func (p countingPicker) Pick(balancer.PickInfo) (balancer.PickResult, error) {
	b := p[rand.IntN(len(p))]
	return balancer.PickResult{SubConn: b.SubConn, Done: b.Load.Begin()}, nil
}

// TestChurn_NothingIsLost changes 500 backends as fast as they take it while
// calls are made, and looks at what is left of it all.
func TestChurn_NothingIsLost(t *testing.T) {
	const steps = 20_000
	for _, p := range append(only(func(p policy) bool { return !p.stock }), counting) {
		t.Run(p.label, func(t *testing.T) {
			list := endpoints(500, 1, 2, 4)
			h := opened(t, p, list, p.numbered(1))
			defer h.close()
			ch := newChurn(h, list)
			calls := ch.startCalls(t)
			for range steps {
				ch.step()
			}
			calls.stop(t)
			ch.requireAllServe(t)
			ch.requireNoneCounted(t)
		})
	}
}

// requireAllServe checks that calls go to those that are READY, all of them and
// nobody else, by the weights of the last list.
func (ch *churn) requireAllServe(t *testing.T) {
	t.Helper()
	h := ch.host
	ch.reweigh(len(ch.list))
	down := make(map[string]bool)
	for _, s := range slices.Concat(ch.down, ch.ejected) {
		down[s.addr] = true
	}
	require.NotEmpty(t, down)
	var last shares
	served := func() bool {
		picks := make(map[string]int)
		const calls = 1 << 17
		for c := range h.of.spread(calls) {
			picked := h.pick(c)
			picks[picked.SubConn.(*subConn).addr]++
			if picked.Done != nil {
				picked.Done(ended)
			}
		}
		var counts []int
		var expected []float64
		sum := 0.0
		for i, share := range h.of.fair(ch.list) {
			addr := ch.list[i].Addresses[0].Addr
			if down[addr] {
				if picks[addr] > 0 {
					return false
				}
				continue
			}
			counts, expected, sum = append(counts, picks[addr]), append(expected, share), sum+share
		}
		for i := range expected {
			expected[i] *= calls / sum
		}
		last = compare(counts, expected)
		switch {
		case h.of.timesCalls: // keeps away from those whose calls were long
			return last.starved < len(ch.list)/10
		case h.of.keyed():
			return last.starved == 0 && last.peak < 2.5
		default:
			return last.p > 1e-6
		}
	}
	require.Eventually(t, served, patience, time.Millisecond, "%d of %d are down: %+v", len(down), len(ch.list), &last)
}

// requireNoneCounted checks that no backend has calls in flight.
func (ch *churn) requireNoneCounted(t *testing.T) {
	t.Helper()
	if ch.host.of.label == counting.label {
		loads := 0
		for load := range counted.Range {
			require.Zero(t, load.(*balancers.Load).InFlight())
			loads++
		}
		require.GreaterOrEqual(t, loads, len(ch.list))
	}
	if ch.host.of.label == "hash_bounded" {
		ch.requireRoomForEight(t)
	}
}

// requireRoomForEight checks that a key's backend takes eight calls, as one
// without any does however many others there are, and no ninth.
func (ch *churn) requireRoomForEight(t *testing.T) {
	t.Helper()
	for c := range ch.host.of.numbered(5_000) {
		var owners []balancer.SubConn
		var done []func(balancer.DoneInfo)
		for range 9 {
			picked := ch.host.pick(c)
			owners, done = append(owners, picked.SubConn), append(done, picked.Done)
		}
		for _, end := range done {
			end(ended)
		}
		require.Len(t, slices.Compact(owners[:8]), 1)
		require.NotEqual(t, owners[0], owners[8])
	}
}

// calls are goroutines that make calls, some of them long ones.
type calls struct {
	stopping atomic.Bool
	wg       sync.WaitGroup
	made     atomic.Int64
	late     atomic.Int64 // picks of a connection that had left when they began
}

func (ch *churn) startCalls(t *testing.T) *calls {
	t.Helper()
	cs := new(calls)
	for seed := range uint64(2) {
		cs.wg.Go(func() { cs.run(ch, rand.New(rand.NewPCG(seed, 0))) })
	}
	return cs
}

func (cs *calls) run(ch *churn, random *rand.Rand) {
	var open [64]func(balancer.DoneInfo)
	c := ch.host.of.newCall()
	for !cs.stopping.Load() {
		if random.IntN(8) == 0 {
			runtime.Gosched() // lest the changes wait for the processor most of the time
		}
		c.number(random.Uint64())
		began := ch.clock.Load()
		picked, err := ch.host.picker().Pick(c.info)
		if err != nil {
			runtime.Gosched()
			continue
		}
		if left := picked.SubConn.(*subConn).left.Load(); left != 0 && left <= began {
			cs.late.Add(1)
		}
		i := random.IntN(len(open))
		if open[i] != nil {
			open[i](ended)
		}
		open[i] = picked.Done
		cs.made.Add(1)
	}
	for _, done := range open {
		if done != nil {
			done(ended)
		}
	}
}

// stop ends all calls.
func (cs *calls) stop(t *testing.T) {
	t.Helper()
	cs.stopping.Store(true)
	cs.wg.Wait()
	require.Greater(t, cs.made.Load(), int64(10_000))
	require.Zero(t, cs.late.Load(), "calls got a connection that had left before they began")
}
