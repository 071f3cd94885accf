package e2e

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
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

// The new process registers while the old one on the same address still shuts
// down: from the first put to the last Close the key is never away.
func TestRegistry_LateShutdownOfThePredecessorLeavesTheKey(t *testing.T) {
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
	// The old one learns of it when it looks after its key, and keeps off.
	require.ErrorContains(t, old.Update(registryContext(t, 5*time.Second), attrs.Attrs{Weight: 3}), "another registration holds the key")
	require.NoError(t, old.Close(registryContext(t, 5*time.Second)))

	requireSteady(t, watching, registryKey, second.lease, 3*time.Second)
	puts, deletes := history.count()
	require.Equal(t, 1, puts)
	require.Zero(t, deletes)
	require.NoError(t, successor.Close(registryContext(t, 5*time.Second)))
	require.Zero(t, leaseCount(watching))
}

func TestRegistry_StaysInTheNamespaceOfItsClient(t *testing.T) {
	t.Parallel()
	server := localetcd.Start(t)
	client := registryClient(t, server.Addr())
	client.KV = namespace.NewKV(client.KV, "tenant/")
	client.Lease = namespace.NewLease(client.Lease, "tenant/")
	r := mustRegister(t, client, 20*time.Second, etcdregistry.Instance{Addr: registryAddr})
	requireEntry(t, server.Client(), "tenant/"+registryKey)
	require.NoError(t, r.Update(registryContext(t, 5*time.Second), attrs.Attrs{Weight: 3}))
	require.NoError(t, r.Close(registryContext(t, 5*time.Second)))
	requireNoEntry(t, server.Client(), "tenant/"+registryKey)
}

func TestRegistry_ManyInOneProcessSurviveARestartOfEtcd(t *testing.T) {
	t.Parallel()
	const many = 100
	process := localetcd.StartProcess(t)
	client := registryClient(t, process.Addr())
	prefix := etcdregistry.Key(registryService, "")
	count := func() int64 {
		got, err := client.Get(registryContext(t, 5*time.Second), prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
		if err != nil {
			return -1
		}
		return got.Count
	}

	registrations := make([]*etcdregistry.Registration, many)
	var starting sync.WaitGroup
	for i := range registrations {
		starting.Go(func() {
			inst := etcdregistry.Instance{Addr: fmt.Sprintf("10.0.0.7:%d", 1000+i)}
			var err error
			registrations[i], err = etcdregistry.Register(registryContext(t, 20*time.Second), client, registryService, inst,
				registryQuiet(20*time.Second)...)
			if err != nil {
				t.Error(err)
			}
		})
	}
	starting.Wait()
	require.False(t, t.Failed())
	require.EqualValues(t, many, count())

	require.NoError(t, process.Kill())
	require.NoError(t, process.Restart())
	require.Eventually(t, func() bool { return count() == many }, 10*time.Second, 50*time.Millisecond)

	var closing sync.WaitGroup
	for _, r := range registrations {
		closing.Go(func() {
			if err := r.Close(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	closing.Wait()
	require.Zero(t, count())
	require.Zero(t, leaseCount(client))
}
