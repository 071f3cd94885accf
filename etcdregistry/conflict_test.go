package etcdregistry

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/steelyard-go/steelyard/attrs"
)

// otherOwner is a value as another registration writes it, that started so much later
// than now.
func otherOwner(t *testing.T, later time.Duration) string {
	t.Helper()
	value, err := encode(Instance{Addr: "10.0.0.9:1"}, newOwner(time.Now().Add(later)))
	require.NoError(t, err)
	return value
}

// mustGrant gives the lease of another process, that lasts for the test.
func mustGrant(t *testing.T, s *fakeStore) func(value string) fakeKey {
	t.Helper()
	id, _, err := s.grant(t.Context(), time.Hour)
	require.NoError(t, err)
	return func(value string) fakeKey {
		s.put(testKey, value, id)
		return s.key(testKey)
	}
}

func TestConflict_NewerOwnerKeepsTheKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		var log logBuffer
		r := mustRegister(t, &s, Instance{}, WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		put := mustGrant(t, &s)
		taken := put(otherOwner(t, time.Minute))
		synctest.Wait()
		require.Equal(t, 1, r.Stats().Conflicts, "reported at once")
		require.Equal(t, "suspect", r.Stats().State)
		lines := log.lines()
		require.Contains(t, lines[len(lines)-1], "another registration holds the key under lease 0000000000001002 (owner ")

		looks := s.count("holder")
		pass(yieldFor - time.Second)
		require.Equal(t, looks, s.count("holder"), "it looked again before its time")
		put(otherOwner(t, time.Hour)) // and whatever happens to the key
		synctest.Wait()
		require.Equal(t, looks, s.count("holder"), "it looked again before its time")
		pass(2 * time.Second)
		require.Equal(t, looks+1, s.count("holder"))
		pass(10 * time.Minute)
		require.Equal(t, 1, s.count("swap"), "that of Register")
		require.Equal(t, taken.lease, s.key(testKey).lease)

		begin := time.Now()
		mustClose(t, r)
		require.Zero(t, time.Since(begin), "there was nothing to drain")
		require.Equal(t, taken.lease, s.key(testKey).lease, "Close touched the key of another")
	})
}

func TestConflict_OlderOwnerLosesTheKeyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		r := mustRegister(t, &s, Instance{Attrs: attrs.Attrs{Weight: 5}})
		synctest.Wait()
		mine := s.key(testKey)
		put := mustGrant(t, &s)
		put(otherOwner(t, -time.Minute))
		synctest.Wait()
		require.Equal(t, mine.value, s.key(testKey).value)
		require.Equal(t, mine.lease, s.key(testKey).lease)
		require.Equal(t, 1, r.Stats().KeysTakenBack)
		require.Equal(t, 1, r.Stats().Conflicts)
	})
}

func TestConflict_FightIsNoStormOfPuts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		mustRegister(t, &s, Instance{})
		put := mustGrant(t, &s)
		older := otherOwner(t, -time.Minute)
		for range 600 {
			put(older)
			pass(100 * time.Millisecond)
		}
		require.InDelta(t, 60, s.count("swap"), 3, "one a second for a minute")
	})
}

func TestConflict_FightIsNoStormOfLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		var log logBuffer
		mustRegister(t, &s, Instance{}, WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		put := mustGrant(t, &s)
		older := otherOwner(t, -time.Minute)
		for range 600 {
			put(older)
			pass(time.Second)
		}
		require.InDelta(t, 2*600/30, len(log.lines()), 5, "taken back and registered, every 30s of ten minutes")
	})
}

// As where etcd is restored from a backup: the value is our own, the lease is forgotten.
func TestConflict_OwnValueUnderAnotherLeaseIsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		r := mustRegister(t, &s, Instance{})
		synctest.Wait()
		mine := s.key(testKey)
		mustGrant(t, &s)(mine.value)
		pass(time.Second)
		require.Equal(t, mine.lease, s.key(testKey).lease)
		require.Zero(t, r.Stats().Conflicts)
		require.Zero(t, r.Stats().KeysTakenBack)
		require.Equal(t, 1, r.Stats().KeysLost)
	})
}

// A newcomer takes over from a machine whose clock runs ahead, and keeps the key.
func TestConflict_NewcomerIsTheNewerOneWhateverTheClocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		put := mustGrant(t, &s)
		ahead := put(otherOwner(t, time.Hour)).value
		r := mustRegister(t, &s, Instance{})
		mine := s.key(testKey)
		require.True(t, ownerOf([]byte(ahead)).yieldsTo(ownerOf([]byte(mine.value))))
		pass(time.Second)
		put(ahead)
		synctest.Wait()
		require.Equal(t, mine.value, s.key(testKey).value)
		require.NoError(t, r.Update(t.Context(), attrs.Attrs{Weight: 2}))
		require.True(t, ownerOf([]byte(ahead)).yieldsTo(ownerOf([]byte(s.key(testKey).value))), "Update fell back to the old start")
	})
}

// Its rank is not lost with the answer to its put.
func TestConflict_NewcomerKeepsItsRank(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		put := mustGrant(t, &s)
		ahead := put(otherOwner(t, time.Hour)).value
		b := &bent{fakeStore: &s}
		b.bendSwap(testKey, func(ctx context.Context, do func(context.Context) error) error {
			b.bendSwap(testKey, nil) // once
			_ = do(ctx)
			return errRefused
		})
		mustJoin(t, mustRegistrar(t, b), testAddr)
		require.True(t, ownerOf([]byte(ahead)).yieldsTo(ownerOf([]byte(s.key(testKey).value))))
	})
}

// Other tools do not say when they started: the last writer holds the key.
func TestConflict_KeyWithoutAnOwnerUnderAnotherLeaseIsLeft(t *testing.T) {
	for _, value := range []string{"10.0.0.9:1", `{"Op":0,"Addr":"10.0.0.9:1"}`, "rubbish"} {
		synctest.Test(t, func(t *testing.T) {
			var s fakeStore
			r := mustRegister(t, &s, Instance{})
			put := mustGrant(t, &s)
			taken := put(value)
			pass(10 * time.Minute)
			require.Equal(t, taken, s.key(testKey))
			require.Positive(t, r.Stats().Conflicts)
		})
	}
}

func TestConflict_EndsWithTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		r := mustRegister(t, &s, Instance{})
		put := mustGrant(t, &s)
		put(otherOwner(t, time.Minute))
		synctest.Wait()
		s.delete(testKey)
		pass(yieldFor)
		require.NotZero(t, s.key(testKey).lease)
		require.Equal(t, "registered", r.Stats().State)
		s.delete(testKey) // it is watched again
		pass(repairEvery)
		require.NotZero(t, s.key(testKey).lease)
	})
}

func TestConflict_EventsDoNotOutrunTheBackoff(t *testing.T) {
	for _, err := range []error{rpctypes.ErrPermissionDenied, errRefused} {
		synctest.Test(t, func(t *testing.T) {
			var s fakeStore
			mustRegister(t, &s, Instance{})
			put, older := mustGrant(t, &s), otherOwner(t, -time.Minute)
			s.setFault(failing(err, "swap"))
			before := s.count("swap")
			for range 3000 {
				put(older)
				pass(10 * time.Millisecond)
			}
			s.setFault(nil)
			require.Less(t, s.count("swap")-before, 40, "in half a minute")
		})
	}
}
