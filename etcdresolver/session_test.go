package etcdresolver

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/metadata"
)

// The addresses that tests use.
const (
	addrA = "10.0.0.1:80"
	addrB = "10.0.0.2:80"
	addrC = "10.0.0.3:80"
	addrD = "10.0.0.4:80"
)

func weighted(addr string, weight int) string {
	return fmt.Sprintf(`{"Op":0,"Addr":%q,"Metadata":{"weight":%d}}`, addr, weight)
}

func TestSession_FollowsChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd := newFakeEtcd()
		etcd.put("payments/b", addrB)
		etcd.put("payments/a", addrA)
		cc := dial(t, etcd.builder(t), "payments")
		synctest.Wait()
		require.Equal(t, addrA+" "+addrB, cc.addrs(), "the list comes at once, sorted")

		for _, step := range []struct {
			name string
			do   func()
			want string
		}{
			{"add", func() { etcd.put("payments/c", addrC) }, addrA + " " + addrB + " " + addrC},
			{"delete", func() { etcd.delete("payments/a") }, addrB + " " + addrC},
			{"move", func() { etcd.put("payments/c", addrA) }, addrA + " " + addrB},
			{"sibling", func() { etcd.put("payments-eu/x", addrC) }, addrA + " " + addrB},
			{"deeper", func() { etcd.put("payments/eu/x", addrC) }, addrA + " " + addrB},
		} {
			step.do()
			pass(settle)
			require.Equal(t, step.want, cc.addrs(), step.name)
		}
		gets, watches, _ := etcd.counts()
		require.Equal(t, 1, gets, "one list serves all that")
		require.Equal(t, 1, watches)
	})
}

func TestSession_WatchesFromTheListOnAStreamOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd := newFakeEtcd()
		revision := etcd.put("payments/a", addrA)
		b := etcd.builder(t)
		dial(t, b, "payments")
		dial(t, b, "orders")
		synctest.Wait()

		streams := make(map[string]bool)
		for _, w := range etcd.watches {
			md, _ := metadata.FromOutgoingContext(w.ctx)
			require.Equal(t, []string{"true"}, md[rpctypes.MetadataRequireLeaderKey])
			require.Equal(t, revision, w.op.Rev(), "from the revision after it a quiet etcd gives no sign of life")
			streams[fmt.Sprint(map[string][]string(md))] = true
		}
		require.Len(t, streams, 2)
	})
}

func TestSession_ChangesBetweenListAndWatchAreSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd := newFakeEtcd()
		etcd.put("payments/a", addrA)
		etcd.onWatch = func(n int, w *fakeWatch) { etcd.put("payments/b", addrB) }
		cc := dial(t, etcd.builder(t), "payments")
		pass(settle)
		require.Equal(t, addrA+" "+addrB, cc.addrs())
	})
}

func TestSession_OldEventsChangeNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd := newFakeEtcd()
		etcd.put("payments/a", weighted(addrA, 1))
		etcd.put("payments/b", addrB)
		etcd.put("payments/a", weighted(addrA, 2))
		cc := dial(t, etcd.builder(t), "payments")
		synctest.Wait()
		etcd.delete("payments/b")
		pass(settle)
		updates := cc.updates()

		etcd.last().send(clientv3.WatchResponse{Events: etcd.history[:2]}) // both puts once more
		pass(settle)
		require.Equal(t, addrA, cc.addrs())
		require.Equal(t, uint32(2), cc.attrs(addrA).Weight)
		require.Equal(t, updates, cc.updates())
	})
}

func TestSession_EqualListIsNotSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd := newFakeEtcd()
		etcd.put("payments/a", weighted(addrA, 3))
		cc := dial(t, etcd.builder(t), "payments")
		synctest.Wait()
		for name, do := range map[string]func(){
			"put again":               func() { etcd.put("payments/a", weighted(addrA, 3)) },
			"same in other words":     func() { etcd.put("payments/a", " "+weighted(addrA, 3)) },
			"delete and put together": func() { etcd.delete("payments/a"); etcd.put("payments/a", weighted(addrA, 3)) },
			"a new list":              func() { etcd.last().finish(); pass(minBackoff) },
			"a moved key":             func() { etcd.commit(change{"payments/a", ""}, change{"payments/z", weighted(addrA, 3)}) },
		} {
			do()
			pass(settle)
			require.Equal(t, 1, cc.updates(), name)
		}
	})
}

func TestSession_ABurstIsFewUpdates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd := newFakeEtcd()
		etcd.put("payments/a", weighted(addrA, 1))
		cc := dial(t, etcd.builder(t), "payments")
		synctest.Wait()

		began := time.Now()
		for i := range 1000 { // a second of changes, 1 ms apart
			etcd.put("payments/a", weighted(addrA, 2+i))
			pass(time.Millisecond)
		}
		pass(settle)
		require.LessOrEqual(t, cc.updates(), 1+6, "one in 200 ms")
		require.GreaterOrEqual(t, cc.updates(), 1+5, "a stream of changes does not starve the channels")
		require.Equal(t, uint32(1001), cc.attrs(addrA).Weight)
		require.Less(t, time.Since(began), 3*time.Second)
	})
}

func TestSession_ChangesWithPausesAreFewUpdatesToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd := newFakeEtcd()
		etcd.put("payments/a", weighted(addrA, 1))
		cc := dial(t, etcd.builder(t), "payments")
		pass(settle)
		for i := range 100 { // 3 s of changes, each longer after the other than the window
			etcd.put("payments/a", weighted(addrA, 2+i))
			pass(defaultDebounce * 3 / 2)
		}
		pass(settle)
		require.LessOrEqual(t, cc.updates(), 1+3*10+1, "ten a second")
		require.GreaterOrEqual(t, cc.updates(), 1+3*5)
		require.Equal(t, uint32(101), cc.attrs(addrA).Weight)
	})
}

func TestSession_DebounceIsTwentyMilliseconds(t *testing.T) {
	for window, opts := range map[time.Duration][]Option{
		20 * time.Millisecond: nil,
		50 * time.Millisecond: {WithDebounce(50 * time.Millisecond)},
		0:                     {WithDebounce(0)},
	} {
		synctest.Test(t, func(t *testing.T) {
			etcd := newFakeEtcd()
			etcd.put("payments/a", addrA)
			cc := dial(t, etcd.builder(t, opts...), "payments")
			pass(settle)
			etcd.put("payments/b", addrB)
			if window > 0 {
				pass(window - time.Millisecond)
				require.Equal(t, 1, cc.updates())
				pass(time.Millisecond)
			}
			synctest.Wait()
			require.Equal(t, 2, cc.updates())
		})
	}
}

func TestSession_OrderWithinATransactionDoesNotShow(t *testing.T) {
	add, remove := change{"payments/new", addrA}, change{"payments/old", ""}
	for name, changes := range map[string][]change{
		"add first":    {add, remove},
		"remove first": {remove, add},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				etcd := newFakeEtcd()
				etcd.put("payments/old", addrA)
				etcd.put("payments/other", addrB)
				cc := dial(t, etcd.builder(t), "payments")
				synctest.Wait()
				etcd.commit(append(changes, change{"payments/other", weighted(addrB, 2)})...)
				pass(settle)
				require.Equal(t, addrA+" "+addrB, cc.addrs())
				require.Equal(t, 2, cc.updates(), "the endpoint never left")
			})
		})
	}
}
