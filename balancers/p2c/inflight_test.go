package p2c_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/status"

	"github.com/steelyard-go/steelyard/attrs"
	"github.com/steelyard-go/steelyard/balancers/p2c"
	"github.com/steelyard-go/steelyard/balancertest"
	"github.com/steelyard-go/steelyard/internal/policytest"
)

// What is in flight outlives whatever happens to the picker that began it. Each
// of these begins ten calls to a, lets something happen, and reads a's count
// off the next calls: of two backends the one that holds fewer gets them.

func ab(weight uint32) []resolver.Endpoint {
	return []resolver.Endpoint{
		balancertest.Endpoint("a", attrs.Attrs{Weight: weight}), balancertest.Endpoint("b", attrs.Attrs{Weight: weight}),
	}
}

// tenToA returns a channel with a and b READY and ten calls in flight at a.
func tenToA(t *testing.T, config string) (*balancertest.Channel, []policytest.Call) {
	t.Helper()
	c := balancertest.NewChannel(t, p2c.Name, config)
	require.NoError(t, c.Update(ab(1)...))
	c.Ready("a")
	calls := begin(t, c, 10)
	c.Ready("b")
	return c, calls
}

// requireMore checks that the next n calls go to addr: it holds n fewer.
func requireMore(t *testing.T, c *balancertest.Channel, n int, addr string) {
	t.Helper()
	require.Equal(t, map[string]int{addr: n}, held(t, c.Picker(), n))
}

// requireLevel checks that both hold the same: of two calls each gets one.
func requireLevel(t *testing.T, c *balancertest.Channel) {
	t.Helper()
	require.Equal(t, map[string]int{"a": 1, "b": 1}, held(t, c.Picker(), 2))
}

var happenings = []struct {
	name   string
	happen func(t *testing.T, c *balancertest.Channel)
}{
	{"another backend came", func(*testing.T, *balancertest.Channel) {}},
	{"a new weight", func(t *testing.T, c *balancertest.Channel) { require.NoError(t, c.Update(ab(7)...)) }},
	{"the same list", func(t *testing.T, c *balancertest.Channel) { require.NoError(t, c.Update(ab(1)...)) }},
	{"the list in another order", func(t *testing.T, c *balancertest.Channel) {
		list := ab(1)
		require.NoError(t, c.Update(list[1], list[0]))
	}},
	{"a new config", func(t *testing.T, c *balancertest.Channel) {
		require.NoError(t, c.Configure(`{"choices":3,"load":"requests"}`))
	}},
	{"the connection was lost and came back", func(_ *testing.T, c *balancertest.Channel) {
		c.Idle("a")
		c.Ready("a")
	}},
	{"the backend drained and came back", func(t *testing.T, c *balancertest.Channel) {
		list := ab(1)
		require.NoError(t, c.Update(attrs.Set(list[0], attrs.Attrs{Draining: true}), list[1]))
		require.NoError(t, c.Update(list...))
	}},
}

func TestPolicy_CallsInFlightCountAfterARebuild(t *testing.T) {
	for _, tc := range happenings {
		t.Run(tc.name, func(t *testing.T) {
			forAll(t, func(t *testing.T, config string) {
				c, _ := tenToA(t, config)
				tc.happen(t, c)
				requireMore(t, c, 10, "b")
				requireLevel(t, c)
			})
		})
	}
}

func TestPolicy_CallsAreCountedOutAfterARebuild(t *testing.T) {
	for _, tc := range happenings {
		t.Run(tc.name, func(t *testing.T) {
			forAll(t, func(t *testing.T, config string) {
				c, calls := tenToA(t, config)
				requireMore(t, c, 10, "b")
				tc.happen(t, c)
				for _, call := range calls {
					call.End()
				}
				requireMore(t, c, 10, "a")
				requireLevel(t, c)
			})
		})
	}
}

func TestPolicy_CallsEndedWhileTheBackendWasAwayAreCountedOut(t *testing.T) {
	forAll(t, func(t *testing.T, config string) {
		c, calls := tenToA(t, config)
		c.Idle("a")
		for _, call := range calls {
			call.End()
		}
		requireMore(t, c, 10, "b")
		c.Ready("a")
		requireMore(t, c, 10, "a")
	})
}

func TestPolicy_CallsToABackendThatLeftTheListEndWell(t *testing.T) {
	forAll(t, func(t *testing.T, config string) {
		c, calls := tenToA(t, config)
		require.NoError(t, c.Update(ab(1)[1]))
		requireMore(t, c, 10, "b")
		for _, call := range calls {
			call.End()
		}
		require.NoError(t, c.Update(ab(1)...))
		c.Ready("a")
		requireMore(t, c, 10, "a") // it starts anew, at none: not at ten, and not at minus ten
		requireLevel(t, c)
	})
}

func TestPolicy_ASecondDoneCountsNothing(t *testing.T) {
	forAll(t, func(t *testing.T, config string) {
		c, calls := tenToA(t, config)
		for range 3 {
			calls[0].End()
		}
		requireMore(t, c, 9, "b")
		requireLevel(t, c)
	})
}

func TestPolicy_DoneWhateverTheOutcomeCountsOut(t *testing.T) {
	forAll(t, func(t *testing.T, config string) {
		c, calls := tenToA(t, config)
		for i, call := range calls {
			call.Done(balancer.DoneInfo{Err: []error{ // none of which is the backend's fault
				nil, status.Error(codes.Canceled, ""), status.Error(codes.NotFound, ""),
			}[i%3]})
		}
		requireLevel(t, c)
	})
}

func TestPolicy_ChannelsDoNotSeeEachOthersCalls(t *testing.T) {
	forAll(t, func(t *testing.T, config string) {
		_, _ = tenToA(t, config)
		other := policytest.Channel(t, p2c.Name, config, ab(1)...)
		requireLevel(t, other)
	})
}

// begin begins n calls.
func begin(t *testing.T, c *balancertest.Channel, n int) []policytest.Call {
	t.Helper()
	calls := make([]policytest.Call, n)
	for i := range calls {
		calls[i] = policytest.Begin(t, c.Picker(), t.Context())
	}
	return calls
}
