package e2e

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/namespace"

	"github.com/steelyard-go/steelyard/etcdregistry"
	"github.com/steelyard-go/steelyard/lab/localetcd"
)

// tenant wraps a client of its own with etcd's namespace package.
func tenant(t *testing.T, server *localetcd.Server) *clientv3.Client {
	t.Helper()
	client := registryClient(t, server.Addr())
	client.KV = namespace.NewKV(client.KV, "tenant/")
	client.Lease = namespace.NewLease(client.Lease, "tenant/")
	client.Watcher = namespace.NewWatcher(client.Watcher, "tenant/")
	return client
}

// The keys outside its namespace are hidden from the client, the lease is not.
func TestRegistry_OverrideInANamespaceLeavesTheKeysOutside(t *testing.T) {
	t.Parallel()
	server := localetcd.Start(t)
	all, ctx := server.Client(), registryContext(t, 20*time.Second)
	client := tenant(t, server)
	shared, err := all.Grant(ctx, 60)
	require.NoError(t, err)
	putByHand := func(key string) {
		_, err := all.Put(ctx, key, `{"draining":true}`, clientv3.WithLease(shared.ID))
		require.NoError(t, err)
	}
	override := "tenant/" + etcdregistry.OverrideKey(registryService, registryAddr)
	putByHand("outside")
	putByHand(override)
	require.NoError(t, etcdregistry.SetOverride(ctx, client, registryService, registryAddr, etcdregistry.Override{Weight: 3}, 0))
	putByHand(override)
	lifted, err := etcdregistry.LiftOverride(ctx, client, registryService, registryAddr)
	require.NoError(t, err)
	require.True(t, lifted)
	got, err := all.Get(ctx, "outside")
	require.NoError(t, err)
	require.Len(t, got.Kvs, 1)
}

func TestRegistry_OverrideInANamespaceLeavesNoLease(t *testing.T) {
	t.Parallel()
	server := localetcd.Start(t)
	client, ctx := tenant(t, server), registryContext(t, 20*time.Second)
	for _, limit := range []time.Duration{time.Hour, 2 * time.Hour, 0, time.Hour} {
		require.NoError(t, etcdregistry.SetOverride(ctx, client, registryService, registryAddr, etcdregistry.Override{Weight: 3}, limit))
	}
	require.Equal(t, 1, leaseCount(client))
	_, err := etcdregistry.LiftOverride(ctx, client, registryService, registryAddr)
	require.NoError(t, err)
	require.Zero(t, leaseCount(client))
}
