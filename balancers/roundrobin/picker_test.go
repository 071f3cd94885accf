package roundrobin_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/balancer"

	"github.com/steelyard-go/steelyard/attrs"
	"github.com/steelyard-go/steelyard/balancers/roundrobin"
	"github.com/steelyard-go/steelyard/balancertest"
	"github.com/steelyard-go/steelyard/internal/policytest"
)

// requireEven fails the test unless all n backends were called, and the counts
// differ by at most one.
func requireEven(t *testing.T, n int, counts map[string]int) {
	t.Helper()
	calls := 0
	for _, count := range counts {
		calls += count
	}
	for i := range n {
		count := counts[policytest.Addr(i)]
		require.GreaterOrEqualf(t, count, calls/n, "%s of %d calls to %d backends", policytest.Addr(i), calls, n)
		require.LessOrEqualf(t, count, (calls+n-1)/n, "%s of %d calls to %d backends", policytest.Addr(i), calls, n)
	}
}

func TestPicker_CountsDifferByAtMostOne(t *testing.T) {
	for _, n := range []int{1, 2, 3, 7, 64, 65, 1000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			picker := roundrobin.NewPickerBuilder(roundrobin.Config{}).Build(policytest.BuildInfo(policytest.Alike(n)...))
			counts := make(map[string]int)
			for range 3*n + 1 {
				counts[policytest.Begin(t, picker, t.Context()).Addr]++
				if n < 100 {
					requireEven(t, n, counts) // over every window that starts with the picker
				}
			}
			requireEven(t, n, counts)
		})
	}
}

func TestPicker_ParallelCountsDifferByAtMostOne(t *testing.T) {
	const n, workers, each = 7, 8, 200_001
	picker := policytest.Channel(t, roundrobin.Name, "", policytest.Alike(n)...).Picker()
	sent := make([]map[balancer.SubConn]int, workers)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for w := range workers {
		sent[w] = make(map[balancer.SubConn]int)
		wg.Go(func() {
			<-start
			for range each {
				result, err := picker.Pick(balancer.PickInfo{Ctx: t.Context()})
				if err != nil {
					t.Error(err)
					return
				}
				sent[w][result.SubConn]++
			}
		})
	}
	close(start)
	wg.Wait()
	counts := make(map[string]int)
	for _, own := range sent {
		for sc, count := range own {
			counts[fmt.Sprint(sc)] += count
		}
	}
	requireEven(t, n, counts)
}

func TestPolicy_ParallelCountsStayEvenAcrossRebuilds(t *testing.T) {
	const n, workers, each = 7, 4, 10_001
	c := policytest.Channel(t, roundrobin.Name, "", policytest.Alike(n)...)
	start, sent := make(chan struct{}), make(chan map[string]int, workers)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			<-start
			sent <- c.Count(t.Context(), each)
		})
	}
	close(start)
	updates := c.Updates()
	counts := make(map[string]int)
	for round := 0; len(sent) < workers; round++ {
		require.NoError(t, c.Update(policytest.Endpoints(slices.Repeat([]uint32{uint32(1 + round%7)}, n)...)...))
	}
	wg.Wait()
	require.Greater(t, c.Updates()-updates, 10, "or this test shows nothing")
	for range workers {
		add(counts, <-sent)
	}
	requireEven(t, n, counts)
}

func TestPolicy_TheTurnGoesOnAcrossRebuilds(t *testing.T) {
	const n = 5
	c := policytest.Channel(t, roundrobin.Name, "", policytest.Alike(n)...)
	counts := make(map[string]int)
	for round := range 200 {
		weights := make([]uint32, n)
		for i := range weights {
			weights[i] = uint32(1 + round%7)
		}
		updates := c.Updates()
		require.NoError(t, c.Update(policytest.Endpoints(weights...)...))
		require.Greater(t, c.Updates(), updates, "a new picker")
		add(counts, c.Count(t.Context(), 1+round%3))
		requireEven(t, n, counts)
	}
}

// A fleet that changes all the time must not send more to the first backends
// than to the last: each may expect one call in n, for every call made while n
// were READY.
func TestPolicy_AFlappingFleetStaysEven(t *testing.T) {
	const n, steps = 10, 20_000
	random := rand.New(rand.NewPCG(11, 12))
	c := policytest.Channel(t, roundrobin.Name, "", policytest.Alike(n)...)
	up := make([]bool, n)
	for i := range up {
		up[i] = true
	}
	counts, fair, ready := make(map[string]int), make([]float64, n), n
	for range steps {
		i := random.IntN(n)
		switch {
		case !up[i]:
			c.Ready(policytest.Addr(i))
			up[i], ready = true, ready+1
		case ready > n/2:
			c.Idle(policytest.Addr(i))
			up[i], ready = false, ready-1
		}
		calls := random.IntN(4)
		add(counts, c.Count(t.Context(), calls))
		for i := range n {
			if up[i] {
				fair[i] += float64(calls) / float64(ready)
			}
		}
	}
	for i := range n {
		require.InEpsilonf(t, fair[i], counts[policytest.Addr(i)], 0.12, "%s", policytest.Addr(i))
	}
}

// Where flaps and calls keep step, a turn that went on with another list would
// meet the same few backends each time.
func TestPolicy_AFlapInStepWithTheCallsFavoursNobody(t *testing.T) {
	for _, n := range []int{2, 3, 4, 8, 16} {
		for calls := 1; calls <= 3; calls++ {
			t.Run(fmt.Sprintf("backends=%d calls=%d", n, calls), func(t *testing.T) {
				c := policytest.Channel(t, roundrobin.Name, "", policytest.Alike(n)...)
				flapping := policytest.Addr(n - 1)
				short, all := make(map[string]int), make(map[string]int)
				for range 1000 {
					c.Idle(flapping)
					add(short, c.Count(t.Context(), calls))
					c.Ready(flapping)
					add(all, c.Count(t.Context(), calls))
				}
				policytest.RequireShares(t, policytest.Alike(n-1), short)
				policytest.RequireShares(t, policytest.Alike(n), all)
			})
		}
	}
}

func add(to, counts map[string]int) {
	for addr, n := range counts {
		to[addr] += n
	}
}

// Clients that start together must not march in step.
func TestPolicy_TheStartIsRandomPerChannel(t *testing.T) {
	const n, channels = 50, 40
	first := make(map[string]bool)
	for range channels {
		c := policytest.Channel(t, roundrobin.Name, "", policytest.Alike(n)...)
		first[policytest.Begin(t, c.Picker(), t.Context()).Addr] = true
	}
	// Ten or fewer of 50 starts in 40 draws: less than one chance in 10¹⁷.
	require.Greater(t, len(first), 10)
}

func TestPolicy_ChannelsTakeTurnsOfTheirOwn(t *testing.T) {
	const n = 3
	one := policytest.Channel(t, roundrobin.Name, "", policytest.Alike(n)...)
	two := policytest.Channel(t, roundrobin.Name, "", policytest.Alike(n)...)
	counts := make(map[string]int)
	for range 30 {
		counts[policytest.Begin(t, one.Picker(), t.Context()).Addr]++
		requireEven(t, n, counts)
		two.Count(t.Context(), n-1) // would bring the same one up in the other, if they shared a counter
	}
}

func TestPolicy_WeightsDoNotCount(t *testing.T) {
	c := policytest.Channel(t, roundrobin.Name, "", policytest.Endpoints(1, 1000, 1_000_000)...)
	requireEven(t, 3, c.Count(t.Context(), 300))
}

func TestPolicy_DrainingTakesNoCallsWhileOthersDo(t *testing.T) {
	a, b := policytest.Addr(0), policytest.Addr(1)
	c := policytest.Channel(t, roundrobin.Name, "",
		balancertest.Endpoint(a, attrs.Attrs{Draining: true}), balancertest.Endpoint(b, attrs.Attrs{}))
	require.Equal(t, map[string]int{b: 10}, c.Count(t.Context(), 10))
	require.NoError(t, c.Update(
		balancertest.Endpoint(a, attrs.Attrs{Draining: true}), balancertest.Endpoint(b, attrs.Attrs{Draining: true})))
	require.Equal(t, map[string]int{a: 5, b: 5}, c.Count(t.Context(), 10), "all drain: all serve")
	require.Equal(t, 2, c.Created())
}

func TestPicker_AllocatesNothing(t *testing.T) {
	for _, config := range []string{
		`{}`, `{"zonePreference":"off"}`, `{"slowStart":"1h"}`, `{"zonePreference":"off","slowStart":"1h"}`,
	} {
		t.Run(config, func(t *testing.T) {
			// Of all backends a quarter is in the zone: local and remote ones take calls.
			c := inZones(t, config, zoned(100, "a", "b", "b", "b")...)
			c.Fail(nil, policytest.Addr(0))
			c.Ready(policytest.Addr(0))
			require.NoError(t, c.Configure(config)) // rebuilds at once
			picker := c.Picker()
			policytest.RequireAllocs(t, 0, func() {
				for range 10 { // what one pick in ten allocates shows
					if _, err := picker.Pick(balancer.PickInfo{}); err != nil {
						t.Fatal(err)
					}
				}
			})
		})
	}
}
