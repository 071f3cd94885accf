package consistenthash_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/resolver"

	"github.com/steelyard-go/steelyard/attrs"
	"github.com/steelyard-go/steelyard/balancers/consistenthash"
	"github.com/steelyard-go/steelyard/balancertest"
	"github.com/steelyard-go/steelyard/internal/policytest"
)

// boundOf is how many calls a backend with share of the weight may hold when
// the channel's calls in flight are n, by the documentation. A product that is a
// whole number may come out of floating point a little above it.
func boundOf(factor, share float64, n int) int {
	return max(8, int(math.Ceil(factor*float64(n+1)*share+1e-9)))
}

// held counts calls in flight as a test begins and ends them.
type held struct {
	calls   []policytest.Call
	at      map[string]int
	factor  float64
	shareOf map[string]float64 // of the weight
}

func newHeld(factor float64, endpoints []resolver.Endpoint) *held {
	h := &held{at: make(map[string]int), factor: factor, shareOf: make(map[string]float64)}
	total := 0.0
	for _, e := range endpoints {
		total += float64(attrs.FromEndpoint(e).Weight)
	}
	for _, e := range endpoints {
		h.shareOf[e.Addresses[0].Addr] = float64(attrs.FromEndpoint(e).Weight) / total
	}
	return h
}

// begin begins a call and checks that its backend may hold it.
func (h *held) begin(t *testing.T, picker balancer.Picker, ctx context.Context) string {
	t.Helper()
	bound := func(addr string) int { return boundOf(h.factor, h.shareOf[addr], len(h.calls)) }
	call := policytest.Begin(t, picker, ctx)
	h.at[call.Addr]++
	require.LessOrEqualf(t, h.at[call.Addr], bound(call.Addr), "%s among %v", call.Addr, h.at)
	h.calls = append(h.calls, call)
	return call.Addr
}

// end ends the i-th call.
func (h *held) end(i int) {
	h.calls[i].End()
	h.at[h.calls[i].Addr]--
	h.calls[i] = h.calls[len(h.calls)-1]
	h.calls = h.calls[:len(h.calls)-1]
}

func bounded(factor float64) string { return fmt.Sprintf(`{"boundedLoadFactor":%v}`, factor) }

func TestBounded_OneHotKeyStaysWithinTheBound(t *testing.T) {
	t.Parallel()
	forFleets(t, func(t *testing.T, endpoints []resolver.Endpoint) {
		c := policytest.Channel(t, consistenthash.Name, "", endpoints...)
		for _, factor := range []float64{1, 1.1, 1.25, 2, 10} {
			t.Run(fmt.Sprintf("factor=%v", factor), func(t *testing.T) {
				require.NoError(t, c.Configure(bounded(factor)))
				h := newHeld(factor, endpoints)
				for range 1000 {
					h.begin(t, c.Picker(), consistenthash.WithKey(t.Context(), "hot"))
				}
				for len(h.calls) > 0 {
					h.end(0)
				}
			})
		}
	})
}

// 1.1 × 1/10 × 100 comes out of floating point a little above 11.
func TestBounded_AShareThatIsWholeIsTheBound(t *testing.T) {
	t.Parallel()
	endpoints := policytest.Alike(10)
	picker := policytest.Channel(t, consistenthash.Name, bounded(1.1), endpoints...).Picker()
	h, ctx := newHeld(1.1, endpoints), consistenthash.WithKey(t.Context(), "hot")
	owner := h.begin(t, picker, ctx)
	for range 99 {
		h.begin(t, picker, ctx)
	}
	require.Equal(t, 11, h.at[owner])
}

func TestBounded_HoldsWhileCallsComeAndGo(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(31, 32))
	for _, factor := range []float64{1, 1.25, 3} {
		endpoints := policytest.Endpoints(1, 2, 4, 1, 2, 4)
		c := policytest.Channel(t, consistenthash.Name, bounded(factor), endpoints...)
		h := newHeld(factor, endpoints)
		for range 5000 {
			if n := len(h.calls); n > 0 && random.IntN(100) < 45 {
				h.end(random.IntN(n))
				continue
			}
			key := "hot"
			if random.IntN(2) == 0 {
				key = someKeys[random.IntN(len(someKeys))]
			}
			h.begin(t, c.Picker(), consistenthash.WithKey(t.Context(), key))
		}
		require.NotEmpty(t, h.calls)
	}
}

func TestBounded_AQuietChannelScattersNothing(t *testing.T) {
	t.Parallel()
	endpoints := policytest.Alike(10)
	want := owners(t, consistenthash.NewPickerBuilder(consistenthash.Config{}).Build(policytest.BuildInfo(endpoints...)))
	c := policytest.Channel(t, consistenthash.Name, bounded(1), endpoints...)
	require.Equal(t, want, owners(t, c.Picker()), "one call at a time")
	for _, key := range keys(3) {
		h := newHeld(1, endpoints)
		for range 8 {
			require.Equal(t, want[key], h.begin(t, c.Picker(), consistenthash.WithKey(t.Context(), key)), "up to eight calls at once")
		}
		for len(h.calls) > 0 {
			h.end(0)
		}
	}
}

// fill begins calls for one key of addr until addr holds all that it may.
func fill(t *testing.T, c *balancertest.Channel, h *held, addr string) {
	t.Helper()
	for _, key := range someKeys {
		if owner(t, c.Picker(), key) != addr {
			continue
		}
		for range 1000 {
			if h.begin(t, c.Picker(), consistenthash.WithKey(t.Context(), key)) != addr {
				h.end(len(h.calls) - 1)
				return
			}
		}
	}
	require.Fail(t, "no key fills "+addr)
}

func TestBounded_OverflowGoesToTheKeysNextChoice(t *testing.T) {
	t.Parallel()
	endpoints := policytest.Alike(10)
	full := policytest.Addr(4)
	nextOf := policytest.Channel(t, consistenthash.Name, "", endpoints...)
	before := owners(t, nextOf.Picker())
	nextOf.Idle(full)
	next := owners(t, nextOf.Picker()) // where keys go while full is away

	c := policytest.Channel(t, consistenthash.Name, bounded(1.25), endpoints...)
	h := newHeld(1.25, endpoints)
	fill(t, c, h, full)
	require.Equal(t, 8, h.at[full])
	heirs := make(map[string]int)
	for key, addr := range before {
		require.Equalf(t, next[key], owner(t, c.Picker(), key), "%s of %s", key, addr)
		if addr == full {
			heirs[next[key]]++
		}
	}
	require.Len(t, heirs, 9, "different keys go to different neighbours")

	for len(h.calls) > 0 {
		h.end(0)
	}
	require.Equal(t, before, owners(t, c.Picker()), "and back when there is room again")
}

// What is in flight outlives rebuilds and config changes, in the backend's
// count and in the channel's.
func TestBounded_CallsInFlightCountAcrossRebuilds(t *testing.T) {
	t.Parallel()
	endpoints := policytest.Alike(4)
	ctx := consistenthash.WithKey(t.Context(), "hot")
	for name, rebuild := range map[string]func(c *balancertest.Channel) error{
		"same list": func(c *balancertest.Channel) error { return c.Update(endpoints...) },
		"new config": func(c *balancertest.Channel) error {
			return c.Configure(`{"boundedLoadFactor":1,"onMissingKey":"fail"}`)
		},
		"off and on again": func(c *balancertest.Channel) error { return errors.Join(c.Configure(`{}`), c.Configure(bounded(1))) },
		"connections lost": func(c *balancertest.Channel) error {
			for _, e := range endpoints {
				c.Idle(e.Addresses[0].Addr)
			}
			for _, e := range endpoints {
				c.Ready(e.Addresses[0].Addr)
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := policytest.Channel(t, consistenthash.Name, bounded(1), endpoints...)
			h := newHeld(1, endpoints)
			for range 100 {
				h.begin(t, c.Picker(), ctx)
			}
			first := policytest.Begin(t, c.Picker(), ctx)
			first.End()
			require.NoError(t, rebuild(c))
			require.Equal(t, first.Addr, h.begin(t, c.Picker(), ctx), "the next call's place is the same")
			for range 100 {
				h.begin(t, c.Picker(), ctx) // and within the bound
			}
			require.NoError(t, rebuild(c))
			for len(h.calls) > 0 {
				h.end(0)
			}
			hot := h.begin(t, c.Picker(), ctx)
			for range 7 {
				require.Equal(t, hot, h.begin(t, c.Picker(), ctx), "all were counted out")
			}
			require.NotEqual(t, hot, h.begin(t, c.Picker(), ctx), "and not more than all")
		})
	}
}

// The bound is a share of the weight that takes calls, not of what is in the list.
func TestBounded_ThoseThatAreAwayHaveNoShare(t *testing.T) {
	t.Parallel()
	endpoints := policytest.Endpoints(1, 1, 8)
	c := policytest.Channel(t, consistenthash.Name, bounded(1), endpoints...)
	require.NoError(t, c.Update(drain(endpoints, 2)...))
	h := newHeld(1, endpoints[:2])
	for range 400 {
		h.begin(t, c.Picker(), consistenthash.WithKey(t.Context(), "hot"))
	}
	require.Equal(t, map[string]int{policytest.Addr(0): 200, policytest.Addr(1): 200}, h.at)
}

func TestBounded_ChannelsDoNotSeeEachOthersCalls(t *testing.T) {
	t.Parallel()
	one := policytest.Channel(t, consistenthash.Name, bounded(1), policytest.Alike(4)...)
	two := policytest.Channel(t, consistenthash.Name, bounded(1), policytest.Alike(4)...)
	ctx := consistenthash.WithKey(t.Context(), "hot")
	h := newHeld(1, policytest.Alike(4))
	for range 100 {
		h.begin(t, one.Picker(), ctx)
	}
	own := newHeld(1, policytest.Alike(4))
	hot := own.begin(t, two.Picker(), ctx)
	for range 7 {
		require.Equal(t, hot, own.begin(t, two.Picker(), ctx))
	}
	require.NotEqual(t, hot, own.begin(t, two.Picker(), ctx))
}
