package etcdregistry

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/steelyard-go/steelyard/attrs"
)

func TestRegister_RefusesBadArguments(t *testing.T) {
	good := Instance{Addr: testAddr}
	cases := []struct {
		name    string
		service string
		inst    Instance
		option  Option
		want    string
	}{
		{"no service", "", good, nil, `etcdregistry: the service is empty, want a name such as "payments"`},
		{"slash before the service", "/payments", good, nil, `service "/payments": want a name that neither starts nor ends with a slash`},
		{"slash after the service", "payments/", good, nil, `service "payments/": want a name that neither starts nor ends with a slash`},
		{"slash in the id", "payments", Instance{ID: "eu/1", Addr: testAddr}, nil, `id "eu/1": want one without a slash`},
		{"no address", "payments", Instance{}, nil, "the address is empty, want host:port"},
		{"no port", "payments", Instance{Addr: "10.0.0.7"}, nil, `address "10.0.0.7" is not host:port`},
		{"port 0", "payments", Instance{Addr: "10.0.0.7:0"}, nil, `port: got "0", want a number from 1 to 65535`},
		{"all hosts", "payments", Instance{Addr: "[::]:8080"}, nil, "others cannot reach the unspecified host ::: see AdvertiseAddr"},
		{"heavy", "payments", Instance{Addr: testAddr, Attrs: attrs.Attrs{Weight: attrs.MaxWeight + 1}}, nil, "weight: got 1000001, want at most 1000000"},
		{"short TTL", "payments", good, WithTTL(time.Second), "TTL: got 1s, want whole seconds from 2s to 1h0m0s"},
		{"long TTL", "payments", good, WithTTL(2 * time.Hour), "TTL: got 2h0m0s, want"},
		{"TTL with a fraction", "payments", good, WithTTL(2500 * time.Millisecond), "TTL: got 2.5s, want whole seconds"},
		{"negative drain delay", "payments", good, WithDrainDelay(-1), "drain delay: got -1ns, want 0s to 2s"},
		{"long drain delay", "payments", good, WithDrainDelay(time.Minute), "drain delay: got 1m0s, want 0s to 2s"},
		{"nil logger", "payments", good, WithLogger(nil), "the logger is nil"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var opts []Option
			if c.option != nil {
				opts = append(opts, c.option)
			}
			var s fakeStore
			r, err := register(t.Context(), &s, c.service, c.inst, opts)
			require.ErrorContains(t, err, c.want)
			require.True(t, strings.HasPrefix(err.Error(), "etcdregistry: "), err.Error())
			require.Nil(t, r)
			require.Empty(t, s.calls, "etcd was asked")
		})
	}
}

func TestRegister_RefusesNilClient(t *testing.T) {
	_, err := Register(t.Context(), nil, testService, Instance{Addr: testAddr})
	require.EqualError(t, err, "etcdregistry: the etcd client is nil")
}

func TestRegister_IDNamesTheKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		r := mustRegister(t, &s, Instance{ID: "eu-7"})
		require.Equal(t, testAddr, mustDecode(t, s.key("payments/eu-7").value).Addr)
		mustClose(t, r)
	})
}

func TestRegister_WaitsForEtcd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		grants := 0
		s.setFault(func(_ context.Context, call string) error {
			if call == "grant" {
				if grants++; grants <= 5 {
					return errRefused
				}
			}
			return nil
		})
		begin := time.Now()
		r := mustRegister(t, &s, Instance{})
		require.NotZero(t, s.key(testKey).lease)
		require.Equal(t, 6, grants)
		require.LessOrEqual(t, time.Since(begin), 3100*time.Millisecond, "100 ms, doubled four times")
		mustClose(t, r)
	})
}

func TestRegister_EndsWithItsContextAndSaysWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		s.setFault(down(errRefused))
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
		defer cancel()
		begin := time.Now()
		r, err := register(ctx, &s, testService, Instance{Addr: testAddr}, quiet())
		require.Nil(t, r)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.EqualError(t, err, "etcdregistry: payments/10.0.0.7:8080: not registered: "+
			"context deadline exceeded; last error: grant a lease: connection refused")
		require.Equal(t, 4*time.Second, time.Since(begin))
	})
}

func TestRegister_RefusedByEtcdReturnsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		s.setFault(failing(rpctypes.ErrPermissionDenied, "swap"))
		begin := time.Now()
		_, err := register(t.Context(), &s, testService, Instance{Addr: testAddr}, quiet())
		require.ErrorIs(t, err, rpctypes.ErrPermissionDenied)
		require.ErrorContains(t, err, "etcdregistry: payments/10.0.0.7:8080: put the key: ")
		require.Zero(t, time.Since(begin))
		require.Zero(t, s.leaseCount(), "the lease is left as a ghost")
	})
}

func TestRegister_LaterLifeIgnoresItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(t.Context()))
		r, err := register(ctx, &s, testService, Instance{Addr: testAddr}, quiet())
		require.NoError(t, err)
		cancel()
		pass(10 * testTTL)
		require.Equal(t, 1, s.count("grant"))
		require.NotZero(t, s.key(testKey).lease)
		mustClose(t, r)
	})
}

func TestUpdate_KeepsTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		r := mustRegister(t, &s, Instance{Attrs: attrs.Attrs{Weight: 1}})
		before := s.key(testKey)
		want := attrs.Attrs{Weight: 8, Zone: "eu-1a", Draining: true, Labels: map[string]string{"version": "2"}}
		require.NoError(t, r.Update(t.Context(), want))
		after := s.key(testKey)
		require.Equal(t, before.lease, after.lease)
		require.Equal(t, want, mustDecode(t, after.value).Attrs)
		require.Empty(t, s.gaps())
		mustClose(t, r)
	})
}

func TestUpdate_WritesOverWhatAnOperatorWrote(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		r := mustRegister(t, &s, Instance{Attrs: attrs.Attrs{Weight: 5}})
		s.put(testKey, "by hand", s.key(testKey).lease)
		require.NoError(t, r.Update(t.Context(), attrs.Attrs{Weight: 5}))
		require.EqualValues(t, 5, mustDecode(t, s.key(testKey).value).Weight)
	})
}

func TestUpdate_IsKeptWhileEtcdIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		r := mustRegister(t, &s, Instance{Attrs: attrs.Attrs{Weight: 1}})
		s.setFault(down(errRefused))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := r.Update(ctx, attrs.Attrs{Weight: 8})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "kept, but not written yet")
		require.ErrorContains(t, err, "connection refused")

		s.setFault(nil)
		pass(mostPause)
		require.EqualValues(t, 8, mustDecode(t, s.key(testKey).value).Weight)
		mustClose(t, r)
	})
}

func TestUpdate_LastOneWinsAndAnswersTheEarlier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		r := mustRegister(t, &s, Instance{})
		s.setFault(down(errRefused))
		var answered atomic.Int32
		for weight := range uint32(3) {
			go func() {
				if r.Update(context.Background(), attrs.Attrs{Weight: 10 + weight}) == nil {
					answered.Add(1)
				}
			}()
			synctest.Wait()
		}
		require.Zero(t, answered.Load())
		s.setFault(nil)
		pass(mostPause)
		require.EqualValues(t, 3, answered.Load())
		require.EqualValues(t, 12, mustDecode(t, s.key(testKey).value).Weight)
		mustClose(t, r)
	})
}

func TestUpdate_ReturnsNotBeforeItsOwnValueStands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		r := mustRegister(t, &s, Instance{})
		s.setFault(func(_ context.Context, call string) error {
			if call == "swap" {
				<-time.After(time.Second)
			}
			return nil
		})
		first := make(chan error)
		go func() { first <- r.Update(context.Background(), attrs.Attrs{Weight: 1}) }()
		synctest.Wait() // the first is being written
		require.NoError(t, r.Update(t.Context(), attrs.Attrs{Weight: 2}))
		require.EqualValues(t, 2, mustDecode(t, s.key(testKey).value).Weight)
		require.NoError(t, <-first)
	})
}

func TestUpdate_BadAttrsChangeNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		r := mustRegister(t, &s, Instance{})
		before := s.key(testKey)
		err := r.Update(t.Context(), attrs.Attrs{Labels: map[string]string{"zone": "eu"}})
		require.EqualError(t, err, `etcdregistry: payments/10.0.0.7:8080: label "zone" is reserved: set the field of attrs.Attrs instead`)
		pass(testTTL)
		require.Equal(t, before, s.key(testKey))
		mustClose(t, r)
	})
}

func TestClose_MarksWaitsAndDeletes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		r := mustRegister(t, &s, Instance{Attrs: attrs.Attrs{Weight: 5}}, WithDrainDelay(700*time.Millisecond))
		begin := time.Now()
		done := make(chan error)
		go func() { done <- r.Close(context.Background()) }()
		synctest.Wait()
		marked := mustDecode(t, s.key(testKey).value)
		require.True(t, marked.Draining)
		require.EqualValues(t, 5, marked.Weight)
		require.NoError(t, <-done)
		require.Equal(t, 700*time.Millisecond, time.Since(begin))
		require.Zero(t, s.key(testKey))
		require.Zero(t, s.leaseCount())
		require.Len(t, s.gaps(), 1)
		require.Contains(t, s.gaps()[0], `"draining":true`)
	})
}

func TestClose_EndedContextSkipsTheWaitNotTheRemoval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		r := mustRegister(t, &s, Instance{})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		begin := time.Now()
		require.NoError(t, r.Close(ctx))
		require.Zero(t, time.Since(begin))
		require.Zero(t, s.key(testKey))
		require.Zero(t, s.leaseCount())
	})
}

func TestClose_ContextEndingMeanwhileCutsTheWaitShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		r := mustRegister(t, &s, Instance{}, WithDrainDelay(maxDrainDelay))
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		begin := time.Now()
		require.NoError(t, r.Close(ctx))
		require.Equal(t, 300*time.Millisecond, time.Since(begin))
		require.Zero(t, s.key(testKey))
	})
}

func TestClose_MarkThatHangsLeavesTimeForTheRemoval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		r := mustRegister(t, &s, Instance{})
		s.setFault(func(ctx context.Context, call string) error {
			switch call {
			case "holder":
				return hanging(ctx, call)
			case "revoke": // slow, but it works
				<-time.After(closeLimit - drainLimit - 100*time.Millisecond)
			}
			return nil
		})
		require.NoError(t, r.Close(t.Context()))
		require.Zero(t, s.key(testKey))
		require.Zero(t, s.leaseCount())
	})
}

// Every goroutine must have ended by then: synctest.Test fails if one has not.
func TestClose_EndsInTimeWhenEtcdIsDead(t *testing.T) {
	cases := []struct {
		name  string
		fault func(context.Context, string) error
		limit time.Duration
	}{
		{"refusing", down(errRefused), 0},
		{"hanging", hanging, closeLimit},
	}
	for _, c := range cases {
		for name, outage := range map[string]time.Duration{"just now": 0, "for a second": time.Second, "for long": time.Hour} {
			t.Run(c.name+" "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var s fakeStore
					r := mustRegister(t, &s, Instance{})
					s.setFault(c.fault)
					pass(outage)
					begin := time.Now()
					err := r.Close(t.Context())
					require.ErrorContains(t, err, "etcdregistry: payments/10.0.0.7:8080: lease not revoked, the key may stay for up to 10s")
					require.LessOrEqual(t, time.Since(begin), c.limit)
					s.setFault(nil)
					pass(testTTL) // the lease runs out in the bubble's time
				})
			})
		}
	}
}

func TestClose_TwiceAndAtOnceIsOneClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		r := mustRegister(t, &s, Instance{})
		var closing sync.WaitGroup
		for range 3 {
			closing.Go(func() { mustClose(t, r) })
		}
		closing.Wait()
		mustClose(t, r)
		require.Equal(t, 1, s.count("revoke"))
	})
}

func TestClose_AnswersEveryUpdate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		r := mustRegister(t, &s, Instance{})
		s.setFault(hanging)
		waiting := make(chan error)
		go func() { waiting <- r.Update(context.Background(), attrs.Attrs{Weight: 2}) }()
		synctest.Wait()
		go func() { _ = r.Close(context.Background()) }()
		require.EqualError(t, <-waiting, "etcdregistry: payments/10.0.0.7:8080: the registration is closed")
		require.ErrorIs(t, r.Update(t.Context(), attrs.Attrs{}), errClosed)
		s.setFault(nil)
		_ = r.Close(t.Context())
		pass(testTTL)
	})
}

// For the race detector, and for an Update that would write after the removal.
func TestClose_BesideUpdatesLeavesNoKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		r := mustRegister(t, &s, Instance{}, WithDrainDelay(50*time.Millisecond))
		var updating sync.WaitGroup
		for range 4 {
			updating.Go(func() {
				for weight := uint32(1); ; weight++ {
					if r.Update(context.Background(), attrs.Attrs{Weight: weight}) != nil {
						return
					}
					<-time.After(time.Millisecond)
				}
			})
		}
		pass(20 * time.Millisecond)
		mustClose(t, r)
		updating.Wait()
		pass(testTTL)
		require.Zero(t, s.key(testKey))
		require.Greater(t, s.count("swap"), 10)
	})
}

func TestOptions_Defaults(t *testing.T) {
	o, err := newOptions(nil)
	require.NoError(t, err)
	require.Equal(t, options{ttl: 20 * time.Second, drainDelay: 500 * time.Millisecond, logger: slog.Default()}, o)
}
