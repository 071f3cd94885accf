package e2e

import (
	"context"
	"log/slog"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/steelyard-go/steelyard/etcdregistry"
	"github.com/steelyard-go/steelyard/lab/localetcd"
)

// Rows of the registrar as calls see them. What the registrar itself does is in
// registry_*_test.go.
var registeredFaults = []fault{
	{row: 10, name: "etcd down 30 s, leases of 5 s", limit: 15 * time.Second, play: playLeasesRunOut},
	{row: 24, name: "a key deleted, a lease revoked by hand", limit: 11 * time.Second, play: playUndoneByHand},
	{row: 25, name: "restart on the same address, the shutdown of the old process is late", limit: 500 * time.Millisecond, play: playLateShutdown},
	{row: 28, name: "no leader for 10 s, leases of 5 s", limit: 10 * time.Second, play: playLeaderless},
}

// registers gives each server a registration of its own, as processes have.
func (s *scene) registers(ttl time.Duration, addrs []string, servers ...*policyServer) []*etcdregistry.Registration {
	s.Helper()
	registrations := make([]*etcdregistry.Registration, len(servers))
	for i, server := range servers {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		r, err := etcdregistry.Register(ctx, s.connect(clientv3.Config{Endpoints: addrs}), discoverService,
			etcdregistry.Instance{Addr: server.addr}, etcdregistry.WithTTL(ttl), etcdregistry.WithLogger(slog.New(slog.DiscardHandler)))
		cancel()
		require.NoError(s, err)
		s.Cleanup(func() { _ = r.Close(context.Background()) })
		registrations[i] = r
	}
	return registrations
}

// stand waits until the servers' keys are in etcd.
func (s *scene) stand(limit time.Duration, servers ...*policyServer) {
	s.Helper()
	require.Eventually(s, func() bool {
		for _, server := range servers {
			if _, err := lookup(s.etcd, etcdregistry.Key(discoverService, server.addr)); err != nil {
				return false
			}
		}
		return true
	}, limit+slack, tick)
}

func playLeasesRunOut(s *scene) {
	etcd := localetcd.StartProcess(s)
	s.etcd = etcd.Client()
	servers := startPolicyServers(s, 4)
	s.registers(5*time.Second, []string{etcd.Addr()}, servers...)
	s.start([]string{etcd.Addr()}, servers...)

	require.NoError(s, etcd.Kill())
	s.keeps(30*time.Second, servers...)
	require.NoError(s, etcd.Restart())
	s.keeps(s.limit, servers...) // etcd gives the leases another TTL, the servers make new ones
	s.reach(s.limit, servers...)
	s.stand(time.Second, servers...)
	if s.under.asserted {
		require.Eventually(s, func() bool { return s.stats().Held == 0 }, 5*time.Second, tick)
		require.NotContains(s, s.heard.sizes(), 0)
	}
}

func playUndoneByHand(s *scene) {
	etcd := localetcd.Start(s)
	s.etcd = etcd.Client()
	servers := startPolicyServers(s, 3)
	s.registers(20*time.Second, []string{etcd.Addr()}, servers...)
	s.start([]string{etcd.Addr()}, servers...)

	s.remove(servers[0])
	s.stand(s.limit, servers...)
	s.reach(inPeace, servers...)
	entry, err := lookup(s.etcd, etcdregistry.Key(discoverService, servers[1].addr))
	require.NoError(s, err)
	_, err = s.etcd.Revoke(context.Background(), entry.lease)
	require.NoError(s, err)
	s.stand(3*time.Second, servers...)
	s.reach(inPeace, servers...)
}

// The servers themselves stay: what matters is that their keys do.
func playLateShutdown(s *scene) {
	etcd := localetcd.Start(s)
	s.etcd = etcd.Client()
	servers := startPolicyServers(s, 2)
	before := s.registers(5*time.Second, []string{etcd.Addr()}, servers...)
	s.start([]string{etcd.Addr()}, servers...)

	s.registers(5*time.Second, []string{etcd.Addr()}, servers...)
	s.keeps(time.Second, servers...)
	for _, r := range before {
		require.NoError(s, r.Close(context.Background()))
	}
	s.keeps(7*time.Second, servers...) // longer than the old leases
	s.reach(s.limit, servers...)
	if s.under.asserted {
		for _, size := range s.heard.sizes() {
			require.Equal(s, len(servers), size, "a gap")
		}
	}
}

func playLeaderless(s *scene) {
	cluster := localetcd.StartCluster(s)
	s.etcd = cluster.Client()
	servers := startPolicyServers(s, 4)
	s.registers(5*time.Second, cluster.Endpoints(), servers...)
	s.start(cluster.Endpoints(), servers...)

	lost := cluster.Members()[1:]
	require.NoError(s, together(lost, (*localetcd.Process).Suspend))
	s.keeps(10*time.Second, servers...)
	require.NoError(s, together(lost, (*localetcd.Process).Resume))
	s.keeps(s.limit, servers...)
	s.reach(s.limit, servers...)
	s.stand(s.limit, servers...)
}
