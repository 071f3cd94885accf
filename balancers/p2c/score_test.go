package p2c_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/balancer/base"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/status"

	"github.com/steelyard-go/steelyard/attrs"
	"github.com/steelyard-go/steelyard/balancers/p2c"
	"github.com/steelyard-go/steelyard/balancertest"
)

// server is how a backend behaves in these tests.
type server struct {
	took time.Duration
	err  error
	load func() any // its load report, nil for none
}

// traffic makes calls through one picker to servers in virtual time: a call
// every interval, each answered after what its server takes, give or take a half.
type traffic struct {
	picker  balancer.Picker
	method  string
	servers map[string]*server
	random  *rand.Rand
}

func newTraffic(cfg p2c.Config, servers ...*server) *traffic {
	return newWeightedTraffic(cfg, make([]uint32, len(servers)), servers...)
}

func newWeightedTraffic(cfg p2c.Config, weights []uint32, servers ...*server) *traffic {
	tr := &traffic{servers: make(map[string]*server), random: rand.New(rand.NewPCG(1, 2))}
	ready := make(map[balancer.SubConn]base.SubConnInfo)
	for i, s := range servers {
		addr := fmt.Sprintf("10.0.0.%d:80", i)
		tr.servers[addr] = s
		ready[balancertest.NewSubConn(addr)] = base.SubConnInfo{
			Address: attrs.SetAddress(resolver.Address{Addr: addr}, attrs.Attrs{Weight: weights[i]}),
		}
	}
	tr.picker = p2c.NewPickerBuilder(cfg).Build(base.PickerBuildInfo{ReadySCs: ready})
	return tr
}

// run makes calls for a while and returns each server's share of them.
func (tr *traffic) run(t *testing.T, length, interval time.Duration) map[*server]float64 {
	shares, calls := make(map[*server]float64), 0
	for range length / interval {
		picked, err := tr.picker.Pick(balancer.PickInfo{Ctx: context.Background(), FullMethodName: tr.method})
		require.NoError(t, err)
		s := tr.servers[fmt.Sprint(picked.SubConn)]
		require.NotNil(t, s)
		shares[s]++
		calls++
		info := balancer.DoneInfo{Err: s.err, BytesSent: true, BytesReceived: true}
		if s.load != nil {
			info.ServerLoad = s.load()
		}
		took := s.took/2 + time.Duration(tr.random.Float64()*float64(s.took))
		time.AfterFunc(took, func() { picked.Done(info) })
		pass(interval)
	}
	for s := range shares {
		shares[s] /= float64(calls)
	}
	return shares
}

func pass(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // the bubble's clock
}

var errDown = status.Error(codes.Unavailable, "down")

func TestScore_BlackHoleOfTwoGetsFewCalls(t *testing.T) {
	for _, load := range []string{p2c.Latency, p2c.Requests} {
		synctest.Test(t, func(t *testing.T) {
			good, hole := &server{took: 10 * time.Millisecond}, &server{took: time.Millisecond, err: errDown}
			tr := newTraffic(p2c.Config{Load: load}, good, hole)
			tr.run(t, time.Second, 2*time.Millisecond)
			shares := tr.run(t, 30*time.Second, 2*time.Millisecond)
			require.Lessf(t, shares[hole], 0.05, "load %s", load)
			require.Positivef(t, shares[hole], "load %s: it must be tried again now and then", load)

			hole.err, hole.took = nil, good.took
			tr.run(t, 10*time.Second, 2*time.Millisecond)
			shares = tr.run(t, 5*time.Second, 2*time.Millisecond)
			require.Greaterf(t, shares[hole], 0.4, "load %s: recovered within 10 s", load)
		})
	}
}

func TestScore_SlowBackendGetsFewCallsAndRecovers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		servers := make([]*server, 10)
		for i := range servers {
			servers[i] = &server{took: 10 * time.Millisecond}
		}
		slow := servers[3]
		slow.took = 200 * time.Millisecond
		tr := newTraffic(p2c.Config{}, servers...)
		tr.run(t, 5*time.Second, time.Millisecond)
		require.Less(t, tr.run(t, 10*time.Second, time.Millisecond)[slow], 0.03, "against 0.1 if it were as fast")

		slow.took = 10 * time.Millisecond
		tr.run(t, 25*time.Second, time.Millisecond)
		require.Greater(t, tr.run(t, 5*time.Second, time.Millisecond)[slow], 0.08, "0.8 of its fair share after 25 s")
	})
}

func TestScore_SharesAtRestAreTheWeights(t *testing.T) {
	for _, load := range []string{p2c.Latency, p2c.Requests} {
		synctest.Test(t, func(t *testing.T) {
			servers := []*server{{took: 5 * time.Millisecond}, {took: 5 * time.Millisecond}, {took: 5 * time.Millisecond}}
			tr := newWeightedTraffic(p2c.Config{Load: load}, []uint32{1, 2, 4}, servers...)
			tr.run(t, time.Second, 10*time.Millisecond)
			shares := tr.run(t, 100*time.Second, 10*time.Millisecond) // one call at a time
			for i, want := range []float64{1. / 7, 2. / 7, 4. / 7} {
				require.InDeltaf(t, want, shares[servers[i]], 0.03, "load %s, server %d", load, i)
			}
		})
	}
}

func TestScore_UnmeasuredGetsOneCallAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		servers := []*server{{took: time.Millisecond}, {took: time.Millisecond}, {took: time.Hour}}
		tr := newTraffic(p2c.Config{}, servers...)
		shares := tr.run(t, 10*time.Second, time.Millisecond)
		require.LessOrEqual(t, shares[servers[2]]*10_000, 11.0, "one call, and one more for each second without an answer")
		require.Positive(t, shares[servers[2]])
	})
}

func TestScore_CallersOwnErrorsAndCancellationsDoNotCount(t *testing.T) {
	for _, code := range []codes.Code{codes.Canceled, codes.InvalidArgument, codes.NotFound, codes.PermissionDenied, codes.FailedPrecondition, codes.Aborted} {
		synctest.Test(t, func(t *testing.T) {
			refusing := &server{took: 5 * time.Millisecond, err: status.Error(code, "no")}
			tr := newTraffic(p2c.Config{Load: p2c.Requests}, &server{took: 5 * time.Millisecond}, refusing)
			require.InDeltaf(t, 0.5, tr.run(t, 10*time.Second, time.Millisecond)[refusing], 0.05, "%s", code)
		})
	}
}

func TestScore_FailuresCount(t *testing.T) {
	for _, code := range []codes.Code{codes.Unknown, codes.DeadlineExceeded, codes.ResourceExhausted, codes.Internal, codes.Unavailable, codes.DataLoss} {
		synctest.Test(t, func(t *testing.T) {
			failing := &server{took: 5 * time.Millisecond, err: status.Error(code, "no")}
			tr := newTraffic(p2c.Config{Load: p2c.Requests}, &server{took: 5 * time.Millisecond}, failing)
			require.Lessf(t, tr.run(t, 10*time.Second, time.Millisecond)[failing], 0.05, "%s", code)
		})
	}
}

func TestScore_PicksGoOnWhenAllFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, c := &server{err: errDown}, &server{err: errDown}, &server{err: errDown}
		tr := newTraffic(p2c.Config{}, a, b, c)
		tr.run(t, 10*time.Second, time.Millisecond)
		for _, share := range tr.run(t, 10*time.Second, time.Millisecond) {
			require.Greater(t, share, 0.1, "none is given up while the others are no better")
		}
	})
}

// gRPC ends a pick whose connection has just been lost with an empty DoneInfo:
// that is no fast success.
func TestScore_PickThatWasNoCallTeachesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		good, lost := &server{took: 50 * time.Millisecond}, &server{took: 50 * time.Millisecond}
		tr := newTraffic(p2c.Config{}, good, lost)
		tr.run(t, 5*time.Second, 10*time.Millisecond)
		for range 1000 {
			picked, err := tr.picker.Pick(balancer.PickInfo{Ctx: context.Background()})
			require.NoError(t, err)
			if tr.servers[fmt.Sprint(picked.SubConn)] == lost {
				picked.Done(balancer.DoneInfo{})
			} else {
				time.AfterFunc(good.took, func() { picked.Done(balancer.DoneInfo{BytesReceived: true}) })
				pass(good.took)
			}
		}
		require.InDelta(t, 0.5, tr.run(t, 5*time.Second, 10*time.Millisecond)[lost], 0.1)
	})
}

// One call at a time, seconds apart: nothing queues, and the memory of a failure
// alone must not keep a backend out.
func TestScore_OneFailureOnAQuietClientIsForgotten(t *testing.T) {
	for _, load := range []string{p2c.Latency, p2c.Requests} {
		synctest.Test(t, func(t *testing.T) {
			a, b := &server{took: 5 * time.Millisecond}, &server{took: 5 * time.Millisecond}
			tr := newTraffic(p2c.Config{Load: load}, a, b)
			tr.run(t, time.Minute, 100*time.Millisecond)
			a.err = errDown
			for tr.run(t, 100*time.Millisecond, 100*time.Millisecond)[a] == 0 {
			}
			a.err = nil
			tr.run(t, time.Minute, 100*time.Millisecond)
			require.InDeltaf(t, 0.5, tr.run(t, 2*time.Minute, 100*time.Millisecond)[a], 0.1, "load %s", load)
		})
	}
}

// A long stream, or a call that hung, is no measure of what calls take.
func TestScore_OneLongCallIsForgotten(t *testing.T) {
	for _, err := range []error{nil, status.Error(codes.DeadlineExceeded, "late")} {
		synctest.Test(t, func(t *testing.T) {
			servers := make([]*server, 10)
			for i := range servers {
				servers[i] = &server{took: 10 * time.Millisecond}
			}
			tr := newTraffic(p2c.Config{}, servers...)
			tr.run(t, 10*time.Second, 5*time.Millisecond)
			long := servers[4]
			long.took, long.err = time.Minute, err
			for tr.run(t, 5*time.Millisecond, 5*time.Millisecond)[long] == 0 {
			}
			long.took, long.err = 10*time.Millisecond, nil
			tr.run(t, 90*time.Second, 5*time.Millisecond) // the long call ends meanwhile
			tr.run(t, 45*time.Second, 5*time.Millisecond)
			require.InDelta(t, 0.1, tr.run(t, 30*time.Second, 5*time.Millisecond)[long], 0.03)
		})
	}
}
