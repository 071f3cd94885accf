package etcdresolver

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/connectivity"

	"github.com/steelyard-go/steelyard/etcdregistry"
)

// reconnect has the connection be lost and come up again.
func (c *fakeConn) reconnect() {
	for _, state := range []connectivity.State{connectivity.Idle, connectivity.Connecting, connectivity.Ready} {
		c.set(state)
		synctest.Wait()
	}
}

func TestReconnect_AWatchThatIsSilentAfterItIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd, conn := newFakeEtcd(), newFakeConn(connectivity.Ready)
		etcd.put("payments/a", addrA)
		b := etcd.builderWith(newLink(conn))
		cc := dialAndWait(t, b)
		pass(time.Minute)
		etcd.setMute(true) // the resumed watch is ahead of what was restored, say
		etcd.unheard(change{"payments/b", addrB})
		conn.reconnect()
		pass(doubtLimit + minBackoff)
		require.Equal(t, addrA+" "+addrB, cc.addrs())
		require.EqualValues(t, 1, only(t, b).Sessions["reconnected"])
		require.Equal(t, 1, etcd.live())
	})
}

// It may have been restored, and have passed the revision that was known.
func TestReconnect_AWatchThatAnswersIsReplacedToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd, conn := newFakeEtcd(), newFakeConn(connectivity.Ready)
		etcd.put("payments/a", addrA)
		cc := dialAndWait(t, etcd.builderWith(newLink(conn)))
		etcd.unheard(change{"payments/b", addrB})
		conn.reconnect()
		pass(doubtLimit + minBackoff)
		require.Equal(t, addrA+" "+addrB, cc.addrs())
		gets, watches, _ := etcd.counts()
		require.Equal(t, 2, gets)
		require.Equal(t, 2, watches)
	})
}

func TestReconnect_OneThatIsOverInAMomentCountsToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := newFakeConn(connectivity.Ready)
		ups := make(chan struct{}, 10)
		go newLink(conn).watch(t.Context(), func() { ups <- struct{}{} })
		synctest.Wait()
		require.Empty(t, ups, "it was up from the start")
		conn.set(connectivity.Connecting) // nobody looks before it is up again
		conn.set(connectivity.Ready)
		synctest.Wait()
		require.Len(t, ups, 1)
		conn.set(connectivity.Connecting)
		synctest.Wait()
		conn.set(connectivity.TransientFailure)
		synctest.Wait()
		conn.set(connectivity.Connecting)
		pass(time.Minute)
		require.Len(t, ups, 1)
		conn.set(connectivity.Ready)
		synctest.Wait()
		require.Len(t, ups, 2)
	})
}

func TestReconnect_BetweenListAndWatchCountsToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd, conn := newFakeEtcd(), newFakeConn(connectivity.Ready)
		etcd.put("payments/a", addrA)
		var once sync.Once
		decode := func(key string, value []byte) (etcdregistry.Instance, error) {
			once.Do(func() { // a long list takes a while to read
				etcd.restore(1)
				for range 5 {
					etcd.put("payments/b", addrB) // past what was listed
				}
				for _, state := range []connectivity.State{connectivity.Idle, connectivity.Connecting, connectivity.Ready} {
					conn.set(state)
					<-time.After(time.Millisecond) // of the bubble
				}
			})
			return etcdregistry.Decode(key, value)
		}
		cc := dial(t, etcd.builderWith(newLink(conn), WithDecoder(decode)), "payments")
		pass(doubtLimit + settle)
		require.Equal(t, addrB, cc.addrs())
	})
}

func TestReconnect_AListUnderWayIsOfTheNewConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd, conn := newFakeEtcd(), newFakeConn(connectivity.Ready)
		etcd.put("payments/a", addrA)
		etcd.onGetOf("payments/", func() error { <-time.After(100 * time.Millisecond); return nil })
		b := etcd.builderWith(newLink(conn))
		dialAndWait(t, b)
		conn.reconnect()
		pass(time.Minute)
		require.Empty(t, only(t, b).Sessions, "nobody doubts it")
	})
}
