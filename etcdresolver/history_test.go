package etcdresolver

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// After etcd is restored, etcd's client resumes the watch as if nothing had happened.
// What gives it away is the next answer.
func TestHistory_ARestoredEtcdIsTakenAsItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd, logs := newFakeEtcd(), &logLines{}
		etcd.put("payments/a", weighted(addrA, 1))
		past := etcd.put("payments/b", addrB)
		b := etcd.builder(t, WithLogger(logs.logger()))
		cc := dialAndWait(t, b)
		etcd.put("payments/a", weighted(addrA, 2))
		etcd.delete("payments/b")
		etcd.put("payments/c", addrC)
		pass(settle)
		require.Equal(t, addrA+" "+addrC, cc.addrs())

		etcd.restore(past)
		etcd.put("payments/a", weighted(addrA, 3)) // at the revision at which it was 2 before
		pass(progressInterval + settle)
		require.Equal(t, addrA+" "+addrB, cc.addrs())
		require.Equal(t, uint32(3), cc.attrs(addrA).Weight, "the same revision of a key is not the same value")
		require.EqualValues(t, 1, only(t, b).Sessions["history"])
		require.Len(t, logs.with("or is another cluster\" service=payments what=instances"), 1)
		require.Zero(t, only(t, b).AuditDifferences)

		etcd.put("payments/d", addrD)
		pass(settle)
		require.Equal(t, addrA+" "+addrB+" "+addrD, cc.addrs(), "and followed")
	})
}

func TestHistory_ARestoreThatEndsTheWatchIsSeenByTheList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd, logs := newFakeEtcd(), &logLines{}
		past := etcd.put("payments/a", addrA)
		b := etcd.builder(t, WithLogger(logs.logger()))
		cc := dialAndWait(t, b)
		known := etcd.put("payments/a", addrB)
		etcd.put("orders/x", addrB)
		pass(settle)
		etcd.restore(past)
		etcd.last().finish()
		pass(minBackoff + settle)
		require.Equal(t, addrA, cc.addrs())
		require.Len(t, logs.with(fmt.Sprintf("restored to an older revision, or is another cluster\" service=payments what=instances revision_before=%d revision=%d", known, past)), 1)
		require.EqualValues(t, past, only(t, b).Revision)
	})
}

func TestHistory_AnAnswerOfAnotherOneConfirmsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd := newFakeEtcd()
		etcd.put("payments/a", addrA)
		b := etcd.builder(t)
		dialAndWait(t, b)
		synced := only(t, b).LastSynced
		etcd.replace()
		etcd.unheard(change{"orders/x", addrC}) // its revision is as high
		etcd.failGets(errHang)
		pass(time.Minute)
		require.EqualValues(t, 1, only(t, b).Sessions["history"])
		require.Equal(t, synced, only(t, b).LastSynced)
	})
}

func TestHistory_AnotherClusterIsTakenAsItIs(t *testing.T) {
	for name, first := range map[string]func(*fakeEtcd){
		"seen by a progress answer": func(*fakeEtcd) { pass(progressInterval) },
		"seen by an event":          func(etcd *fakeEtcd) { etcd.put("payments/y", addrD); pass(settle) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				etcd := newFakeEtcd()
				etcd.put("payments/a", addrA)
				etcd.put("payments/b", addrB)
				b := etcd.builder(t)
				cc := dialAndWait(t, b)
				etcd.replace()
				etcd.unheard(change{"payments/a", addrC})
				etcd.unheard(change{"orders/x", addrC}) // its revision is as high
				first(etcd)
				pass(settle)
				require.Contains(t, cc.addrs(), addrC)
				require.NotContains(t, cc.addrs(), addrB)
				require.EqualValues(t, 1, only(t, b).Sessions["history"])
				require.Equal(t, 1, etcd.live())
			})
		})
	}
}

// A new cluster whose servers have not registered yet looks like everybody's end.
func TestHistory_AnEmptyNewClusterEmptiesNoList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd := newFakeEtcd()
		etcd.commit(change{"payments/a", addrA}, change{"payments/b", addrB}, change{"payments/c", addrC})
		cc := dial(t, etcd.builder(t), "payments")
		synctest.Wait()
		etcd.replace()
		pass(time.Minute)
		require.Equal(t, 1, cc.updates())
		etcd.put("payments/1", addrA)
		etcd.put("payments/2", addrB)
		pass(defaultShrinkHold + settle)
		require.Equal(t, addrA+" "+addrB, cc.addrs())
		require.Empty(t, cc.lastError())
	})
}

func TestHistory_AFollowerThatLagsBehindIsNoRestore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd, logs := newFakeEtcd(), &logLines{}
		etcd.put("payments/a", addrA)
		now := etcd.put("payments/b", addrB)
		b := etcd.builder(t, WithLogger(logs.logger()))
		cc := dialAndWait(t, b)
		// It confirms nothing beyond what it has, and the list is linearizable.
		etcd.last().send(clientv3.WatchResponse{Header: &etcdserverpb.ResponseHeader{ClusterId: etcd.cluster, Revision: now - 1}})
		pass(settle)
		require.Equal(t, addrA+" "+addrB, cc.addrs())
		require.Equal(t, 1, cc.updates())
		require.Empty(t, logs.with("msg=\"etcdresolver: etcd was restored"), "one list more, and no false alarm")
	})
}

func TestHistory_EventsAgainOrOutOfOrderChangeNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd := newFakeEtcd()
		etcd.put("payments/a", weighted(addrA, 1))
		etcd.put("payments/b", addrB)
		etcd.put("payments/a", weighted(addrA, 2))
		b := etcd.builder(t)
		cc := dialAndWait(t, b)
		etcd.delete("payments/b")
		etcd.put("payments/c", addrC)
		pass(settle)
		updates := cc.updates()
		again := func(events ...int) {
			response := clientv3.WatchResponse{Header: etcd.headerLocked()}
			for _, n := range events {
				response.Events = append(response.Events, etcd.history[n])
			}
			etcd.last().send(response)
			pass(settle)
			require.Equal(t, addrA+" "+addrC, cc.addrs())
			require.Equal(t, uint32(2), cc.attrs(addrA).Weight)
			require.Equal(t, updates, cc.updates())
		}
		again(0, 1, 2, 3, 4)
		again(4)
		again(4, 4, 4)
		again(1)
		again(3, 0)
		require.Equal(t, 1, etcd.live())
	})
}

// A transaction of many keys can be larger than a message.
func TestHistory_ATransactionMayComeInParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd := newFakeEtcd()
		etcd.put("payments/a", addrA)
		cc := dial(t, etcd.builder(t), "payments")
		synctest.Wait()
		etcd.unheard(change{"payments/b", addrB}, change{"payments/c", addrC}, change{key: "payments/a"}, change{"payments/d", addrD})
		for _, event := range etcd.history[1:] {
			etcd.last().send(clientv3.WatchResponse{Header: etcd.headerLocked(), Events: []*clientv3.Event{event}})
			pass(time.Millisecond)
		}
		pass(settle)
		require.Equal(t, addrB+" "+addrC+" "+addrD, cc.addrs())
	})
}

func TestHistory_ProgressAloneChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd := newFakeEtcd()
		etcd.put("payments/a", addrA)
		b := etcd.builder(t)
		cc := dialAndWait(t, b)
		for range 100 {
			etcd.put("orders/x", addrB)
			etcd.last().send(clientv3.WatchResponse{Header: etcd.headerLocked()})
			pass(time.Second)
		}
		gets, watches, _ := etcd.counts()
		require.Equal(t, 1, gets)
		require.Equal(t, 1, watches)
		require.Equal(t, 1, cc.updates())
		require.Zero(t, time.Since(only(t, b).LastSynced))
	})
}
