package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/steelyard-go/steelyard/etcdregistry"
	"github.com/steelyard-go/steelyard/lab/localetcd"
)

// The rows of FAULTS.md that concern the registrar. The slack on a limit is for a
// machine that is busy with the rest of the suite.
const registrySlack = time.Second

// Row 10, at the registrar: etcd is down six times as long as the leases last.
func TestRegistry_Row10_AllRegisterAgainAfterAnOutage(t *testing.T) {
	t.Parallel()
	const alone, together, limit = 5, 20, 15 * time.Second
	process := localetcd.StartProcess(t)
	apart := make([]*etcdregistry.Registration, alone)
	for i := range apart {
		apart[i] = mustRegister(t, registryClient(t, process.Addr()), 5*time.Second,
			etcdregistry.Instance{Addr: fmt.Sprintf("10.0.0.8:%d", 1000+i)})
	}
	registrar := mustRegistrar(t, registryClient(t, process.Addr()), registryQuiet(5*time.Second)...)
	for i := range together {
		mustJoin(t, registrar, fmt.Sprintf("10.0.0.7:%d", 1000+i))
	}

	require.NoError(t, process.Kill())
	<-time.After(30 * time.Second) // the outage
	require.Equal(t, "reregistering", registrar.Stats().State)
	require.NoError(t, process.Restart())
	require.Eventually(t, func() bool {
		for _, r := range apart {
			if r.Stats().State != "registered" {
				return false
			}
		}
		return registrar.Stats().State == "registered" &&
			keyCount(process.Client()) == alone+together && leaseCount(process.Client()) == alone+1
	}, limit+registrySlack, 50*time.Millisecond)
	require.Equal(t, together, registrar.Stats().LeasesLost)
}

// Row 24: what is done by hand is noticed long before the audit, at the default TTL.
func TestRegistry_Row24_KeyDeletedAndLeaseRevokedByHand(t *testing.T) {
	t.Parallel()
	const limit = 3 * time.Second // for the deleted key, the contract says TTL/2+1s = 11s
	client := localetcd.Start(t).Client()
	r := mustRegister(t, client, 20*time.Second, etcdregistry.Instance{Addr: registryAddr})
	before := requireEntry(t, client, registryKey)
	back := func() bool { _, err := lookup(client, registryKey); return err == nil }

	_, err := client.Delete(registryContext(t, 5*time.Second), registryKey)
	require.NoError(t, err)
	require.Eventually(t, back, limit, 20*time.Millisecond)
	require.Equal(t, before, requireEntry(t, client, registryKey))
	require.Equal(t, 1, r.Stats().KeysLost)

	_, err = client.Revoke(registryContext(t, 5*time.Second), before.lease)
	require.NoError(t, err)
	require.Eventually(t, back, limit, 20*time.Millisecond)
	after := requireEntry(t, client, registryKey)
	require.NotEqual(t, before.lease, after.lease)
	require.Equal(t, before.inst, after.inst)
	require.Equal(t, 1, leaseCount(client))
	require.Equal(t, 1, r.Stats().LeasesLost)
}

// Row 28: without a leader nothing is renewed. Afterwards each lease that is left is
// one that a key is under.
func TestRegistry_Row28_NoLeaderLeavesNoGhostLease(t *testing.T) {
	t.Parallel()
	const ttl, servers = 5 * time.Second, 3
	cluster := localetcd.StartCluster(t)
	for i := range servers {
		mustRegister(t, registryClient(t, cluster.Endpoints()...), ttl,
			etcdregistry.Instance{Addr: fmt.Sprintf("10.0.0.7:%d", 1000+i)})
	}
	members := cluster.Members()
	require.NoError(t, members[1].Suspend())
	require.NoError(t, members[2].Suspend())
	<-time.After(10 * time.Second) // without a leader
	require.NoError(t, members[1].Resume())
	require.NoError(t, members[2].Resume())
	// At first the old leases are there, then for a moment the new ones too.
	<-time.After(2*ttl + registrySlack)
	require.Equal(t, servers, keyCount(cluster.Client()))
	require.Never(t, func() bool { return leaseCount(cluster.Client()) != servers }, ttl, 100*time.Millisecond)
	require.Equal(t, servers, keyCount(cluster.Client()))
}
