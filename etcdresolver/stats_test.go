package etcdresolver

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/status"
)

func TestStats_TellOfEachService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd := newFakeEtcd()
		b := etcd.builder(t)
		require.Empty(t, b.Stats())
		etcd.put("payments/a", addrA)
		dial(t, b, "payments")
		dial(t, b, "payments")
		dial(t, b, "orders")
		synctest.Wait()
		all := b.Stats()
		require.Len(t, all, 2)
		require.Equal(t, "orders", all[0].Service)
		require.Equal(t, 1, all[0].Channels)
		require.Equal(t, 0, all[0].Endpoints)
		require.Equal(t, "payments", all[1].Service)
		require.Equal(t, []string{"etcd-1:2379"}, all[1].Etcd)
		require.Equal(t, 2, all[1].Channels)
		require.Equal(t, 1, all[1].Endpoints)

		all[1].Sessions["mine"] = 1
		require.NotContains(t, b.Stats()[1].Sessions, "mine", "it is a copy")
	})
}

func TestStats_StatesFollowTheTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd := newFakeEtcd()
		etcd.put("payments/a", addrA)
		etcd.failGets(errors.New("down"))
		b := etcd.builder(t)
		cc := dialAndWait(t, b)
		require.Equal(t, Init, only(t, b).State)
		pass(time.Minute)
		require.Equal(t, Init, only(t, b).State)
		require.Zero(t, only(t, b).LastSynced)
		require.Zero(t, only(t, b).Lists)

		etcd.failGets(nil)
		pass(maxBackoff)
		require.Equal(t, Synced, only(t, b).State)
		require.EqualValues(t, 1, only(t, b).Lists)
		require.EqualValues(t, etcd.now(), only(t, b).Revision)
		require.LessOrEqual(t, time.Since(only(t, b).LastSynced), progressInterval)

		etcd.failGets(errors.New("down"))
		etcd.last().finish()
		synctest.Wait()
		require.Equal(t, Degraded, only(t, b).State)
		synced := only(t, b).LastSynced
		pass(time.Minute)
		require.Equal(t, synced, only(t, b).LastSynced)
		require.Equal(t, 1, only(t, b).Endpoints, "they serve on")

		cc.resolver.Close()
		require.Equal(t, Idle, only(t, b).State)
		require.Equal(t, 0, only(t, b).Channels)
		dialAndWait(t, b)
		require.Equal(t, Degraded, only(t, b).State, "there is a list, and no etcd")
		etcd.failGets(nil)
		pass(maxBackoff)
		require.Equal(t, Synced, only(t, b).State)
	})
}

func TestStats_CountWhatHappens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd := newFakeEtcd()
		etcd.commit(change{"payments/a", addrA}, change{"payments/b", addrB}, change{"payments/c", "{}"})
		etcd.put(overrideKey("a"), `{"weight":2}`)
		etcd.put(overrideKey("b"), "{")
		b := etcd.builder(t, withOverrides)
		dialAndWait(t, b)
		stats := only(t, b)
		require.EqualValues(t, 2, stats.Refused)
		require.Equal(t, 1, stats.Overrides)
		require.EqualValues(t, 2, stats.Lists)
		require.EqualValues(t, 1, stats.Updates)
		require.Zero(t, stats.EventUpdates, "no event told of the first list")

		etcd.commit(change{key: "payments/a"}, change{key: "payments/b"})
		pass(settle)
		stats = only(t, b)
		require.Equal(t, 2, stats.Held)
		require.Equal(t, 2, stats.Endpoints)
		require.EqualValues(t, 1, stats.Updates, "held: the channel hears of nothing")

		etcd.watchOf("payments/").finish()
		etcd.watchOf("steelyard/overrides/payments/").send(clientv3.WatchResponse{Canceled: true, CompactRevision: 9})
		pass(minBackoff)
		require.Equal(t, map[string]int64{"closed": 1, "compacted": 1}, only(t, b).Sessions)
		require.EqualValues(t, 4, only(t, b).Lists)
	})
}

func TestStats_DelayIsFromTheFirstEventToTheEndOfTheUpdate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd := newFakeEtcd()
		etcd.put("payments/a", weighted(addrA, 1))
		b := etcd.builder(t)
		cc := &fakeCC{onUpdate: func(resolver.State) error { <-time.After(7 * time.Millisecond); return nil }}
		cc.dial(t, b, "payments")
		pass(settle)

		etcd.put("payments/a", weighted(addrA, 2))
		pass(defaultDebounce / 2)
		etcd.put("payments/a", weighted(addrA, 3))
		pass(settle)
		const delay = defaultDebounce/2 + defaultDebounce + 7*time.Millisecond
		stats := only(t, b)
		require.EqualValues(t, 2, stats.Updates)
		require.EqualValues(t, 1, stats.EventUpdates)
		require.Equal(t, delay, stats.UpdateDelay)

		etcd.put("payments/a", weighted(addrA, 4))
		pass(settle)
		stats = only(t, b)
		require.Equal(t, delay+defaultDebounce+7*time.Millisecond, stats.UpdateDelay)
		require.Equal(t, delay, stats.LongestDelay)

		etcd.put("payments/x", "{}") // of which no channel hears
		pass(time.Hour)
		(&fakeCC{onUpdate: cc.onUpdate}).dial(t, b, "payments")
		pass(settle)
		stats = only(t, b)
		require.EqualValues(t, 4, stats.Updates)
		require.EqualValues(t, 2, stats.EventUpdates, "a channel that joins hears of no event")
	})
}

// A slow policy skips to the newest list: its delay is that of the oldest news in it.
func TestStats_DelayOfWhatWasSkippedCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd := newFakeEtcd()
		etcd.put("payments/a", weighted(addrA, 1))
		b := etcd.builder(t)
		cc := &fakeCC{onUpdate: func(resolver.State) error { <-time.After(time.Minute); return nil }}
		cc.dial(t, b, "payments")
		pass(settle)
		for weight := 2; weight < 6; weight++ {
			etcd.put("payments/a", weighted(addrA, weight))
			pass(10 * time.Second)
		}
		pass(3 * time.Minute)
		stats := only(t, b)
		require.EqualValues(t, 2, stats.Updates)
		require.Equal(t, time.Minute-settle+time.Minute, stats.LongestDelay)
	})
}

func TestStats_EventsOfAClosedChannelAreNoNewsToTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd := newFakeEtcd()
		etcd.put("payments/a", addrA)
		b := etcd.builder(t)
		cc := dialAndWait(t, b)
		etcd.put("payments/b", addrB)
		synctest.Wait() // it gathers
		cc.resolver.Close()
		pass(time.Hour)
		etcd.put("payments/c", addrC)
		dialAndWait(t, b)
		pass(settle)
		require.Zero(t, only(t, b).LongestDelay)
	})
}

func TestStats_CauseInAWord(t *testing.T) {
	watch := func(err error) error { return fmt.Errorf("watch: %w", err) }
	reason := func(text string) error {
		return watch((&clientv3.WatchResponse{Canceled: true, CancelReason: text}).Err())
	}
	down := newFakeConn(connectivity.TransientFailure)
	down.why = status.Error(codes.Unavailable, "connection refused")
	for want, errs := range map[string][]error{
		"compacted":   {rpctypes.ErrCompacted, watch((&clientv3.WatchResponse{Canceled: true, CompactRevision: 5}).Err())},
		"silent":      {errSilent},
		"reconnected": {errReconnected},
		"history":     {errHistory},
		"closed":      {errClosed},
		"leaderless":  {reason("etcdserver: no leader"), watch(rpctypes.ErrNoLeader), rpctypes.ErrLeaderChanged},
		"denied":      {rpctypes.ErrPermissionDenied, reason(rpctypes.ErrGRPCPermissionDenied.Error())},
		"auth": {
			rpctypes.ErrInvalidAuthToken, reason(rpctypes.ErrGRPCInvalidAuthToken.Error()),
			reason(rpctypes.ErrGRPCAuthOldRevision.Error()), reason(rpctypes.ErrGRPCUserEmpty.Error()), rpctypes.ErrAuthFailed,
		},
		"timeout": {
			context.DeadlineExceeded, (*link)(nil).explain(t.Context(), context.DeadlineExceeded, time.Second),
			newLink(newFakeConn(connectivity.Ready)).explain(t.Context(), context.DeadlineExceeded, time.Second),
		},
		"unreachable": {newLink(down).explain(t.Context(), context.DeadlineExceeded, time.Second)},
		"other":       {errors.New("on fire"), reason("mvcc: what nobody foresaw"), rpctypes.ErrTooManyRequests},
	} {
		for _, err := range errs {
			require.Equal(t, want, causeOf(err), "%v", err)
		}
	}
}

func TestStats_AreACopy(t *testing.T) {
	b := targetBuilder(clientv3.Config{})
	dialTarget(t, b, "etcd://127.0.0.1:1,127.0.0.1:2/payments")
	b.Stats()[0].Etcd[0] = "evil:1"
	require.Equal(t, "127.0.0.1:1", b.Stats()[0].Etcd[0])
}
