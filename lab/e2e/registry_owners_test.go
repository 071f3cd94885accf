package e2e

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/client/v3/naming/endpoints"

	"github.com/steelyard-go/steelyard/attrs"
	"github.com/steelyard-go/steelyard/etcdregistry"
	"github.com/steelyard-go/steelyard/lab/localetcd"
)

// Row 25: the new process registers while the old one on the same address still
// shuts down: from the first put to the last Close the key is never away.
func TestRegistry_Row25_LateShutdownOfThePredecessorLeavesTheKey(t *testing.T) {
	t.Parallel()
	server := localetcd.Start(t)
	watching := server.Client()
	old := mustRegister(t, registryClient(t, server.Addr()), 2*time.Second, etcdregistry.Instance{Addr: registryAddr})
	first := requireEntry(t, watching, registryKey)
	history := watchKey(t, watching, registryKey)

	successor := mustRegister(t, registryClient(t, server.Addr()), 2*time.Second,
		etcdregistry.Instance{Addr: registryAddr, Attrs: attrs.Attrs{Weight: 7}})
	second := requireEntry(t, watching, registryKey)
	require.NotEqual(t, first.lease, second.lease)
	require.ErrorContains(t, old.Update(registryContext(t, 5*time.Second), attrs.Attrs{Weight: 3}), "another registration holds the key")
	require.NoError(t, old.Close(registryContext(t, 5*time.Second)))

	requireSteady(t, watching, registryKey, second.lease, 3*time.Second)
	puts, deletes := history.count()
	require.Equal(t, 1, puts)
	require.Zero(t, deletes)
	require.NoError(t, successor.Close(registryContext(t, 5*time.Second)))
	require.Zero(t, leaseCount(watching))
}

// Row 25 with a predecessor that deletes the key whoever holds it, as etcd's own
// naming package does: that gap nobody can prevent, but it is short.
func TestRegistry_Row25_ForeignShutdownThatDeletesTheKeyIsMended(t *testing.T) {
	t.Parallel()
	client := localetcd.Start(t).Client()
	official, err := endpoints.NewManager(client, registryService)
	require.NoError(t, err)
	ctx := registryContext(t, 20*time.Second)
	require.NoError(t, official.AddEndpoint(ctx, registryKey, endpoints.Endpoint{Addr: registryAddr}))
	mustRegister(t, client, 20*time.Second, etcdregistry.Instance{Addr: registryAddr})
	require.NoError(t, official.DeleteEndpoint(ctx, registryKey))
	require.Eventually(t, func() bool { return keyCount(client) == 1 }, registrySlack, 10*time.Millisecond)
}

// A registration leaves, the other is there again 30s later at most.
func TestRegistry_OlderOwnerTakesTheKeyUpOnceItIsFree(t *testing.T) {
	t.Parallel()
	if !*long {
		t.Skip("takes 30s: run with -long")
	}
	server := localetcd.Start(t)
	mustRegister(t, registryClient(t, server.Addr()), 5*time.Second, etcdregistry.Instance{Addr: registryAddr, Attrs: attrs.Attrs{Weight: 1}})
	newer := mustRegister(t, registryClient(t, server.Addr()), 5*time.Second, etcdregistry.Instance{Addr: registryAddr})
	require.NoError(t, newer.Close(context.Background()))
	require.Eventually(t, func() bool { return keyCount(server.Client()) == 1 }, 30*time.Second+registrySlack, 50*time.Millisecond)
	require.EqualValues(t, 1, requireEntry(t, server.Client(), registryKey).inst.Weight)
}
