package etcdregistry

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/steelyard-go/steelyard/attrs"
)

var errRefused = errors.New("connection refused")

// A keep-alive can end although its lease lives on. Then the key must move to the
// new lease before the old one is revoked.
func TestKeeper_KeepAliveEndsMovesKeyWithoutGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		mustRegister(t, &s, Instance{})
		before := s.key(testKey)
		s.silence(before.lease)
		pass(spreadPause)
		after := s.key(testKey)
		require.NotEqual(t, before.lease, after.lease)
		require.Equal(t, before.value, after.value)
		require.Empty(t, s.gaps())
		require.Equal(t, 1, s.leaseCount(), "the old lease is left as a ghost")
	})
}

func TestKeeper_RevokedLeaseIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		mustRegister(t, &s, Instance{})
		s.endLease(s.key(testKey).lease)
		pass(testTTL/3 + spreadPause) // the next renewal, and the pause
		require.NotZero(t, s.key(testKey).lease)
		require.Equal(t, 1, s.leaseCount())
	})
}

func TestKeeper_DeletedKeyIsPutBackUnderItsLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		mustRegister(t, &s, Instance{})
		before := s.key(testKey)
		s.delete(testKey)
		pass(testTTL / 2)
		require.Equal(t, before.lease, s.key(testKey).lease)
		require.Equal(t, before.value, s.key(testKey).value)
		require.Equal(t, 1, s.count("grant"))
	})
}

func TestKeeper_KeyUnderNoLeaseIsPutBackUnderOurs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		mustRegister(t, &s, Instance{})
		before := s.key(testKey)
		s.put(testKey, "10.0.0.8:1", 0)
		pass(testTTL / 2)
		require.Equal(t, before.lease, s.key(testKey).lease)
		require.Equal(t, before.value, s.key(testKey).value)
	})
}

func TestKeeper_ValueWrittenUnderOurLeaseIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		mustRegister(t, &s, Instance{})
		s.put(testKey, "by hand", s.key(testKey).lease)
		pass(3 * testTTL)
		require.Equal(t, "by hand", s.key(testKey).value)
	})
}

func TestKeeper_HoldsItsLeaseInPeace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := fakeStore{raiseTTL: 60 * time.Second}
		mustRegister(t, &s, Instance{})
		pass(time.Hour)
		require.Equal(t, 1, s.count("grant"))
		require.Equal(t, 1, s.count("swap"))
		require.Empty(t, s.gaps())
		audits := s.count("holder")
		require.GreaterOrEqual(t, audits, 120, "a look every TTL/2 of the TTL that the server granted")
		require.LessOrEqual(t, audits, 160)
	})
}

func TestKeeper_LeaseUnknownToEtcdIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		mustRegister(t, &s, Instance{})
		s.setFault(failing(errRefused, "renew")) // the keep-alive does not notice
		s.endLease(s.key(testKey).lease)         // etcd was replaced by an empty one
		pass(testTTL/2 + time.Second)
		require.NotZero(t, s.key(testKey).lease)
	})
}

func TestKeeper_OutageLongerThanTheLeaseHeals(t *testing.T) {
	faults := map[string]func(context.Context, string) error{"refusing": down(errRefused), "hanging": hanging}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var s fakeStore
				mustRegister(t, &s, Instance{Attrs: attrs.Attrs{Weight: 5}})
				s.setFault(fault)
				pass(10 * time.Minute)
				require.Zero(t, s.key(testKey).lease, "the lease should have run out")
				attempts := s.count("holder") + s.count("grant")
				require.Greater(t, attempts, 60, "it gave up")
				require.Less(t, attempts, 1000, "it storms")

				s.setFault(nil)
				pass(mostPause + lookLimit)
				require.EqualValues(t, 5, mustDecode(t, s.key(testKey).value).Weight)
				require.Equal(t, 1, s.leaseCount())
			})
		})
	}
}

func TestKeeper_PausesAreShortAgainAfterAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		mustRegister(t, &s, Instance{})
		for range 5 {
			s.setFault(down(errRefused))
			pass(10 * time.Minute)
			s.setFault(nil)
			pass(time.Minute)
			before := s.key(testKey).lease
			s.silence(before)
			pass(spreadPause)
			require.NotEqual(t, before, s.key(testKey).lease)
		}
	})
}

// A lease that was granted is used, not piled up, while the put fails.
func TestKeeper_FailingPutKeepsTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		s.setFault(failing(errRefused, "swap"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := register(ctx, &s, testService, Instance{Addr: testAddr}, quiet())
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 1, s.count("grant"))
		require.Zero(t, s.leaseCount(), "the lease is left as a ghost")
	})
}

func TestKeeper_LostPutResponseIsNoForeignKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		mustRegister(t, &s, Instance{})
		first := s.key(testKey).lease
		// The lease is replaced, the put works, its answer is lost, and then that
		// lease's keep-alive ends as well.
		s.setFault(failing(errRefused, "swap"))
		s.silence(first)
		pass(spreadPause)
		second := clientv3.LeaseID(0x1002)
		s.put(testKey, s.key(testKey).value, second)
		s.silence(second)
		synctest.Wait()
		s.setFault(nil)
		pass(mostPause)
		require.EqualValues(t, 0x1003, s.key(testKey).lease)
		require.Equal(t, 1, s.leaseCount())
		require.Empty(t, s.gaps())
	})
}

func TestKeeper_LeavesTheKeyToItsNewOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		old := mustRegister(t, &s, Instance{})
		successor := mustRegister(t, &s, Instance{Attrs: attrs.Attrs{Weight: 7}})
		taken := s.key(testKey)
		require.EqualValues(t, 7, mustDecode(t, taken.value).Weight)

		pass(3 * testTTL)
		require.Equal(t, taken, s.key(testKey), "the old owner wrote the key")

		err := old.Update(t.Context(), attrs.Attrs{Weight: 3})
		require.ErrorContains(t, err, "another registration holds the key under lease 0000000000001002")

		require.NoError(t, old.Close(t.Context()))
		require.Equal(t, taken, s.key(testKey), "the old owner's shutdown touched the key")
		mustClose(t, successor)
		require.Zero(t, s.key(testKey))
	})
}

func TestKeeper_TakesTheKeyUpOnceItIsFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		old := mustRegister(t, &s, Instance{})
		successor := mustRegister(t, &s, Instance{})
		require.Error(t, old.Update(t.Context(), attrs.Attrs{Weight: 3}))
		mustClose(t, successor)
		pass(yieldFor)
		require.EqualValues(t, 3, mustDecode(t, s.key(testKey).value).Weight)
	})
}

func TestKeeper_ReconnectsEveryTwoSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		mustRegister(t, &s, Instance{})
		s.setFault(hanging)
		pass(time.Minute)
		require.InDelta(t, 30, s.count("reconnect"), 1)
		s.setFault(nil)
	})
}

// One failure long after an outage is mended as fast as the first ever.
func TestKeeper_RenewalForgetsTheFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		r := mustRegister(t, &s, Instance{})
		for range 20 {
			pass(testTTL)
			failed := false
			s.setFault(func(_ context.Context, call string) error {
				if call == "swap" && !failed {
					failed = true
					return errRefused
				}
				return nil
			})
			begin := time.Now()
			require.NoError(t, r.Update(t.Context(), attrs.Attrs{Weight: 2}))
			require.LessOrEqual(t, time.Since(begin), leastPause)
		}
	})
}

func TestIsVerdict(t *testing.T) {
	verdicts := []error{rpctypes.ErrPermissionDenied, rpctypes.ErrAuthFailed, rpctypes.ErrUserEmpty, foreignError{lease: 7}}
	for _, err := range verdicts {
		require.True(t, isVerdict(err), "%v", err)
	}
	passing := []error{
		rpctypes.ErrNoLeader, rpctypes.ErrTimeout, rpctypes.ErrLeaseNotFound, rpctypes.ErrNoSpace,
		rpctypes.ErrInvalidAuthToken, rpctypes.ErrAuthOldRevision, context.DeadlineExceeded, errRefused,
	}
	for _, err := range passing {
		require.False(t, isVerdict(err), "%v", err)
	}
}
