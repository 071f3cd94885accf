package e2e

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/steelyard-go/steelyard/attrs"
	"github.com/steelyard-go/steelyard/etcdregistry"
	"github.com/steelyard-go/steelyard/lab/localetcd"
)

func lookupOverride(t *testing.T, client *clientv3.Client) (etcdregistry.Override, bool) {
	t.Helper()
	key := etcdregistry.OverrideKey(registryService, registryAddr)
	got, err := client.Get(registryContext(t, 5*time.Second), key)
	require.NoError(t, err)
	if len(got.Kvs) == 0 {
		return etcdregistry.Override{}, false
	}
	o, err := etcdregistry.DecodeOverride(key, got.Kvs[0].Value)
	require.NoError(t, err)
	return o, true
}

func TestRegistry_OverrideOutlivesTheInstanceUntilItIsLifted(t *testing.T) {
	t.Parallel()
	client, ctx := localetcd.Start(t).Client(), registryContext(t, 20*time.Second)
	want := etcdregistry.Override{Weight: 3, Reason: "half of the disks are gone"}
	require.NoError(t, etcdregistry.SetOverride(ctx, client, registryService, registryAddr, want, 0))
	r := mustRegister(t, client, 5*time.Second, etcdregistry.Instance{Addr: registryAddr})
	require.NoError(t, r.Update(ctx, attrs.Attrs{Weight: 9}))
	require.NoError(t, r.Close(ctx))
	got, there := lookupOverride(t, client)
	require.True(t, there)
	require.Equal(t, want, got)

	lifted, err := etcdregistry.LiftOverride(ctx, client, registryService, registryAddr)
	require.NoError(t, err)
	require.True(t, lifted)
	lifted, err = etcdregistry.LiftOverride(ctx, client, registryService, registryAddr)
	require.NoError(t, err)
	require.False(t, lifted)
	require.Zero(t, leaseCount(client))
}

func TestRegistry_OverrideGoesAfterItsLimit(t *testing.T) {
	t.Parallel()
	client, ctx := localetcd.Start(t).Client(), registryContext(t, 20*time.Second)
	const limit = 2 * time.Second
	require.NoError(t, etcdregistry.SetOverride(ctx, client, registryService, registryAddr, etcdregistry.Override{Draining: true}, limit))
	_, there := lookupOverride(t, client)
	require.True(t, there)
	require.Eventually(t, func() bool { _, there := lookupOverride(t, client); return !there }, limit+2*time.Second, 50*time.Millisecond)
}

func TestRegistry_OverrideThatIsReplacedLeavesNoLease(t *testing.T) {
	t.Parallel()
	client, ctx := localetcd.Start(t).Client(), registryContext(t, 20*time.Second)
	for _, limit := range []time.Duration{time.Hour, 2 * time.Hour, 0, time.Hour} {
		require.NoError(t, etcdregistry.SetOverride(ctx, client, registryService, registryAddr, etcdregistry.Override{Weight: 3}, limit))
	}
	require.Equal(t, 1, leaseCount(client))
	_, err := etcdregistry.LiftOverride(ctx, client, registryService, registryAddr)
	require.NoError(t, err)
	require.Zero(t, leaseCount(client))
}

// A lease that somebody uses for other keys as well is not taken from them.
func TestRegistry_OverrideUnderASharedLeaseLeavesTheOtherKeys(t *testing.T) {
	t.Parallel()
	client, ctx := localetcd.Start(t).Client(), registryContext(t, 20*time.Second)
	shared, err := client.Grant(ctx, 60)
	require.NoError(t, err)
	for _, key := range []string{"other", etcdregistry.OverrideKey(registryService, registryAddr)} {
		_, err := client.Put(ctx, key, `{"draining":true}`, clientv3.WithLease(shared.ID))
		require.NoError(t, err)
	}
	lifted, err := etcdregistry.LiftOverride(ctx, client, registryService, registryAddr)
	require.NoError(t, err)
	require.True(t, lifted)
	got, err := client.Get(ctx, "other")
	require.NoError(t, err)
	require.Len(t, got.Kvs, 1)
}
