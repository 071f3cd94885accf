package e2e

import (
	"cmp"
	"flag"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
)

var (
	mixFor  = flag.Duration("mix", time.Minute, "for how long the random mix plays")
	mixSeed = flag.Int64("seed", 0, "the seed of the random mix, 0 for a random one")
)

var mixFaults = []fault{{row: 32, name: "seeded random mix", limit: 15 * time.Second, play: playMix}}

// playMix plays rounds of a minute, at the end of which all faults are over and
// everything must be as etcd says. The seed decides what happens when and to whom;
// what comes of it is up to the machine as well.
func playMix(s *scene) {
	m := startMix(s)
	rounds := (*mixFor + time.Minute - 1) / time.Minute
	for round := range rounds {
		s.Logf("round %d of %d: -args -mix %v -seed %d", round+1, rounds, *mixFor, seedOfMix())
		m.play(schedule(seedOfMix(), uint64(round), *mixFor/rounds))
		m.check()
	}
}

// seedOfMix is the same for all that play the mix.
var seedOfMix = sync.OnceValue(func() uint64 { return uint64(cmp.Or(*mixSeed, rand.Int64())) })

// deed is something that may happen. It returns how to undo it, or nil.
type deed struct {
	name string
	do   func(m *mix, pick int) (undo func())
}

// lane is a part of the mix in which one deed is undone before the next is done.
type lane struct {
	pause, lasts span
	deeds        []deed
}

type span struct{ least, most time.Duration }

func (s span) draw(random *rand.Rand) time.Duration {
	return s.least + time.Duration(random.Int64N(int64(s.most-s.least)))
}

// Keys live for 20 s: the registrars are cut off for less, so that few get lost.
var lanes = []lane{
	{pause: span{2 * time.Second, 6 * time.Second}, lasts: span{time.Second, 8 * time.Second}, deeds: clusterDeeds},
	{pause: span{2 * time.Second, 8 * time.Second}, lasts: span{time.Second, 16 * time.Second}, deeds: networkDeeds("the clients'", clientNetwork)},
	{pause: span{3 * time.Second, 10 * time.Second}, lasts: span{time.Second, 5 * time.Second}, deeds: networkDeeds("the registrars'", registrarNetwork)},
	{pause: span{200 * time.Millisecond, 2 * time.Second}, lasts: span{0, time.Second}, deeds: comeAndGoDeeds},
	{pause: span{50 * time.Millisecond, 500 * time.Millisecond}, lasts: span{0, 500 * time.Millisecond}, deeds: byHandDeeds},
}

// step is a deed of a lane in its time.
type step struct {
	at, lasts time.Duration
	deed      int // of the lane
	pick      int // whom it befalls
}

// schedule gives the steps of each lane, all of which end within length.
func schedule(seed, round uint64, length time.Duration) [][]step {
	steps := make([][]step, len(lanes))
	for i, lane := range lanes {
		random := rand.New(rand.NewPCG(seed, round*uint64(len(lanes))+uint64(i)))
		for at := lane.pause.draw(random); ; at += lane.pause.draw(random) {
			next := step{at, lane.lasts.draw(random), random.IntN(len(lane.deeds)), random.IntN(1 << 16)}
			if at += next.lasts; at > length {
				break
			}
			steps[i] = append(steps[i], next)
		}
	}
	return steps
}

// play does all that is scheduled. Nothing is left undone when it returns.
func (m *mix) play(schedule [][]step) {
	began := time.Now()
	var all sync.WaitGroup
	for i, steps := range schedule {
		all.Go(func() {
			for _, step := range steps {
				deed := lanes[i].deeds[step.deed]
				<-time.After(time.Until(began.Add(step.at)))
				m.Logf("%6.2f s: %s (%d), for %v", time.Since(began).Seconds(), deed.name, step.pick, step.lasts)
				undo := deed.do(m, step.pick)
				<-time.After(time.Until(began.Add(step.at + step.lasts)))
				if undo != nil {
					undo()
				}
			}
		})
	}
	all.Wait()
}

// check requires that within the limit each client has the list that etcd has, and
// calls reach who is alive and in it.
func (m *mix) check() {
	m.Helper()
	began := time.Now()
	m.underway.Wait()
	operator := m.connect(clientv3.Config{Endpoints: m.cluster.Endpoints()}) // one that was in no trouble
	defer func() { _ = operator.Close() }()
	m.tidyUp(operator)
	clients := append([]*scene{m.scene}, m.late...)
	var listed []string
	require.EventuallyWithT(m, func(t *assert.CollectT) {
		list, addrs, err := truth(operator)
		require.NoError(t, err)
		require.Subset(t, addrs, addrsOf(m.alive()), "not all are registered")
		for _, client := range clients {
			if client.under.asserted {
				require.Equal(t, list, told(client.heard))
			}
		}
		listed = addrs
	}, m.limit+slack-time.Since(began), 20*time.Millisecond, "log:\n%s", lazy(m.log))
	m.Logf("all lists are right after %v", time.Since(began).Round(time.Millisecond))

	alive := slices.DeleteFunc(slices.Concat(m.alive(), m.byHand), func(s *policyServer) bool { return !slices.Contains(listed, s.addr) })
	m.reach(m.limit-time.Since(began), alive...)
	for _, client := range m.late {
		assert.True(m, client.channel.reaches(alive...) || !client.under.asserted)
		if client.under.asserted { // the official resolver may block until its client is closed
			_ = client.channel.Close()
		}
		_ = client.client.Close()
	}
	m.late = nil
	if m.under.asserted {
		require.NotContains(m, m.heard.sizes(), 0, "an empty list")
		require.Zero(m, m.stats().AuditDifferences)
	}
}

func TestMix_SeedReproducesTheSchedule(t *testing.T) {
	t.Parallel()
	const length = 10 * time.Minute
	steps := schedule(7, 3, length)
	require.Equal(t, steps, schedule(7, 3, length))
	for _, other := range [][][]step{schedule(7, 4, length), schedule(8, 3, length)} {
		for i := range lanes {
			require.NotEqual(t, steps[i], other[i])
		}
	}
	for i, lane := range lanes {
		done, free := make(map[int]bool), time.Duration(0)
		for _, step := range steps[i] {
			require.GreaterOrEqual(t, step.at, free+lane.pause.least, "in turn")
			free = step.at + step.lasts
			done[step.deed] = true
		}
		require.LessOrEqual(t, free, length)
		require.Len(t, done, len(lane.deeds), "nothing is left out")
	}
}
