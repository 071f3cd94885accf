package e2e

import (
	"context"
	"log/slog"
	"slices"
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
	{row: 26, name: "two owners of one key", limit: 5 * time.Second, play: playTwoOwners},
	{row: 27, name: "registrars at a follower that hangs 60 s, leases of 20 s", limit: inPeace, play: func(s *scene) { playHungWithRegistrars(s, time.Minute, follower) }},
	{row: 27, name: "registrars at a leader that hangs 25 s, leases of 20 s", limit: 15 * time.Second, play: func(s *scene) { playHungWithRegistrars(s, 25*time.Second, leader) }},
	{row: 27, name: "each of three members hangs 25 s in turn, leases of 20 s", limit: 15 * time.Second, long: true, play: func(s *scene) { playHungWithRegistrars(s, 25*time.Second, everyMember) }},
	{row: 28, name: "no leader for 10 s, leases of 5 s", limit: 10 * time.Second, play: func(s *scene) { playLeaderless(s, false) }},
	{row: 28, name: "no leader for 10 s, it hangs itself, leases of 5 s", limit: 10 * time.Second, play: func(s *scene) { playLeaderless(s, true) }},
	{row: 29, name: "registrar stopped for longer than its lease", limit: 5 * time.Second, play: playStopped},
	{row: 29, name: "registrar stopped for longer than its lease, another has its key", limit: 5 * time.Second, play: playReplacedWhileStopped},
}

// register registers an instance until the end of the scene.
func (s *scene) register(client *clientv3.Client, ttl time.Duration, inst etcdregistry.Instance) *etcdregistry.Registration {
	s.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	r, err := etcdregistry.Register(ctx, client, discoverService, inst,
		etcdregistry.WithTTL(ttl), etcdregistry.WithLogger(slog.New(slog.DiscardHandler)))
	require.NoError(s, err)
	s.Cleanup(func() { _ = r.Close(context.Background()) })
	return r
}

// registers gives each server a registration of its own, as processes have.
func (s *scene) registers(ttl time.Duration, addrs []string, servers ...*policyServer) []*etcdregistry.Registration {
	s.Helper()
	registrations := make([]*etcdregistry.Registration, len(servers))
	for i, server := range servers {
		registrations[i] = s.register(s.connect(clientv3.Config{Endpoints: addrs}), ttl, etcdregistry.Instance{Addr: server.addr})
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

// playHungWithRegistrars has members hang for longer than a lease lasts, one after the
// other. At the first are the keep-alives and watches of two registrars, of which one
// does not look after its connection: too few for the resolver to hold what they lose.
func playHungWithRegistrars(s *scene, hang time.Duration, choose func(*scene, *localetcd.Cluster) []*localetcd.Process) {
	const ttl = 20 * time.Second
	cluster := localetcd.StartCluster(s)
	s.etcd = cluster.Client()
	servers := startPolicyServers(s, 5)
	members := choose(s, cluster)
	for i, connect := range []func(clientv3.Config) *clientv3.Client{s.connect, s.connectOnly} {
		client := connect(clientv3.Config{Endpoints: []string{members[0].Addr()}})
		s.register(client, ttl, etcdregistry.Instance{Addr: servers[i].addr})
		client.SetEndpoints(cluster.Endpoints()...) // streams stay where they are
	}
	s.registers(ttl, cluster.Endpoints(), servers[2:]...)
	s.start(cluster.Endpoints(), servers...)

	for _, member := range members {
		before, led := s.births(), member == leaderWithout(nil, s, cluster)
		require.NoError(s, member.Suspend())
		s.keeps(hang, servers...)
		s.etcd = leaderWithout(member, s, cluster).Client()
		require.Equal(s, before, s.births(), "a key was away")
		require.NoError(s, member.Resume())
		s.settle(led, servers...)
		if !led {
			require.Equal(s, before, s.births(), "a key was away")
		}
	}
}

// settle requires that nothing changes after a member that hung goes on. But one that
// led may revoke at once all leases whose renewals it has missed (etcd issue 15247):
// then the servers make new ones, if need be after a request that it has kept hanging.
func (s *scene) settle(led bool, servers ...*policyServer) {
	s.Helper()
	if led {
		<-time.After(time.Second)
		s.stand(s.limit-time.Second, servers...)
	}
	s.reach(s.limit, servers...)
	s.keeps(time.Second, servers...)
}

func leader(s *scene, cluster *localetcd.Cluster) []*localetcd.Process {
	s.Helper()
	return []*localetcd.Process{leaderWithout(nil, s, cluster)}
}

func follower(s *scene, cluster *localetcd.Cluster) []*localetcd.Process {
	s.Helper()
	members := cluster.Members()
	if members[0] == leaderWithout(nil, s, cluster) {
		return members[1:2]
	}
	return members[:1]
}

func everyMember(_ *scene, cluster *localetcd.Cluster) []*localetcd.Process { return cluster.Members() }

func playLeaderless(s *scene, withLeader bool) {
	cluster := localetcd.StartCluster(s)
	s.etcd = cluster.Client()
	servers := startPolicyServers(s, 4)
	s.registers(5*time.Second, cluster.Endpoints(), servers...)
	s.start(cluster.Endpoints(), servers...)

	led := leaderWithout(nil, s, cluster)
	followers := slices.DeleteFunc(cluster.Members(), func(m *localetcd.Process) bool { return m == led })
	lost := followers // the leader stays, and soon leads nobody
	if withLeader {
		lost = []*localetcd.Process{led, followers[0]}
	}
	require.NoError(s, together(lost, (*localetcd.Process).Suspend))
	s.keeps(10*time.Second, servers...)
	require.NoError(s, together(lost, (*localetcd.Process).Resume))
	if withLeader {
		s.settle(true, servers...)
	} else {
		s.keeps(s.limit, servers...)
	}
	s.reach(s.limit, servers...)
	s.stand(s.limit, servers...)
}

// playStopped has a registrar stop that is a process of its own: its server goes on, but
// nobody keeps its key.
func playStopped(s *scene) {
	etcd := localetcd.Start(s)
	s.etcd = etcd.Client()
	servers := startPolicyServers(s, 3)
	others, orphan := servers[:2], servers[2]
	s.registers(20*time.Second, []string{etcd.Addr()}, others...)
	process := startRegistryChild(s.T, etcd.Addr(), etcdregistry.Instance{Addr: orphan.addr})
	s.start([]string{etcd.Addr()}, servers...)

	require.NoError(s, process.Suspend())
	s.flow(others...) // its lease has ended
	s.keeps(registryChildTTL, others...)
	require.NoError(s, process.Resume())
	s.reach(s.limit, servers...)
	s.keeps(2*registryChildTTL, servers...)
	require.Eventually(s, func() bool { return leaseCount(s.etcd) == len(servers) }, slack, tick, "a ghost lease")
}
