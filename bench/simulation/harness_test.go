package simulation

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The tests of this file guard the parts of the harness, those of model_test.go
// the whole of it.

func TestAgenda_SoonestFirstThenFirstEntered(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var a agenda
	var entered, taken []entry
	enter := func() {
		e := entry{at: time.Duration(random.IntN(50)), order: a.entered, what: what(random.IntN(3)), call: new(call)}
		a.enter(e.at, e.what, e.call)
		entered = append(entered, e)
	}
	for range 1000 {
		enter()
	}
	for a.next() != never {
		require.Equal(t, a.entries[0].at, a.next())
		taken = append(taken, a.take())
	}
	slices.SortStableFunc(entered, func(x, y entry) int { return cmp.Compare(x.at, y.at) })
	require.Equal(t, entered, taken)
}

func TestAgenda_TakesWhileOthersEnter(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	var a agenda
	now, in, out := time.Duration(0), 0, 0
	for range 20_000 {
		if a.next() == never || in < 10_000 && random.IntN(2) == 0 {
			a.enter(now+time.Duration(random.IntN(100)), finish, nil)
			in++
			continue
		}
		e := a.take()
		out++
		require.GreaterOrEqual(t, e.at, now)
		now = e.at
	}
	require.Equal(t, in, out+len(a.entries))
}

func TestOpenCalls_KeepTheirOrderWhateverEnds(t *testing.T) {
	var o openCalls
	calls := make([]call, 5)
	for i := range calls {
		o.add(&calls[i])
	}
	order := func() (left []*call) {
		for c := o.first; c != nil; c = c.after {
			left = append(left, c)
		}
		return left
	}
	for _, remove := range []int{2, 0, 4} {
		o.remove(&calls[remove])
	}
	require.Equal(t, []*call{&calls[1], &calls[3]}, order())
	require.Same(t, &calls[3], o.last)
	o.remove(&calls[3])
	o.remove(&calls[1])
	require.Nil(t, o.first)
	require.Nil(t, o.last)
}

func TestServer_QueueIsFirstComeFirstServed(t *testing.T) {
	var s server
	calls := make([]call, 3)
	s.queue(&calls[0])
	s.queue(&calls[1])
	require.Same(t, &calls[0], s.unqueue())
	s.queue(&calls[2])
	require.Same(t, &calls[1], s.unqueue())
	require.Same(t, &calls[2], s.unqueue())
	require.Nil(t, s.unqueue())
}

func TestServer_WarmsUpInAStraightLine(t *testing.T) {
	s := &server{condition: condition{Cold: 5, WarmIn: 20 * time.Second}, since: time.Second}
	for _, tc := range []struct {
		at   time.Duration
		want float64
	}{{time.Second, 5}, {11 * time.Second, 3}, {21 * time.Second, 1}, {time.Minute, 1}} {
		require.InDelta(t, tc.want, s.factor(tc.at), 1e-9, "at %v", tc.at)
	}
	s.Slow = 10
	require.InDelta(t, 30, s.factor(11*time.Second), 1e-9)
}

func TestSource_DrawsWhatItsNamesSay(t *testing.T) {
	const n = 200_000
	clients := []*client{{zone: "a"}, {zone: "b"}, {zone: "b"}, {zone: "b"}}
	for _, service := range []distribution{exponential, lognormal} {
		s := newSource(1, 1000, clients, service)
		var work, luck float64
		inA, c := 0, new(call)
		for range n {
			s.draw(c)
			work, luck = work+c.work, luck+c.luck
			if c.client.zone == "a" {
				inA++
			}
		}
		require.InDelta(t, 1, work/n, 0.015, service.name)
		require.InDelta(t, 0.5, luck/n, 0.005)
		require.InDelta(t, 0.25, float64(inA)/n, 0.005)
		require.InEpsilon(t, n/1000, s.at().Seconds(), 0.01)
	}
}

func TestHistogram_QuantileIsASample(t *testing.T) {
	var h histogram
	require.Zero(t, h.quantile(0.5))
	for i := 1; i <= 1000; i++ {
		h.add(time.Duration(i) * step)
	}
	require.Equal(t, 500*step, h.quantile(0.5))
	require.Equal(t, 990*step, h.quantile(0.99))
	require.Equal(t, 999*step, h.quantile(0.999))
	require.Equal(t, 1*step, h.quantile(0))
	h.add(deadline)
	require.Equal(t, deadline, h.quantile(1))
}

func TestLoadMeter_ReportsWhatWorkersDid(t *testing.T) {
	var m loadMeter
	type report interface {
		GetApplicationUtilization() float64
		GetRpsFractional() float64
		GetEps() float64
	}
	var got report
	for i := range 1000 { // 3 of 4 workers at work, 50 answers a second, every fifth an error
		got, _ = m.answer(time.Duration(i)*20*time.Millisecond, 3, 4, i%5 == 0).(report)
	}
	require.InDelta(t, 0.75, got.GetApplicationUtilization(), 0.01)
	require.InDelta(t, 50, got.GetRpsFractional(), 1)
	require.InDelta(t, 10, got.GetEps(), 1)
}

func TestQuantileOf(t *testing.T) {
	require.Zero(t, quantileOf(nil, 0.5))
	require.InDelta(t, 3, quantileOf([]float64{5, 1, 3}, 0.5), 1e-9)
	require.InDelta(t, 2.5, quantileOf([]float64{4, 1, 3, 2}, 0.5), 1e-9)
	require.InDelta(t, 4, quantileOf([]float64{4, 1, 3, 2}, 1), 1e-9)
}
