package etcdregistry

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/steelyard-go/steelyard/attrs"
)

// faultyStore is a fakeStore, or one that a test has bent.
type faultyStore interface {
	store
	setFault(fault func(ctx context.Context, call string) error)
}

func mustRegistrar(t *testing.T, s faultyStore, opts ...Option) *Registrar {
	t.Helper()
	g, err := newRegistrar(s, append(quiet(), opts...))
	require.NoError(t, err)
	t.Cleanup(func() {
		s.setFault(nil)
		_ = g.Close(context.Background())
	})
	return g
}

func mustJoin(t *testing.T, g *Registrar, addr string, opts ...Option) *Registration {
	t.Helper()
	r, err := g.Register(t.Context(), testService, Instance{Addr: addr}, opts...)
	require.NoError(t, err)
	return r
}

func TestRegistrar_ManyShareOneLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const many = 500
		var s fakeStore
		g := mustRegistrar(t, &s)
		var joining sync.WaitGroup
		for i := range many {
			joining.Go(func() { mustJoin(t, g, fmt.Sprintf("10.0.0.7:%d", 1+i)) })
		}
		joining.Wait()
		pass(time.Minute)
		require.Equal(t, 1, s.count("grant"))
		require.Equal(t, 1, s.count("keepAlive"))
		require.Equal(t, many, s.count("swap"))
		require.Equal(t, many, s.count("watch"))
		require.Equal(t, many, g.Stats().Registrations)
		require.Equal(t, "registered", g.Stats().State)

		s.endLease(s.key("payments/10.0.0.7:1").lease)
		pass(2 * spreadPause)
		require.Equal(t, 2, s.count("grant"), "a storm of grants")
		require.Equal(t, 2*many, g.Stats().Puts)
		require.Equal(t, 1, s.leaseCount())
	})
}

func TestRegistrar_OutageIsOneGrantAndFewLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const many = 100
		var s fakeStore
		var log logBuffer
		g := mustRegistrar(t, &s, WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		for i := range many {
			mustJoin(t, g, fmt.Sprintf("10.0.0.7:%d", 1+i))
		}
		synctest.Wait()
		before := len(log.lines())
		s.setFault(down(errRefused))
		pass(5 * time.Minute)
		require.Less(t, s.count("grant"), 200)
		s.setFault(nil)
		pass(mostPause + spreadPause)
		require.Equal(t, many, len(s.keys))
		require.Equal(t, 1, s.leaseCount())
		require.Equal(t, "registered", g.Stats().State)
		lines := log.lines()[before:]
		require.Less(t, len(lines), 40)
		require.Condition(t, func() bool {
			for _, line := range lines {
				if strings.Contains(line, "state=reregistering") && strings.Contains(line, "others=99") {
					return true
				}
			}
			return false
		}, "no line for all together")
	})
}

// A fleet that loses its leases at one moment does not come back at one moment.
func TestRegistrar_LostLeasesAreReplacedOverASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const fleet = 80
		var s fakeStore
		for i := range fleet {
			mustJoin(t, mustRegistrar(t, &s), fmt.Sprintf("10.0.0.7:%d", 1+i))
		}
		synctest.Wait()
		for i := range fleet {
			s.endLease(s.key(fmt.Sprintf("payments/10.0.0.7:%d", 1+i)).lease)
		}
		before := s.count("grant")
		for range 4 {
			pass(spreadPause / 4)
			after := s.count("grant")
			require.InDelta(t, fleet/4, after-before, fleet/4-1, "in a quarter of a second")
			before = after
		}
		require.Len(t, s.keys, fleet)
	})
}

// In an outage many keys cost no more calls than a few.
func TestRegistrar_OutageOfManyKeysCostsFewCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const many = 1000
		var s fakeStore
		g := mustRegistrar(t, &s)
		var joining sync.WaitGroup
		for i := range many {
			joining.Go(func() { mustJoin(t, g, fmt.Sprintf("10.0.0.7:%d", 1+i)) })
		}
		joining.Wait()
		pass(testTTL)
		before := s.count("holder")
		s.setFault(failing(errRefused, "holder"))
		pass(testTTL)
		require.Less(t, s.count("holder")-before, many)
	})
}

func TestRegistrar_NewcomersDoNotHurryTheNextGrant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		s.setFault(down(errRefused))
		g := mustRegistrar(t, &s)
		var joining sync.WaitGroup
		for i := range 200 {
			joining.Go(func() { mustJoin(t, g, fmt.Sprintf("10.0.0.7:%d", 1+i)) })
			pass(50 * time.Millisecond)
		}
		require.Less(t, s.count("grant"), 60)
		s.setFault(nil)
		joining.Wait()
	})
}

func TestRegistrar_LastLeaseIsRevokedOnceEtcdAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		g := mustRegistrar(t, &s)
		r := mustJoin(t, g, testAddr)
		s.setFault(failing(errRefused, "revoke", "renew"))
		mustClose(t, r)
		require.Equal(t, 1, s.leaseCount())
		s.setFault(nil)
		pass(mostPause)
		require.Zero(t, s.leaseCount())
	})
}

func TestRegistrar_CloseOfOneLeavesTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		g := mustRegistrar(t, &s)
		first, second := mustJoin(t, g, "10.0.0.7:1"), mustJoin(t, g, "10.0.0.7:2")
		before := s.key("payments/10.0.0.7:2")
		mustClose(t, first)
		require.Zero(t, s.key("payments/10.0.0.7:1"))
		require.Contains(t, s.gaps()[0], `"draining":true`)
		require.Equal(t, before, s.key("payments/10.0.0.7:2"))
		require.Equal(t, 1, s.leaseCount())
		require.Equal(t, "closed", first.Stats().State)
		require.Equal(t, 1, g.Stats().Registrations)
		require.Equal(t, 3, g.Stats().Puts, "two and a drain mark")

		mustClose(t, second)
		synctest.Wait()
		require.Zero(t, s.leaseCount(), "the last one takes the lease with it")
		mustJoin(t, g, "10.0.0.7:1")
		require.Equal(t, 1, s.leaseCount())
	})
}

func TestRegistrar_CloseOfOneAnswersItsUpdates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		r := mustJoin(t, mustRegistrar(t, &s), testAddr)
		s.setFault(failing(errRefused, "holder"))
		waiting := make(chan error)
		go func() { waiting <- r.Update(context.Background(), attrs.Attrs{Weight: 2}) }()
		synctest.Wait()
		go func() { s.setFault(nil) }()
		mustClose(t, r)
		require.ErrorIs(t, <-waiting, errClosed)
	})
}

func TestRegistrar_CloseLeavesAKeyThatIsAnothers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		g := mustRegistrar(t, &s)
		r := mustJoin(t, g, testAddr)
		mustJoin(t, g, "10.0.0.7:2")
		put := mustGrant(t, &s)
		taken := put(otherOwner(t, time.Minute))
		mustClose(t, r) // at the moment it is taken over
		require.Equal(t, taken, s.key(testKey))
		require.Zero(t, s.count("remove"))
	})
}

func TestRegistrar_CloseTakesAllOutAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		g := mustRegistrar(t, &s)
		for i := range 50 {
			mustJoin(t, g, fmt.Sprintf("10.0.0.7:%d", 1+i))
		}
		begin := time.Now()
		require.NoError(t, g.Close(t.Context()))
		require.Equal(t, defaultDrainDelay, time.Since(begin))
		require.Empty(t, s.keys)
		require.Zero(t, s.leaseCount())
		require.Len(t, s.gaps(), 50)
		for _, gap := range s.gaps() {
			require.Contains(t, gap, `"draining":true`)
		}
		_, err := g.Register(t.Context(), testService, Instance{Addr: testAddr})
		require.EqualError(t, err, "etcdregistry: payments/10.0.0.7:8080: the registrar is closed")
		require.NoError(t, g.Close(t.Context()))
	})
}

// Its Close ends in time although etcd hangs, and the key is removed all the same.
func TestRegistrar_KeyOfAFailedCloseIsRemovedOnceEtcdAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		g := mustRegistrar(t, &s)
		mustJoin(t, g, "10.0.0.7:2")
		r := mustJoin(t, g, testAddr)
		s.setFault(func(ctx context.Context, call string) error {
			if call == "renew" {
				return nil
			}
			return hanging(ctx, call)
		})
		begin := time.Now()
		require.ErrorContains(t, r.Close(t.Context()), "etcdregistry: payments/10.0.0.7:8080: not deleted yet")
		require.LessOrEqual(t, time.Since(begin), closeLimit)
		_, err := g.Register(t.Context(), testService, Instance{Addr: testAddr})
		require.ErrorContains(t, err, "this registrar holds that key already")
		s.setFault(nil)
		pass(lookLimit + mostPause)
		require.Zero(t, s.key(testKey))
		require.Len(t, s.keys, 1)
		mustJoin(t, g, testAddr)
	})
}

func TestRegistrar_RefusedRegistrationLeavesTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		g := mustRegistrar(t, &s)
		mustJoin(t, g, "10.0.0.7:2")
		s.setFault(failing(rpctypes.ErrPermissionDenied, "swap"))
		_, err := g.Register(t.Context(), testService, Instance{Addr: testAddr})
		require.ErrorIs(t, err, rpctypes.ErrPermissionDenied)
		s.setFault(nil)
		pass(time.Minute)
		require.Len(t, s.keys, 1)
		mustJoin(t, g, testAddr)
	})
}

func TestRegistrar_RefusesBadArguments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		g := mustRegistrar(t, &s)
		mustJoin(t, g, testAddr)
		for _, c := range []struct {
			service string
			inst    Instance
			opt     Option
			want    string
		}{
			{"", Instance{Addr: testAddr}, nil, "etcdregistry: the service is empty"},
			{"steelyard", Instance{Addr: testAddr}, nil, `etcdregistry: service "steelyard": what is under "steelyard/" is reserved`},
			{"steelyard/config", Instance{Addr: testAddr}, nil, `what is under "steelyard/" is reserved for overrides and configs`},
			{testService, Instance{Addr: testAddr}, nil, "etcdregistry: payments/10.0.0.7:8080: this registrar holds that key already"},
			{testService, Instance{Addr: "a:1"}, WithTTL(time.Minute), "WithTTL and WithLogger belong to NewRegistrar"},
			{testService, Instance{Addr: "a:1"}, WithLogger(slog.New(slog.DiscardHandler)), "WithTTL and WithLogger belong to NewRegistrar"},
			{testService, Instance{Addr: "a:1"}, WithDrainDelay(-1), "drain delay: got -1ns"},
		} {
			var opts []Option
			if c.opt != nil {
				opts = append(opts, c.opt)
			}
			_, err := g.Register(t.Context(), c.service, c.inst, opts...)
			require.ErrorContains(t, err, c.want)
		}
	})
	_, err := NewRegistrar(nil)
	require.EqualError(t, err, "etcdregistry: the etcd client is nil")
	_, err = newRegistrar(&fakeStore{}, []Option{WithTTL(1)})
	require.ErrorContains(t, err, "etcdregistry: TTL: got 1ns")
}

// For the race detector, and for what a registration of the others would leave.
func TestRegistrar_EverythingAtOnceLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		g := mustRegistrar(t, &s, WithDrainDelay(10*time.Millisecond))
		var working sync.WaitGroup
		for i := range 8 {
			working.Go(func() {
				for range 20 {
					r, err := g.Register(t.Context(), testService, Instance{Addr: fmt.Sprintf("10.0.0.7:%d", 1+i)})
					if err != nil {
						t.Error(err)
						return
					}
					_ = g.Stats()
					if err := r.Update(t.Context(), attrs.Attrs{Weight: 2}); err != nil {
						t.Error(err)
					}
					if err := r.Close(t.Context()); err != nil {
						t.Error(err)
					}
				}
			})
		}
		working.Wait()
		synctest.Wait()
		require.Empty(t, s.keys)
		require.Zero(t, s.leaseCount())
		require.Equal(t, 8*20*3, g.Stats().Puts)
	})
}
