package etcdregistry

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/steelyard-go/steelyard/attrs"
)

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
		r := mustRegister(t, &s, Instance{}, WithDrainDelay(drainLimit))
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

// A member hangs, the next call goes to another one: there is time for that.
func TestClose_TriesAnotherMember(t *testing.T) {
	for _, call := range []string{"holder", "revoke"} { // the first is for the mark
		for kind, only := range map[string]bool{"Register": true, "Registrar": false} {
			t.Run(call+" of "+kind, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var s fakeStore
					g := mustRegistrar(t, &s, WithTTL(20*time.Second))
					r, err := g.register(t.Context(), testService, Instance{Addr: testAddr}, g.keeper.options, only)
					require.NoError(t, err)
					synctest.Wait()
					var asked atomic.Int32
					s.setFault(func(ctx context.Context, asks string) error {
						if asks == call && asked.Add(1) == 1 {
							return hanging(ctx, asks)
						}
						return nil
					})
					mustClose(t, r)
					require.Contains(t, s.gaps()[0], `"draining":true`)
				})
			})
		}
	}
}

// Every goroutine must have ended by then: synctest.Test fails if one has not.
func TestClose_EndsInTimeWhenEtcdIsDead(t *testing.T) {
	cases := []struct {
		name  string
		fault func(context.Context, string) error
		limit time.Duration
	}{
		{"refusing", down(errRefused), drainLimit},
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
					if outage == time.Hour && c.name == "refusing" {
						require.Zero(t, time.Since(begin), "there was nothing to mark")
					}
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

// Between the loss of a lease and the next one the key may still stand.
func TestClose_SoonAfterTheLeaseWasLostMarks(t *testing.T) {
	for range 10 { // the pause before the next lease is random
		synctest.Test(t, func(t *testing.T) {
			var s fakeStore
			r := mustRegister(t, &s, Instance{})
			synctest.Wait()
			s.silence(s.key(testKey).lease)
			synctest.Wait()
			mustClose(t, r)
			require.Len(t, s.gaps(), 1)
			require.Contains(t, s.gaps()[0], `"draining":true`)
			require.Zero(t, s.leaseCount())
		})
	}
}

func TestClose_DuringALookIsNotBlamedOnEtcd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		var log logBuffer
		r := mustRegister(t, &s, Instance{}, WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		s.setFault(func(ctx context.Context, call string) error {
			if call == "holder" {
				return hanging(ctx, call)
			}
			return nil
		})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.NoError(t, r.Close(ctx))
		for _, line := range log.lines() {
			require.NotContains(t, line, "level=WARN")
		}
	})
}
