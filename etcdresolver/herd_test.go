package etcdresolver

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
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
		for range leaderBackoff / (100 * time.Millisecond) {
			pass(100 * time.Millisecond)
			gets, _, _ := etcd.counts()
			require.Less(t, gets-before, clients/4)
			before = gets
		}
		require.Equal(t, began+clients, before, "and none is later")
	})
}
