package simulation

import (
	"math"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
)

// play runs a scenario once.
func play(t *testing.T, sc scenario, clients int, p policy, seed uint64) outcome {
	t.Helper()
	sc = sc.filledIn()
	o, err := inBubble(t, &sc, clients, p, seed)
	require.NoError(t, err)
	require.Positive(t, o.Calls)
	return o
}

func seconds(from, to float64) (from2, to2 time.Duration) {
	return time.Duration(from * float64(time.Second)), time.Duration(to * float64(time.Second))
}

// sojourn is the probability that a call to an M/M/c queue takes longer than t
// mean service times (Erlang's C; the sum of two exponentials).
func sojourn(workers int, load, t float64) float64 {
	offered, term, sum := load*float64(workers), 1.0, 1.0
	for i := 1; i < workers; i++ {
		term *= offered / float64(i)
		sum += term
	}
	last := term * offered / float64(workers) / (1 - load)
	wait := last / (sum + last) // the probability of a wait, of mean 1/drain
	drain := float64(workers) * (1 - load)
	return (1-wait)*math.Exp(-t) + wait*(drain*math.Exp(-t)-math.Exp(-drain*t))/(drain-1)
}

func TestModel_OneBackendIsTheQueueOfTheory(t *testing.T) {
	for _, tc := range []struct {
		workers int
		load    float64
	}{{1, 0.5}, {4, 0.7}, {16, 0.9}} {
		sc := scenario{backends: 1, workers: tc.workers, load: tc.load}
		sc.from, sc.to = seconds(10, 10+80_000/(tc.load*float64(tc.workers)*100))
		o := play(t, sc, 3, turns, 1)
		for m, tail := range map[metric]float64{p50: 0.5, p99: 0.01} {
			got := o.Values[m] / milliseconds(meanService)
			theory := sojourn(tc.workers, tc.load, got)
			require.InEpsilon(t, tail, theory, map[metric]float64{p50: 0.05, p99: 0.25}[m],
				"%d workers, load %g: %s is %.2f mean service times", tc.workers, tc.load, m, got)
		}
	}
}

func TestModel_Conditions(t *testing.T) {
	const few = 0.02 // a load at which no call waits
	median := math.Ln2 * milliseconds(meanService)
	for _, tc := range []struct {
		name     string
		backends int
		become   condition
		metric   metric
		want     float64
		within   float64
	}{
		{"well", 1, condition{}, p50, median, 0.4},
		{"slow", 1, condition{Slow: 3}, p50, 3 * median, 1.2},
		{"fails at once, which has no latency", 1, condition{Fails: 1, FailsIn: time.Millisecond}, p50, 0, 0},
		{"fails at once", 1, condition{Fails: 1, FailsIn: time.Millisecond}, errs, 100, 0},
		{"fails sometimes", 2, condition{Fails: 0.5}, errs, 25, 1},
		{"hangs", 1, condition{Hangs: true}, p50, milliseconds(deadline), 0},
		{"hangs, one of two", 2, condition{Hangs: true}, errs, 50, 0.1},
		{"down", 1, condition{Down: true}, errs, 100, 0},
		{"down, one of two", 2, condition{Down: true}, errs, 0, 0},
		{"down, one of two, gets nothing", 2, condition{Down: true}, share, 0, 0},
		{"in the list it gets its share", 4, condition{}, share, 1, 0.01},
		{"absent it has none", 4, condition{Absent: true}, share, 0, 0},
	} {
		for _, later := range []time.Duration{0, time.Second} {
			sc := scenario{backends: tc.backends, load: few, watched: only(0)}
			sc.timeline = []change{{at: later, who: only(0), become: tc.become}}
			sc.from, sc.to = seconds(3, 600)
			o := play(t, sc, 2, turns, 7)
			require.InDelta(t, tc.want, o.Values[tc.metric], tc.within, "%s, from %v on", tc.name, later)
		}
	}
}

func TestModel_BackendThatComesBackGetsItsShare(t *testing.T) {
	for _, away := range []condition{{Down: true}, {Absent: true}} {
		for _, p := range slices.Concat([]policy{turns}, policies) {
			sc := scenario{backends: 4, load: 0.2, watched: only(0), timeline: []change{
				{at: time.Second, who: only(0), become: away},
				{at: 2 * time.Second, who: only(0), become: condition{}},
			}}
			sc.from, sc.to = seconds(8, 14)
			o := play(t, sc, 3, p, 1)
			require.Greater(t, o.Values[share], 0.3, "%s after %+v", p.label, away)
			require.Zero(t, o.Values[errs], p.label)
			require.Zero(t, o.Series.Watched[1], "%s while %+v", p.label, away)
			require.Equal(t, o.Total, sum(o.Series.Calls), "every call ends")
		}
	}
}

func sum(counts []int) (total int) {
	for _, n := range counts {
		total += n
	}
	return total
}

func TestModel_FairShareIsOfWhatIsInTheList(t *testing.T) {
	sc := scenario{backends: 4, load: 0.2, timeline: from0(only(0), condition{Absent: true}), watched: only(1)}
	sc.from, sc.to = seconds(0, 10)
	require.InDelta(t, 1, play(t, sc, 2, turns, 1).Values[share], 0.01)
}

func TestModel_PoliciesHearOfLostConnections(t *testing.T) {
	sc := scenario{backends: 2, load: 0.2, timeline: []change{
		{at: time.Second, who: only(0), become: condition{Down: true}},
		{at: 2 * time.Second, who: only(0), become: condition{}},
	}}.filledIn()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(&sc, policyNamed(t, ourRoundRobin))
		require.NoError(t, w.begin(1))
		defer w.close()
		for _, want := range []connectivity.State{connectivity.Ready, connectivity.TransientFailure, connectivity.Ready} {
			require.Equal(t, want, w.clients[0].conns[0].state)
			require.Equal(t, connectivity.Ready, w.clients[0].conns[1].state)
			if w.changes < len(sc.timeline) {
				require.NoError(t, w.alter())
			}
		}
	})
}

func TestModel_PickOfALostConnectionIsGivenBack(t *testing.T) {
	sc := scenario{backends: 1, load: 0.2}.filledIn()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(&sc, turns)
		require.NoError(t, w.begin(1))
		defer w.close()
		w.servers[0].Down = true
		var ends []balancer.DoneInfo
		sent := w.send(&call{client: w.clients[0]}, balancer.PickResult{
			SubConn: w.clients[0].conns[0], Done: func(info balancer.DoneInfo) { ends = append(ends, info) },
		})
		require.False(t, sent)
		require.Equal(t, []balancer.DoneInfo{{}}, ends)
	})
}

func TestModel_FailingAtOnceTakesNoWorker(t *testing.T) {
	sc := scenario{backends: 1, load: 0.2, timeline: from0(only(0), blackHole)}.filledIn()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(&sc, turns)
		require.NoError(t, w.begin(1))
		defer w.close()
		require.True(t, w.send(&call{client: w.clients[0], work: 5}, balancer.PickResult{SubConn: w.clients[0].conns[0]}))
		require.Equal(t, blackHole.FailsIn, w.agenda.next())
		require.Zero(t, w.servers[0].busy)
	})
}

func TestModel_CallsOnABrokenConnectionFail(t *testing.T) {
	sc := scenario{backends: 2, load: 0.9, timeline: []change{{at: 2 * time.Second, who: only(0), become: condition{Down: true}}}}
	sc.from, sc.to = seconds(1, 2.5)
	o := play(t, sc, 2, turns, 1)
	require.Positive(t, sum(o.Series.Errors[:2]), "those in flight")
}

// While a backend hardly works calls pile up. Their clients are gone when it
// works again, so it leaves them alone and is soon through with the others.
func TestModel_ExpiredCallsAreDropped(t *testing.T) {
	sc := scenario{backends: 1, load: 0.7, timeline: []change{
		{at: time.Second, who: only(0), become: condition{Slow: 100}},
		{at: 6 * time.Second, who: only(0), become: condition{}},
	}}
	sc.from, sc.to = seconds(11, 15)
	require.Zero(t, play(t, sc, 2, turns, 1).Values[errs])
	sc.from, sc.to = seconds(3, 5)
	require.Greater(t, play(t, sc, 2, turns, 1).Values[errs], 80.0)
}

func TestModel_SeedSettlesEverythingTheHarnessDraws(t *testing.T) {
	sc := scenario{load: 0.8, zones: balancedZones, watched: only(3), timeline: []change{
		{at: time.Second, who: only(3), become: condition{Fails: 0.5, FailsIn: time.Millisecond}},
		{at: 2 * time.Second, who: only(4), become: condition{Hangs: true}},
		{at: 2 * time.Second, who: only(5), become: condition{Down: true}},
	}}
	sc.from, sc.to = seconds(1, 4)
	first := play(t, sc, 20, turns, 5)
	require.Equal(t, first, play(t, sc, 20, turns, 5))
	require.NotEqual(t, first, play(t, sc, 20, turns, 6))
	require.Equal(t, first.Series.Calls, play(t, sc, 20, policies[0], 5).Series.Calls, "other policies get the same calls")
}

func TestModel_StockWeightedRoundRobinLearnsFromReports(t *testing.T) {
	i := slices.IndexFunc(policies, func(p policy) bool { return p.reports && p.stock })
	sc := scenario{load: 0.5, timeline: from0(everyNth(3), condition{Slow: 2}), watched: everyNth(3)}
	sc.from, sc.to = seconds(5, 10)
	// Ten at half speed beside twenty: 5/25 of the work, for a third of the backends.
	require.InDelta(t, 0.6, play(t, sc, 20, policies[i], 1).Values[share], 0.06)
}

func TestModel_CallerZoneCountsOnly(t *testing.T) {
	sc := scenario{load: 0.3, zones: []zone{{"a", 10, 1}, {"b", 20, 1}}, watched: inZone("a")}
	sc.from, sc.to = seconds(1, 5)
	all := play(t, sc, 20, turns, 1)
	sc.callers = "a"
	ofA := play(t, sc, 20, turns, 1)
	require.InEpsilon(t, 0.5, float64(ofA.Calls)/float64(all.Calls), 0.05)
	require.InDelta(t, 200.0/3, ofA.Values[remote], 0.5)
	require.InDelta(t, 1, ofA.Values[share], 0.02)
	require.InDelta(t, 50, all.Values[remote], 0.5)
}

func TestModel_CallsAllocateNothing(t *testing.T) {
	mallocs := func(to float64) (float64, int) {
		sc := scenario{load: 0.7}
		sc.from, sc.to = seconds(0, to)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		o := play(t, sc, 5, turns, 1)
		runtime.ReadMemStats(&after)
		return float64(after.Mallocs - before.Mallocs), o.Calls
	}
	short, few := mallocs(1)
	long, many := mallocs(6)
	require.Less(t, (long-short)/float64(many-few), 0.01)
}
