package e2e

import (
	"context"
	"slices"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/steelyard-go/steelyard/etcdresolver"
	"github.com/steelyard-go/steelyard/lab/localetcd"
)

// guardHold is long enough to be told from what is not held at all.
const guardHold = 4 * time.Second

var guardFaults = []fault{
	{row: 20, name: "prefix deleted, then all register again", limit: inPeace, play: playPrefixDeleted},
	{row: 20, name: "prefix deleted, one registers again", limit: guardHold, play: playPrefixRefilled},
	{row: 20, name: "prefix deleted for good", limit: guardHold, play: playPrefixGone},
	{row: 21, name: "60% of the leases revoked, half come back", limit: guardHold, play: playLeasesRevoked},
}

// playBeforeDelete has n servers found by a resolver with guards of guardHold.
func (s *scene) playBeforeDelete(n int, opts ...etcdresolver.Option) []*policyServer {
	s.Helper()
	etcd := localetcd.Start(s)
	s.etcd = etcd.Client()
	servers := startPolicyServers(s, n)
	s.put(servers...)
	s.dial(s.connect(clientv3.Config{Endpoints: []string{etcd.Addr()}}), opts...)
	s.flow(servers...)
	return servers
}

func (s *scene) deletePrefix() {
	s.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), etcdTimeout)
	defer cancel()
	_, err := s.etcd.Delete(ctx, discoverService+"/", clientv3.WithPrefix())
	require.NoError(s, err)
}

// The guards are as they are unless told.
func playPrefixDeleted(s *scene) {
	servers := s.playBeforeDelete(3)
	s.deletePrefix()
	s.keeps(guardHold, servers...)
	s.logs(0, 1, "held=3")
	s.put(servers...)
	s.reach(s.limit, servers...)
	s.keeps(time.Second, servers...)
	if s.under.asserted {
		require.Zero(s, s.stats().Held)
	}
}

// The one who is back is proof that the others may be on their way: they are held
// for as long as that takes, not for as long as an empty service.
func playPrefixRefilled(s *scene) {
	servers := s.playBeforeDelete(3, etcdresolver.WithEmptyGuard(time.Hour), etcdresolver.WithShrinkGuard(guardHold))
	s.deletePrefix()
	s.keeps(time.Second, servers...)
	s.put(servers[0])
	s.keeps(guardHold-slack, servers...)
	s.reach(slack, servers[0])
}

func playPrefixGone(s *scene) {
	servers := s.playBeforeDelete(3, etcdresolver.WithEmptyGuard(guardHold), etcdresolver.WithShrinkGuard(guardHold/4))
	s.deletePrefix()
	s.keeps(guardHold-slack, servers...)
	s.end() // from now on calls may fail
	s.lists(slack, nil)
	fresh := startPolicyServer(s)
	s.put(fresh)
	s.reach(inPeace, fresh)
}

func playLeasesRevoked(s *scene) {
	etcd := localetcd.Start(s)
	s.etcd = etcd.Client()
	servers := startPolicyServers(s, 10)
	s.put(servers[6:]...)
	revoke := s.lease(time.Minute, servers[:6]...)
	s.dial(s.connect(clientv3.Config{Endpoints: []string{etcd.Addr()}}), etcdresolver.WithShrinkGuard(guardHold))
	s.flow(servers...)

	revoke()
	s.keeps(time.Second, servers...)
	s.logs(0, 1, "held=")
	s.put(servers[:3]...)
	s.keeps(guardHold-time.Second-2*slack, servers...)
	s.reach(2*slack, slices.Concat(servers[:3], servers[6:])...)
	if s.under.asserted {
		require.Zero(s, s.stats().Held)
	}
}
