package e2e

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/namespace"
	"go.uber.org/zap"

	"github.com/steelyard-go/steelyard/etcdregistry"
	"github.com/steelyard-go/steelyard/lab/localetcd"
)

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
	discoverPutValue(t, plain, "staging/"+etcdregistry.OverrideKey(discoverService, "b"), `{"weight":7}`)
	h.awaitList(t, inPeace+slack, slices.Sorted(slices.Values([]string{servers[0].addr + "=1", servers[1].addr + "=7"}))...)
	_, err := plain.Delete(t.Context(), "staging/payments/a")
	require.NoError(t, err)
	channel.awaitReach(t, inPeace+slack, servers[1])
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

func TestResolver_CompactionInPeaceIsNotNoticed(t *testing.T) {
	s := newScene(t)
	s.etcd = localetcd.Start(s).Client()
	a, b := startPolicyServer(s), startPolicyServer(s)
	s.put(a)
	s.start(s.etcd.Endpoints(), a)
	discoverPut(s, s.etcd, a, 2)
	s.lists(inPeace, map[*policyServer]int{a: 2}) // the watch is there
	before := len(s.heard.logged("instances cause"))
	for range 3 {
		s.put(a)
		discoverCompact(s, s.etcd)
	}
	s.put(b)
	s.reach(inPeace, a, b)
	require.Len(s, s.heard.logged("instances cause"), before)
}
