package e2e

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/client/v3/namespace"
	"go.etcd.io/etcd/client/v3/naming/endpoints"

	"github.com/steelyard-go/steelyard/attrs"
	"github.com/steelyard-go/steelyard/etcdregistry"
	"github.com/steelyard-go/steelyard/lab/localetcd"
)

func TestRegistry_EtcdsNamingPackageReadsWhatWeWrite(t *testing.T) {
	t.Parallel()
	client := localetcd.Start(t).Client()
	mustRegister(t, client, 20*time.Second, etcdregistry.Instance{Addr: registryAddr, Attrs: attrs.Attrs{Weight: 5, Zone: "eu-1a"}})
	official, err := endpoints.NewManager(client, registryService)
	require.NoError(t, err)
	list, err := official.List(registryContext(t, 5*time.Second))
	require.NoError(t, err)
	metadata, ok := list[registryKey].Metadata.(map[string]any)
	require.True(t, ok)
	require.NotEmpty(t, metadata["steelyard.owner"])
	require.NotEmpty(t, metadata["steelyard.started"])
	delete(metadata, "steelyard.owner")
	delete(metadata, "steelyard.started")
	require.Equal(t, endpoints.Key2EndpointMap{registryKey: {
		Addr:     registryAddr,
		Metadata: map[string]any{"weight": 5.0, "zone": "eu-1a", "draining": false},
	}}, list)
}

func TestRegistry_WeReadWhatEtcdsNamingPackageWrites(t *testing.T) {
	t.Parallel()
	client := localetcd.Start(t).Client()
	official, err := endpoints.NewManager(client, registryService)
	require.NoError(t, err)
	for _, c := range []struct {
		metadata any
		want     attrs.Attrs
	}{
		{nil, attrs.Attrs{}},
		{"a string", attrs.Attrs{}},
		{map[string]any{"weight": 3, "zone": "eu", "version": "1"}, attrs.Attrs{Weight: 3, Zone: "eu", Labels: map[string]string{"version": "1"}}},
		{map[string]string{"weight": "3", "draining": "true"}, attrs.Attrs{Weight: 3, Draining: true}},
		{struct{ Weight int }{Weight: 3}, attrs.Attrs{Labels: map[string]string{"Weight": "3"}}},
	} {
		endpoint := endpoints.Endpoint{Addr: registryAddr, Metadata: c.metadata}
		require.NoError(t, official.AddEndpoint(registryContext(t, 5*time.Second), registryKey, endpoint))
		require.Equal(t, etcdregistry.Instance{ID: registryAddr, Addr: registryAddr, Attrs: c.want},
			requireEntry(t, client, registryKey).inst)
	}
}

func TestRegistry_UpdateKeepsTheLease(t *testing.T) {
	t.Parallel()
	client := localetcd.Start(t).Client()
	r := mustRegister(t, client, 20*time.Second, etcdregistry.Instance{Addr: registryAddr, Attrs: attrs.Attrs{Weight: 1}})
	before := requireEntry(t, client, registryKey)
	history := watchKey(t, client, registryKey)
	want := attrs.Attrs{Weight: 8, Zone: "eu-1a", Draining: true, Labels: map[string]string{"version": "2"}}
	require.NoError(t, r.Update(registryContext(t, 5*time.Second), want))
	after := requireEntry(t, client, registryKey)
	require.Equal(t, want, after.inst.Attrs)
	require.Equal(t, before.lease, after.lease)
	require.Eventually(t, func() bool { puts, _ := history.count(); return puts == 1 }, 5*time.Second, 10*time.Millisecond)
	_, deletes := history.count()
	require.Zero(t, deletes)
	require.Equal(t, 1, leaseCount(client))
}

func TestRegistry_CloseMarksThenDeletesAndLeavesNothing(t *testing.T) {
	t.Parallel()
	client := localetcd.Start(t).Client()
	r := mustRegister(t, client, 20*time.Second, etcdregistry.Instance{Addr: registryAddr})
	history := watchKey(t, client, registryKey)
	require.NoError(t, r.Close(registryContext(t, 5*time.Second)))
	requireNoEntry(t, client, registryKey)
	require.Zero(t, leaseCount(client))
	require.Eventually(t, func() bool { _, deletes := history.count(); return deletes == 1 }, 5*time.Second, 10*time.Millisecond)
	marked, err := etcdregistry.Decode(registryKey, history.first())
	require.NoError(t, err)
	require.True(t, marked.Draining)
}

func TestRegistry_StaysInTheNamespaceOfItsClient(t *testing.T) {
	t.Parallel()
	server := localetcd.Start(t)
	client := registryClient(t, server.Addr())
	client.KV = namespace.NewKV(client.KV, "tenant/")
	client.Lease = namespace.NewLease(client.Lease, "tenant/")
	client.Watcher = namespace.NewWatcher(client.Watcher, "tenant/")
	r := mustRegister(t, client, 20*time.Second, etcdregistry.Instance{Addr: registryAddr})
	requireEntry(t, server.Client(), "tenant/"+registryKey)
	_, err := client.Delete(registryContext(t, 5*time.Second), registryKey)
	require.NoError(t, err)
	require.Eventually(t, func() bool { _, err := lookup(client, registryKey); return err == nil }, 3*time.Second, 10*time.Millisecond)
	require.NoError(t, r.Update(registryContext(t, 5*time.Second), attrs.Attrs{Weight: 3}))
	require.NoError(t, r.Close(registryContext(t, 5*time.Second)))
	requireNoEntry(t, server.Client(), "tenant/"+registryKey)
}

// Hundreds of registrations are one lease and one stream of watches.
func TestRegistry_ManyOnOneRegistrarSurviveARestartOfEtcd(t *testing.T) {
	t.Parallel()
	const many = 300
	process := localetcd.StartProcess(t)
	client := registryClient(t, process.Addr())
	registrar := mustRegistrar(t, client, registryQuiet(20*time.Second)...)
	registrations := make([]*etcdregistry.Registration, many)
	var starting sync.WaitGroup
	for i := range registrations {
		starting.Go(func() {
			inst := etcdregistry.Instance{Addr: fmt.Sprintf("10.0.0.7:%d", 1000+i)}
			var err error
			registrations[i], err = registrar.Register(registryContext(t, 20*time.Second), registryService, inst)
			if err != nil {
				t.Error(err)
			}
		})
	}
	starting.Wait()
	require.False(t, t.Failed())
	require.Equal(t, many, keyCount(client))
	require.Equal(t, 1, leaseCount(client))

	require.NoError(t, process.Kill())
	require.NoError(t, process.Restart())
	require.Eventually(t, func() bool { return keyCount(client) == many }, 10*time.Second, 50*time.Millisecond)

	for _, r := range registrations[:3] {
		require.NoError(t, r.Close(context.Background()))
	}
	require.Equal(t, many-3, keyCount(client))
	require.Equal(t, 1, leaseCount(client))
	begin := time.Now()
	require.NoError(t, registrar.Close(context.Background()))
	require.Less(t, time.Since(begin), 3500*time.Millisecond)
	require.Zero(t, keyCount(client))
	require.Zero(t, leaseCount(client))
}

func TestRegistry_LastRegistrationTakesTheLeaseWithIt(t *testing.T) {
	t.Parallel()
	client := localetcd.Start(t).Client()
	registrar := mustRegistrar(t, client, registryQuiet(20*time.Second)...)
	for range 2 {
		first, second := mustJoin(t, registrar, "10.0.0.7:1"), mustJoin(t, registrar, "10.0.0.7:2")
		require.NoError(t, first.Close(context.Background()))
		require.Equal(t, 1, keyCount(client))
		require.Equal(t, 1, leaseCount(client))
		require.NoError(t, second.Close(context.Background()))
		require.Zero(t, keyCount(client))
		require.Zero(t, leaseCount(client))
	}
}
