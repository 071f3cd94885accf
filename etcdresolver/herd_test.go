package etcdresolver

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/connectivity"
)

// What happens to all clients of an etcd at once must not have all of them list at once.
func TestSession_ALostLeaderSpreadsTheLists(t *testing.T) {
	const clients = 200
	synctest.Test(t, func(t *testing.T) {
		etcd := newFakeEtcd()
		etcd.put("payments/a", addrA)
		for range clients {
			dial(t, etcd.builder(t), "payments")
		}
		pass(time.Minute)
		etcd.mu.Lock()
		watches := etcd.watches
		etcd.mu.Unlock()
		began, _, _ := etcd.counts()
		for _, w := range watches {
			w.send(clientv3.WatchResponse{Canceled: true, CancelReason: "etcdserver: no leader"})
		}
		before := began
		for range crowdSpread / (100 * time.Millisecond) {
			pass(100 * time.Millisecond)
			gets, _, _ := etcd.counts()
			require.Less(t, gets-before, clients/4)
			before = gets
		}
		require.Equal(t, began+clients, before, "and none is later")
	})
}

// When an outage ends all feeds of a client wait, and all other clients do so too.
func TestReconnect_WhoHasAListWaitsItsTurn(t *testing.T) {
	const services, feeds = 60, 3 * 60
	synctest.Test(t, func(t *testing.T) {
		etcd, conn := newFakeEtcd(), newFakeConn(connectivity.Ready)
		b := etcd.builderWith(newLink(conn), withOverrides, WithServiceConfig(""))
		etcd.put("new/a", addrB)
		for i := range services {
			service := fmt.Sprint("payments-", i)
			etcd.put(service+"/a", addrA)
			dial(t, b, service)
		}
		pass(time.Minute)
		etcd.failGets(errors.New("down"))
		for _, w := range etcd.watches {
			w.finish()
		}
		cc := dial(t, b, "new")
		pass(time.Minute) // waits are long now
		etcd.failGets(nil)
		before, _, _ := etcd.counts()
		conn.reconnect() // no wait for a timer
		require.Equal(t, addrB, cc.addrs(), "it had none: its calls fail")
		gets, _, _ := etcd.counts()
		require.Equal(t, before+3, gets, "all of it, and of no other")
		before = gets
		total := 0
		for range crowdSpread / (100 * time.Millisecond) {
			pass(100 * time.Millisecond)
			gets, _, _ = etcd.counts()
			require.Less(t, gets-before, feeds/4)
			total += gets - before
			before = gets
		}
		require.Equal(t, feeds, total, "and none is later")
		require.Less(t, resetInterval*3/2+crowdSpread+settle, 5*time.Second, "what is back is to be seen within 5 s")
	})
}

func TestReconnect_WhoHasAnEmptyListDoesNotWaitUnlessAGuardHoldsAnother(t *testing.T) {
	for _, hold := range []time.Duration{0, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			etcd, conn := newFakeEtcd(), newFakeConn(connectivity.Ready)
			etcd.put("payments/a", addrA)
			cc := dialAndWait(t, etcd.builderWith(newLink(conn), WithEmptyGuard(hold)))
			etcd.delete("payments/a")
			pass(time.Minute)
			etcd.failGets(errors.New("down"))
			etcd.last().finish()
			pass(time.Minute) // waits are long now
			etcd.unheard(change{"payments/b", addrB})
			etcd.failGets(nil)
			conn.reconnect()
			require.Equal(t, hold == 0, strings.Contains(cc.addrs(), addrB), "then its calls fail")
			pass(crowdSpread)
			require.Contains(t, cc.addrs(), addrB)
		})
	}
}

func TestReconnect_AWaitThatIsShortStaysShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd, conn := newFakeEtcd(), newFakeConn(connectivity.Ready)
		etcd.put("payments/a", addrA)
		dialAndWait(t, etcd.builderWith(newLink(conn)))
		etcd.last().finish()
		synctest.Wait()
		before, _, _ := etcd.counts()
		for range minBackoff / time.Millisecond {
			conn.reconnect() // it flaps
			pass(time.Millisecond)
		}
		after, _, _ := etcd.counts()
		require.Greater(t, after, before)
	})
}
