package etcdregistry

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/steelyard-go/steelyard/attrs"
)

// The renewal by other means is under way when the keep-alive gives up.
func TestLease_LostWhileItIsRenewed(t *testing.T) {
	for name, answer := range map[string]error{"renewed": nil, "gone": rpctypes.ErrLeaseNotFound} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var s fakeStore
				r := mustRegister(t, &s, Instance{})
				synctest.Wait()
				lost := s.key(testKey).lease
				s.setFault(func(_ context.Context, call string) error {
					switch call {
					case "renew":
						return errRefused
					case "renewOnce":
						s.silence(lost)
						<-time.After(leastPause) // the loop hears of it
						return answer
					}
					return nil
				})
				pass(testTTL/2 + leastPause)
				if r.Stats().State == "reregistering" {
					require.Zero(t, r.Stats().RenewalAge, "there is no lease")
				}
				s.setFault(nil)
				pass(spreadPause)
				require.Equal(t, "registered", r.Stats().State)
				require.NotEqual(t, lost, s.key(testKey).lease)
				require.Equal(t, 1, s.leaseCount())
			})
		})
	}
}

func TestLease_LostWhileTheOneBeforeIsRevoked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		mustRegister(t, &s, Instance{})
		synctest.Wait()
		revoking := make(chan struct{}, 8)
		s.setFault(func(_ context.Context, call string) error {
			if call == "revoke" {
				revoking <- struct{}{}
				<-time.After(leastLookLimit / 2)
			}
			return nil
		})
		s.silence(s.key(testKey).lease)
		<-revoking
		s.silence(s.key(testKey).lease)
		pass(spreadPause + 2*leastLookLimit)
		require.EqualValues(t, 0x1003, s.key(testKey).lease)
		require.Equal(t, 1, s.leaseCount())
		require.Empty(t, s.gaps())
	})
}

// A call about leases that fails once, after a long trouble, is soon made again.
func TestLease_TroubleIsForgotten(t *testing.T) {
	for _, call := range []string{"grant", "revoke"} {
		t.Run(call, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var s fakeStore
				mustRegister(t, &s, Instance{})
				synctest.Wait()
				s.setFault(failing(errRefused, call))
				s.silence(s.key(testKey).lease)
				pass(testTTL - time.Second)
				s.setFault(nil)
				pass(time.Minute)
				mustReplaceLease(t, &s, call)
			})
		})
	}
}

// Here the keep-alive ends the trouble by itself.
func TestLease_TroubleWithRenewalsIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		mustRegister(t, &s, Instance{})
		s.setFault(failing(errRefused, "renew", "renewOnce"))
		pass(testTTL * 9 / 10)
		s.setFault(failing(errRefused, "renewOnce"))
		pass(testTTL / 10)
		mustReplaceLease(t, &s, "grant")
	})
}

// mustReplaceLease loses the lease while the next call of that kind hangs.
func mustReplaceLease(t *testing.T, s *fakeStore, call string) {
	t.Helper()
	require.Equal(t, 1, s.leaseCount())
	var asked atomic.Int32
	s.setFault(func(ctx context.Context, asks string) error {
		if asks == call && asked.Add(1) == 1 {
			return hanging(ctx, asks)
		}
		return nil
	})
	lost := s.key(testKey).lease
	s.silence(lost)
	pass(spreadPause + leastLookLimit + 2*leastPause)
	require.NotEqual(t, lost, s.key(testKey).lease)
	require.Equal(t, 1, s.leaseCount())
	require.EqualValues(t, 2, asked.Load())
}

// No keep-alive is left that would say so.
func TestLease_HeldByOtherMeansIsLostInAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		r := mustRegister(t, &s, Instance{})
		s.setFault(failing(errRefused, "renew"))
		pass(2 * time.Minute)
		require.Equal(t, "registered", r.Stats().State)
		s.setFault(down(errRefused))
		pass(testTTL + mostPause)
		require.Equal(t, "reregistering", r.Stats().State)
		s.setFault(nil)
		pass(mostPause + spreadPause)
		require.Equal(t, "registered", r.Stats().State)
		require.Equal(t, 1, s.leaseCount())
	})
}

// A look that began under the lost lease does not count for the new one.
func TestLease_LostDuringALookMovesTheKeyAllTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bent{fakeStore: &fakeStore{}}
		r := mustJoin(t, mustRegistrar(t, b), testAddr)
		synctest.Wait()
		lost := b.key(testKey).lease
		b.bendSwap(testKey, func(ctx context.Context, do func(context.Context) error) error {
			b.bendSwap(testKey, nil) // once
			b.silence(lost)
			<-time.After(leastLookLimit / 2) // the next lease may come before
			return do(ctx)
		})
		require.NoError(t, r.Update(t.Context(), attrs.Attrs{Weight: 2}))
		pass(spreadPause)
		require.NotEqual(t, lost, b.key(testKey).lease)
		require.Equal(t, 1, b.leaseCount(), "the lost one is left")
		require.Empty(t, b.gaps())
	})
}

// Etcd grants the lease, but the answer is on its way while the registrar closes.
func TestLease_GrantedDuringCloseIsRevoked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := grantsLate{&fakeStore{}}
		g := mustRegistrar(t, s)
		joined := make(chan error)
		go func() {
			_, err := g.Register(t.Context(), testService, Instance{Addr: testAddr})
			joined <- err
		}()
		synctest.Wait()
		require.NoError(t, g.Close(t.Context()))
		require.ErrorIs(t, <-joined, errClosed)
		require.Equal(t, 1, s.count("grant"))
		require.Zero(t, s.leaseCount())
	})
}

// grantsLate grants a lease, but says so only when the caller has given up.
type grantsLate struct{ *fakeStore }

func (s grantsLate) grant(ctx context.Context, ttl time.Duration) (clientv3.LeaseID, time.Duration, error) {
	id, ttl, err := s.fakeStore.grant(ctx, ttl)
	<-ctx.Done()
	return id, ttl, err
}

func TestLease_OfAKeyThatNeverStoodIsNoLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		s.setFault(failing(errRefused, "swap"))
		g := mustRegistrar(t, &s)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		done := make(chan struct{})
		go func() {
			_, _ = g.Register(ctx, testService, Instance{Addr: testAddr})
			close(done)
		}()
		pass(time.Second / 2)
		s.silence(0x1001)
		synctest.Wait()
		require.Equal(t, "registering", g.Stats().State)
		require.Zero(t, g.Stats().LeasesLost)
		<-done
	})
}

// A key that may not be put keeps the stale leases from being revoked.
func TestLease_StaleOnesDoNotPileUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bent{fakeStore: &fakeStore{}}
		g := mustRegistrar(t, b)
		other := mustJoin(t, g, otherAddr)
		mustJoin(t, g, testAddr)
		synctest.Wait()
		b.bendSwap(testKey, func(context.Context, func(context.Context) error) error { return rpctypes.ErrPermissionDenied })
		for range 100 {
			b.silence(b.key(other.key.name).lease)
			pass(3 * testTTL)
		}
		b.bendSwap(testKey, nil)
		before := b.count("revoke")
		pass(testTTL)
		require.LessOrEqual(t, b.count("revoke")-before, maxStale)
		require.Equal(t, 1, b.leaseCount())
	})
}
