package etcdresolver

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/resolver"
)

// Each way a watch can end leads to a new list, which sees what was missed.
func TestSession_EveryEndOfAWatchLeadsToANewList(t *testing.T) {
	response := func(r clientv3.WatchResponse) func(*fakeWatch) {
		return func(w *fakeWatch) { w.send(r) }
	}
	for name, end := range map[string]func(*fakeWatch){
		"created then cancelled": func(w *fakeWatch) {
			w.send(clientv3.WatchResponse{Created: true})
			w.send(clientv3.WatchResponse{Canceled: true, CancelReason: "rpc error: permission denied"})
			w.finish()
		},
		"cancelled without a reason": response(clientv3.WatchResponse{Canceled: true}),
		"cancelled, never closed":    response(clientv3.WatchResponse{Canceled: true, CancelReason: "etcdserver: no leader"}),
		"compacted":                  response(clientv3.WatchResponse{Canceled: true, CompactRevision: 7}),
		"closed without an error":    func(w *fakeWatch) { w.finish() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				etcd := newFakeEtcd()
				etcd.put("payments/a", addrA)
				cc := dial(t, etcd.builder(t), "payments")
				synctest.Wait()

				old := etcd.last()
				end(old)
				old.finish() // what comes now is missed
				etcd.commit(change{"payments/a", ""}, change{"payments/b", addrB})
				pass(crowdSpread) // the longest of them
				require.Equal(t, addrB, cc.addrs())
				require.Equal(t, 2, cc.updates(), "one step, nothing in between")
				require.Empty(t, cc.lastError())
				require.Equal(t, 1, etcd.live())
			})
		})
	}
}

func TestSession_ACompactionRelistsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd := newFakeEtcd()
		etcd.put("payments/a", addrA)
		etcd.onWatch = func(n int, w *fakeWatch) {
			if n == 1 { // between list and watch
				w.send(clientv3.WatchResponse{Created: true})
				w.send(clientv3.WatchResponse{Canceled: true, CompactRevision: etcd.now() + 1})
				w.finish()
				etcd.put("payments/b", addrB)
			}
		}
		cc := dial(t, etcd.builder(t), "payments")
		synctest.Wait() // no time passes
		require.Equal(t, addrA+" "+addrB, cc.addrs())
	})
}

func TestSession_EndlessCompactionsAreNoHotLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd, logs := newFakeEtcd(), &logLines{}
		etcd.onWatch = func(_ int, w *fakeWatch) {
			w.send(clientv3.WatchResponse{Canceled: true, CompactRevision: 1})
		}
		dial(t, etcd.builder(t, WithLogger(logs.logger())), "payments")
		pass(time.Minute)
		gets, _, _ := etcd.counts()
		require.Less(t, gets, 100)
		require.Len(t, logs.with(""), 3, "synced, degraded, synced: the rest is the same again")
	})
}

func TestSession_ChangesBeforeTheEndOfAWatchCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd := newFakeEtcd()
		etcd.put("payments/a", addrA)
		cc := dial(t, etcd.builder(t), "payments")
		pass(settle)
		etcd.failGets(errHang)
		etcd.put("payments/b", addrB)
		etcd.last().finish()
		pass(defaultDebounce)
		require.Equal(t, addrA+" "+addrB, cc.addrs(), "no list confirms it, but the watch said it")
	})
}

func TestSession_QuietEtcdKeepsItsWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd := newFakeEtcd()
		etcd.put("payments/a", addrA)
		cc := dial(t, etcd.builder(t), "payments")
		pass(10 * time.Minute)
		gets, watches, progress := etcd.counts()
		require.InDelta(t, 1+2, gets, 1, "an audit in 4 to 6 minutes")
		require.Equal(t, 1, watches)
		require.InDelta(t, 120, progress, 4)
		require.Equal(t, 1, cc.updates())
	})
}

func TestSession_SilenceEndsTheWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd, logs := newFakeEtcd(), &logLines{}
		etcd.put("payments/a", addrA)
		cc := dial(t, etcd.builder(t, WithLogger(logs.logger())), "payments")
		synctest.Wait()
		etcd.setMute(true)
		old := etcd.last()
		old.mu.Lock()
		old.finished = true // hangs: says nothing, does not even close
		old.mu.Unlock()
		etcd.put("payments/b", addrB)

		pass(silenceLimit - time.Millisecond)
		require.NoError(t, old.ctx.Err())
		pass(minBackoff + time.Millisecond)
		require.Error(t, old.ctx.Err(), "the stream is given up")
		require.Equal(t, addrA+" "+addrB, cc.addrs())
		require.Len(t, logs.with("no answer for 10s"), 2, "on its end and on recovery")
	})
}

func TestSession_AHangingWatchCallIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd := newFakeEtcd()
		etcd.put("payments/a", addrA)
		etcd.onWatch = func(n int, w *fakeWatch) {
			if n == 1 {
				<-w.ctx.Done()
			}
		}
		cc := dial(t, etcd.builder(t), "payments")
		pass(time.Second)
		etcd.put("payments/b", addrB)
		pass(silenceLimit)
		require.Equal(t, addrA+" "+addrB, cc.addrs())
		pass(openLimit)
	})
}

func TestSession_ErrorBeforeTheFirstList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd := newFakeEtcd()
		etcd.put("pay/ments/a", addrA)
		etcd.failGets(errHang)
		cc := dial(t, etcd.builder(t), "pay/ments")
		pass(listTimeout[0] + startTimeout)
		require.Equal(t, "etcd:///pay/ments: no list of pay/ments/ from etcd at [etcd-1:2379] yet: "+
			"no answer within 500ms: context deadline exceeded", cc.lastError())
		require.Zero(t, cc.updates())

		etcd.failGets(nil)
		pass(3 * time.Second)
		require.Equal(t, addrA, cc.addrs())
	})
}

func TestSession_TheLastListStaysThroughTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd, logs := newFakeEtcd(), &logLines{}
		etcd.put("payments/a", addrA)
		cc := dial(t, etcd.builder(t, WithLogger(logs.logger())), "payments")
		pass(time.Minute)
		etcd.failGets(errors.New("etcd is on fire"))
		etcd.last().finish()
		pass(time.Hour)
		require.Equal(t, addrA, cc.addrs())
		require.Equal(t, 1, cc.updates())
		require.Empty(t, cc.lastError())
		require.Len(t, logs.with("etcd is on fire"), 1, "once, not a thousand times")
		gets, _, _ := etcd.counts()
		require.InDelta(t, 3600/2.5, gets, 400, "waits of 0 to 5 s")

		etcd.put("payments/b", addrB)
		etcd.failGets(nil)
		pass(maxBackoff + settle)
		require.Equal(t, addrA+" "+addrB, cc.addrs())
	})
}

// longDown returns a channel and an etcd that is asked every 0 to 5 s in vain.
func longDown(t *testing.T) (*fakeEtcd, *fakeCC) {
	t.Helper()
	etcd := newFakeEtcd()
	etcd.failGets(errors.New("down"))
	cc := dial(t, etcd.builder(t), "payments")
	pass(time.Hour)
	return etcd, cc
}

func TestSession_WaitsAreShortAgainAfterHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd, _ := longDown(t)
		etcd.failGets(nil)
		pass(maxBackoff + healthyAfter)
		before, _, _ := etcd.counts()
		etcd.last().finish()
		pass(minBackoff)
		after, _, _ := etcd.counts()
		require.Equal(t, before+1, after)
	})
}

func TestSession_ResolveNowCutsAWaitShortOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd, cc := longDown(t)
		before, _, _ := etcd.counts()
		for range 10_000 {
			cc.resolver.ResolveNow(resolver.ResolveNowOptions{})
			pass(time.Millisecond)
		}
		after, _, _ := etcd.counts()
		require.GreaterOrEqual(t, after-before, 10)
		require.LessOrEqual(t, after-before, 10+2+10*2, "its own tries come on top")
	})
}

func TestSession_ResolveNowInPeaceIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd, cc := longDown(t)
		etcd.failGets(nil)
		pass(maxBackoff)
		before, _, _ := etcd.counts()
		cc.resolver.ResolveNow(resolver.ResolveNowOptions{})
		synctest.Wait()
		etcd.last().finish()
		synctest.Wait()
		after, _, _ := etcd.counts()
		require.Equal(t, before, after, "all clients would come back at the same moment")
	})
}
