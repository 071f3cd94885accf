package balancers_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"

	"github.com/steelyard-go/steelyard/attrs"
	"github.com/steelyard-go/steelyard/balancertest"
)

// neverPicks makes n calls and fails the test if one goes to a backend in gone.
// Calls may have to wait for another picker, but not fail.
func neverPicks(t *testing.T, c *balancertest.Channel, gone map[string]bool, n int) {
	t.Helper()
	for range n {
		picked, err := c.Pick(context.Background())
		if errors.Is(err, balancer.ErrNoSubConnAvailable) {
			continue
		}
		require.NoError(t, err)
		addr := fmt.Sprint(picked.SubConn)
		if gone[addr] {
			t.Fatalf("a call went to %s, which has left READY", addr)
		}
		picked.Done(balancer.DoneInfo{})
	}
}

func TestFrame_ABackendThatLeavesGetsNoCallAtOnce(t *testing.T) {
	for _, n := range []int{2, 60, 64, 65, 1000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				c, _ := host(t)
				addrs := names(n)
				require.NoError(t, c.Update(plain(addrs...)...))
				c.Ready(addrs...)
				pass(soon)
				gone := make(map[string]bool)
				for i, addr := range addrs[:n/2] {
					leave := []func(){
						func() { c.Idle(addr) },
						func() { c.Fail(nil, addr) },
						func() { c.SubConn(addr).SetHealth(connectivity.TransientFailure, nil) },
					}
					leave[i%len(leave)]()
					gone[addr] = true
					neverPicks(t, c, gone, 20)
				}
				pass(soon)
				neverPicks(t, c, gone, 2*n)
				require.NotEmpty(t, serving(c), "after a burst calls need not wait any more")
			})
		})
	}
}

func TestFrame_BurstsOfLeavingAndComingBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c, r := host(t)
		addrs := names(1000)
		require.NoError(t, c.Update(plain(addrs...)...))
		c.Ready(addrs...)
		pass(soon)
		for round := range 5 {
			gone := make(map[string]bool)
			for i := round; i < len(addrs); i += 7 {
				c.Idle(addrs[i])
				gone[addrs[i]] = true
			}
			neverPicks(t, c, gone, 3000)
			for i := round; i < len(addrs); i += 14 { // half of them come back within the burst
				c.Ready(addrs[i])
				delete(gone, addrs[i])
			}
			neverPicks(t, c, gone, 3000)
			pass(soon)
			neverPicks(t, c, gone, 3000)
			require.Len(t, r.last().Backends, len(addrs)-len(gone), "after a while the picker is whole")
			for addr := range gone {
				c.Ready(addr)
			}
			pass(soon)
			require.Len(t, r.last().Backends, len(addrs))
		}
	})
}

func TestFrame_ABackendThatReturnsWithinThePauseServesAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		addrs := names(100)
		c, r := settled(t, "", addrs...)
		pass(soon)
		c.Idle(addrs[0]) // has its build; the pause begins
		builds, _ := r.count()
		c.Idle(addrs[1], addrs[2])
		require.Equal(t, addrs[3:], serving(c))
		c.Ready(addrs[1])
		require.Equal(t, append([]string{addrs[1]}, addrs[3:]...), serving(c))
		after, _ := r.count()
		require.Equal(t, builds, after, "without a build")
	})
}

func TestFrame_TheEndOfAPauseIsNoNewsOfAChannelThatIsDown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		addrs := names(100)
		c, _ := settled(t, "", addrs...)
		pass(soon)
		c.Fail(nil, addrs...)
		require.Equal(t, connectivity.TransientFailure, c.State())
		updates := c.Updates()
		pass(soon)
		require.Equal(t, updates, c.Updates())
	})
}

func TestFrame_AdditionsComeSoon(t *testing.T) {
	for _, n := range []int{3, 100, 1000} {
		bubble(t, func(t *testing.T) {
			c, r := host(t)
			addrs := names(n)
			require.NoError(t, c.Update(plain(addrs...)...))
			c.Ready(addrs[0])
			require.Equal(t, []string{addrs[0]}, serving(c), "the first one serves at once")
			c.Ready(addrs[1:]...)
			pass(soon)
			require.Len(t, r.last().Backends, n)
		})
	}
}

func TestFrame_NothingGoneReturnsWhenALongListGetsShort(t *testing.T) {
	for _, left := range []int{2, 10, 64} {
		bubble(t, func(t *testing.T) {
			c, _ := host(t)
			addrs := names(100)
			require.NoError(t, c.Update(plain(addrs...)...))
			c.Ready(addrs...)
			pass(soon)
			gone := map[string]bool{addrs[0]: true}
			c.Idle(addrs[0]) // so that the next list comes while the picker is guarded
			require.NoError(t, c.Update(plain(addrs[:left]...)...))
			for _, addr := range addrs[left:] {
				gone[addr] = true
			}
			neverPicks(t, c, gone, 200)
			c.Idle(addrs[1])
			gone[addrs[1]] = true
			neverPicks(t, c, gone, 200)
			pass(soon)
			neverPicks(t, c, gone, 200)
		})
	}
}

func TestFrame_ALongListThatGetsShortWithinABurst(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c, _ := host(t)
		addrs := names(100)
		require.NoError(t, c.Update(plain(addrs...)...))
		c.Ready(addrs...)
		gone := make(map[string]bool)
		require.NoError(t, c.Update(plain(addrs[:5]...)...))
		for _, addr := range addrs[5:] {
			gone[addr] = true
		}
		neverPicks(t, c, gone, 200)
		c.Idle(addrs[0])
		gone[addrs[0]] = true
		neverPicks(t, c, gone, 200)
		require.Equal(t, addrs[1:5], serving(c))
	})
}

func TestFrame_ADrainMarkIsObeyedAmidABurst(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c, _ := host(t)
		addrs := names(100)
		list := plain(addrs...)
		require.NoError(t, c.Update(list...))
		c.Ready(addrs...)
		c.Idle(addrs[1])
		list[0] = endpoint(attrs.Attrs{Draining: true}, addrs[0])
		require.NoError(t, c.Update(list...))
		gone := map[string]bool{addrs[0]: true, addrs[1]: true}
		neverPicks(t, c, gone, 300)
		c.Ready(addrs[1])
		delete(gone, addrs[1])
		neverPicks(t, c, gone, 300)
		pass(soon)
		require.Equal(t, addrs[1:], serving(c))
	})
}

func TestFrame_ConnectingALongListTakesABuildPerBurst(t *testing.T) {
	for _, n := range []int{1000, 4000} {
		bubble(t, func(t *testing.T) {
			c, r := host(t)
			addrs := names(n)
			require.NoError(t, c.Update(plain(addrs...)...))
			for _, addr := range addrs {
				c.Ready(addr)
				pass(100 * time.Microsecond)
			}
			pass(soon)
			builds, _ := r.count()
			took := time.Duration(n) * 100 * time.Microsecond
			require.LessOrEqual(t, builds, int(took/(4*time.Millisecond))+3, "builds for %d backends in %v", n, took)
			require.Len(t, r.last().Backends, n)
		})
	}
}

// In real time a build takes what it takes: the work must still be linear.
func TestFrame_ConnectingALongListIsLinear(t *testing.T) {
	work := func(n int) (perBackend float64) {
		c, r := host(t)
		addrs := names(n)
		require.NoError(t, c.Update(plain(addrs...)...))
		for _, addr := range addrs {
			c.Ready(addr)
			if _, err := c.Pick(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		require.Eventually(t, func() bool { return len(r.last().Backends) == n }, 5*time.Second, time.Millisecond)
		_, backends := r.count()
		return float64(backends) / float64(n)
	}
	short, long := work(1000), work(8000)
	// Eight times the backends cost 64 times the work if each had its build, and
	// eight times the work per backend.
	require.Less(t, long, 200.0, "backends handed to builds for each backend connected; with 1,000 it was %v", short)
}
