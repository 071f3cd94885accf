package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/namespace"
	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/steelyard-go/steelyard/etcdregistry"
	"github.com/steelyard-go/steelyard/lab/localetcd"
)

func TestResolver_ChangesInPeaceReachTheCalls(t *testing.T) {
	client := localetcd.Start(t).Client()
	servers := startPolicyServers(t, 3)
	a, b, c := servers[0], servers[1], servers[2]
	discoverPut(t, client, a, 1)
	discoverPut(t, client, b, 1)
	h := newHeard(client)
	channel := dialHeard(t, h, discoverService, stockRoundRobin)
	channel.awaitReach(t, 2*time.Second, a, b)
	requireNoneFailed := channel.steadyCalls(t)

	discoverPut(t, client, c, 1)
	channel.awaitReach(t, inPeace, a, b, c)
	discoverDelete(t, client, a)
	channel.awaitReach(t, inPeace, b, c)

	accepted, closed := connections(servers[1:])
	want := []string{b.addr + "=7", c.addr + "=1"}
	if b.addr > c.addr {
		want[0], want[1] = want[1], want[0]
	}
	discoverPut(t, client, b, 7)
	h.awaitList(t, inPeace, want...)
	channel.awaitReach(t, inPeace, b, c)
	requireNoneFailed()
	acceptedAfter, closedAfter := connections(servers[1:])
	require.Equal(t, accepted, acceptedAfter, "a weight costs no connection")
	require.Equal(t, closed, closedAfter)
	require.Len(t, h.logged("synced"), 1, "one list served all that")
}

func TestResolver_EmptyServiceFailsFastThenServes(t *testing.T) {
	client := localetcd.Start(t).Client()
	server := startPolicyServer(t)
	channel := dialHeard(t, newHeard(client), discoverService, stockPickFirst)

	for range 2 { // never filled, and emptied
		want := "etcd:///payments: no instances registered under payments/ in etcd at [" + client.Endpoints()[0] + "]"
		require.Eventually(t, func() bool {
			_, err := channel.call(5 * time.Second)
			return status.Code(err) == codes.Unavailable && strings.Contains(err.Error(), want)
		}, inPeace, tick)

		discoverPut(t, client, server, 1)
		channel.awaitReach(t, inPeace, server)
		discoverDelete(t, client, server)
	}
}

func TestResolver_BadValuesCostTheirKeysOnly(t *testing.T) {
	client := localetcd.Start(t).Client()
	server := startPolicyServer(t)
	discoverPut(t, client, server, 3)
	discoverPutValue(t, client, "payments/empty", "{}")
	discoverPutValue(t, client, "payments/nonsense", "nonsense")
	discoverPutValue(t, client, "payments/weight", `{"Addr":"10.0.0.1:80","Metadata":{"weight":-1}}`)
	discoverPutValue(t, client, "payments/twin", server.addr) // the newer key of the same address
	h := newHeard(client)
	channel := dialHeard(t, h, discoverService, stockRoundRobin)
	channel.awaitReach(t, 2*time.Second, server)
	requireNoneFailed := channel.steadyCalls(t)
	require.Equal(t, []string{server.addr + "=1"}, h.list())
	require.Len(t, h.logged("value refused"), 3)

	_, err := client.Delete(t.Context(), "payments/twin")
	require.NoError(t, err)
	h.awaitList(t, inPeace, server.addr+"=3")
	discoverPutValue(t, client, etcdregistry.Key(discoverService, server.addr), "{") // a good value overwritten
	require.Eventually(t, func() bool { return len(h.logged("last_good_kept=true")) == 1 }, inPeace, tick)
	discoverPut(t, client, server, 4)
	h.awaitList(t, inPeace, server.addr+"=4")
	requireNoneFailed()
}

func TestResolver_SiblingsAreNotSeen(t *testing.T) {
	client := localetcd.Start(t).Client()
	server, stranger := startPolicyServer(t), startPolicyServer(t)
	discoverPut(t, client, server, 1)
	for _, key := range []string{"payments", "payments-eu/x", "payments/eu/x", "payments0/x", "my/payments/x"} {
		discoverPutValue(t, client, key, stranger.addr)
	}
	h := newHeard(client)
	channel := dialHeard(t, h, discoverService, stockRoundRobin)
	channel.awaitReach(t, 2*time.Second, server)
	for _, key := range []string{"payments-eu/y", "payments/eu/y"} {
		discoverPutValue(t, client, key, stranger.addr)
	}
	discoverPut(t, client, server, 2) // seen after the others
	h.awaitList(t, inPeace, server.addr+"=2")
	require.Zero(t, stranger.calls.Load())

	deeper := dialHeard(t, h, "payments/eu", stockRoundRobin)
	deeper.awaitReach(t, 2*time.Second, stranger)
}

func TestResolver_NamespacedClient(t *testing.T) {
	etcd := localetcd.Start(t)
	plain, inside := etcd.Client(), discoverClient(t, etcd.Addr())
	inside.KV = namespace.NewKV(inside.KV, "staging/")
	inside.Watcher = namespace.NewWatcher(inside.Watcher, "staging/")
	servers := startPolicyServers(t, 2)
	discoverPutValue(t, plain, "staging/payments/a", servers[0].addr)
	discoverPutValue(t, plain, "payments/b", servers[1].addr)
	h := newHeard(inside)
	channel := dialHeard(t, h, discoverService, stockRoundRobin)
	channel.awaitReach(t, 2*time.Second, servers[0])
	discoverPutValue(t, plain, "staging/payments/b", servers[1].addr)
	channel.awaitReach(t, inPeace, servers...)
	_, err := plain.Delete(t.Context(), "staging/payments/a")
	require.NoError(t, err)
	channel.awaitReach(t, inPeace, servers[1])
	require.Len(t, h.logged("synced"), 1)
}

// The first watchdog would strike after ten seconds.
func TestResolver_QuietEtcdIsNoSilence(t *testing.T) {
	t.Parallel()
	client := localetcd.Start(t).Client()
	server := startPolicyServer(t)
	discoverPut(t, client, server, 1)
	h := newHeard(client)
	dialHeard(t, h, discoverService, stockRoundRobin).awaitReach(t, 2*time.Second, server)
	require.Never(t, func() bool { return len(h.logged("degraded")) > 0 }, 12*time.Second, 200*time.Millisecond)
}

// The client takes 32 KiB a message, less than a page of 1,000 keys: asked for
// in smaller ones, the list gets through all the same.
func TestResolver_ManyEndpointsInPages(t *testing.T) {
	const services, batch = 2500, 100 // one transaction of etcd takes 128 operations
	etcd := localetcd.Start(t)
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{etcd.Addr()}, MaxCallRecvMsgSize: 32 << 10, Logger: zap.NewNop()})
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	for first := 0; first < services; first += batch {
		var puts []clientv3.Op
		for i := first; i < first+batch; i++ {
			addr := fmt.Sprintf("10.0.%d.%d:80", i/250, i%250)
			puts = append(puts, clientv3.OpPut(etcdregistry.Key(discoverService, addr), addr))
		}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		_, err := client.Txn(ctx).Then(puts...).Commit()
		cancel()
		require.NoError(t, err)
	}
	h := newHeard(client)
	dialHeard(t, h, discoverService, stockPickFirst).Connect()
	require.Eventually(t, func() bool { return len(h.list()) == services }, 2*time.Second, tick)
	require.Equal(t, []int{services}, h.sizes(), "one update, no part of it before")
}
