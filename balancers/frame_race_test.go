package balancers_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/resolver"

	"github.com/steelyard-go/steelyard/attrs"
	"github.com/steelyard-go/steelyard/balancertest"
)

// storm drives a channel from several goroutines at once until ctx ends.
type storm struct {
	*balancertest.Channel
	ctx   context.Context
	addrs []string
	wg    sync.WaitGroup
}

func (s *storm) repeat(act func(random *rand.Rand) error) {
	seed := rand.Uint64()
	s.wg.Go(func() {
		random := rand.New(rand.NewPCG(seed, 0))
		for s.ctx.Err() == nil {
			if err := act(random); err != nil {
				panic(fmt.Sprintf("%v; seed %d", err, seed))
			}
		}
	})
}

// flap connects, fails, loses and ejects backends.
func (s *storm) flap(random *rand.Rand) error {
	sc := s.SubConn(s.addrs[random.IntN(len(s.addrs))])
	if sc == nil {
		return nil
	}
	switch random.IntN(6) {
	case 0, 1, 2:
		sc.Ready()
	case 3:
		sc.Fail(errors.New("refused"))
	case 4:
		sc.Idle()
	case 5:
		sc.SetHealth([]connectivity.State{connectivity.Ready, connectivity.TransientFailure}[random.IntN(2)], nil)
	}
	return nil
}

// relist gives backends new weights, drain marks, and leaves some out.
func (s *storm) relist(random *rand.Rand) error {
	var list []resolver.Endpoint
	for _, addr := range s.addrs {
		if random.IntN(10) > 0 {
			list = append(list, endpoint(attrs.Attrs{Weight: random.Uint32N(100), Draining: random.IntN(4) == 0}, addr))
		}
	}
	if err := s.Update(list...); len(list) > 0 {
		return err
	}
	return nil
}

func (s *storm) pick(random *rand.Rand) error {
	if picked, err := s.Pick(s.ctx); err == nil {
		picked.Done(balancer.DoneInfo{})
		if random.IntN(100) == 0 {
			picked.Done(balancer.DoneInfo{}) // once too often
		}
	}
	return nil
}

func TestFrame_SurvivesAllAtOnce(t *testing.T) {
	for _, n := range []int{5, 80} {
		for name, opts := range healthWays {
			t.Run(fmt.Sprintf("%d backends, health %s", n, name), func(t *testing.T) {
				c, r := host(t, opts...)
				require.NoError(t, c.Update(plain(names(n)...)...))
				ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
				defer cancel()
				s := &storm{Channel: c, ctx: ctx, addrs: names(n)}
				for range 3 {
					s.repeat(s.flap)
					s.repeat(s.pick)
				}
				s.repeat(s.relist)
				s.repeat(func(random *rand.Rand) error {
					return c.Configure(fmt.Sprintf(`{"choices":%d}`, 2+random.IntN(9)))
				})
				s.repeat(func(*rand.Rand) error { c.ResolverError(errors.New("etcd is away")); return nil })
				s.wg.Wait()

				require.NoError(t, c.Update(plain(s.addrs...)...))
				for _, addr := range s.addrs {
					c.SubConn(addr).SetHealth(connectivity.Ready, nil)
				}
				c.Ready(s.addrs...)
				require.Eventually(t, func() bool { return len(serving(c)) == n }, 5*time.Second, time.Millisecond,
					"in peace all serve")
				for _, b := range r.last().Members {
					require.Zero(t, b.Load.InFlight(), b.Address.Addr)
				}
				require.Equal(t, n, c.Created()-c.ShutDown(), "no connection is left behind")
			})
		}
	}
}

func TestFrame_CloseAmidAStorm(t *testing.T) {
	for range 10 {
		c, _ := host(t)
		ctx, cancel := context.WithCancel(t.Context())
		s := &storm{Channel: c, ctx: ctx, addrs: names(80)}
		require.NoError(t, c.Update(plain(s.addrs...)...))
		s.repeat(s.flap)
		s.repeat(s.flap)
		s.repeat(s.relist)
		s.repeat(s.pick)
		require.Eventually(t, func() bool { return c.Updates() > 20 }, 5*time.Second, time.Millisecond)
		c.Close()
		updates, left := c.Updates(), c.Created()-c.ShutDown()
		cancel()
		s.wg.Wait()
		require.Zero(t, left, "connections left open by Close")
		require.Equal(t, updates, c.Updates())
	}
}
