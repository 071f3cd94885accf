package e2e

import (
	"context"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/steelyard-go/steelyard/etcdregistry"
	"github.com/steelyard-go/steelyard/lab/localetcd"
)

// claimedID is the id under which more than one server registers. They have different
// addresses, so that calls show whose the key is.
const claimedID = "claimed"

// claims registers a server under claimedID.
func (s *scene) claims(ttl time.Duration, addr string, server *policyServer) *etcdregistry.Registration {
	s.Helper()
	client := s.connect(clientv3.Config{Endpoints: []string{addr}})
	return s.register(client, ttl, etcdregistry.Instance{ID: claimedID, Addr: server.addr})
}

// claimed returns the key of claimedID as it stands.
func (s *scene) claimed() *mvccpb.KeyValue {
	s.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), etcdTimeout)
	defer cancel()
	got, err := s.etcd.Get(ctx, etcdregistry.Key(discoverService, claimedID))
	require.NoError(s, err)
	require.Len(s, got.Kvs, 1)
	return got.Kvs[0]
}

// playTwoOwners has the newer of two owners take the key, and then defend it.
func playTwoOwners(s *scene) {
	const ttl = 5 * time.Second
	etcd := localetcd.Start(s)
	s.etcd = etcd.Client()
	bystander, older, newer := startPolicyServer(s), startPolicyServer(s), startPolicyServer(s)
	s.registers(ttl, []string{etcd.Addr()}, bystander)
	loser := s.claims(ttl, etcd.Addr(), older)
	s.start([]string{etcd.Addr()}, bystander, older)

	before := s.claimed()
	winner := s.claims(ttl, etcd.Addr(), newer)
	s.reach(s.limit, bystander, newer)
	require.Eventually(s, func() bool { return loser.Stats().Conflicts > 0 }, s.limit+slack, tick, "not reported")
	require.Equal(s, "suspect", loser.Stats().State)
	s.keeps(ttl+ttl/4, bystander, newer)
	after := s.claimed()
	require.Equal(s, before.CreateRevision, after.CreateRevision, "the key was away")
	require.Equal(s, before.Version+1, after.Version, "more puts than that of the newer one")

	s.insist(before, 5*time.Second)
	s.reach(s.limit, bystander, newer)
	s.keeps(2*time.Second, bystander, newer)
	require.Equal(s, before.CreateRevision, s.claimed().CreateRevision, "the key was away")
	require.Equal(s, 1, loser.Stats().Puts)
	require.GreaterOrEqual(s, winner.Stats().KeysTakenBack, 2)
	require.LessOrEqual(s, winner.Stats().KeysTakenBack, 8, "more than one a second")
}

// insist has somebody who does not know the rule write what stood there, again and again.
func (s *scene) insist(on *mvccpb.KeyValue, during time.Duration) {
	s.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), during+etcdTimeout)
	defer cancel()
	for end := time.Now().Add(during); time.Now().Before(end); <-time.After(50 * time.Millisecond) {
		_, err := s.etcd.Put(ctx, string(on.Key), string(on.Value), clientv3.WithLease(clientv3.LeaseID(on.Lease)))
		require.NoError(s, err)
	}
}

// playReplacedWhileStopped has another server take the key of a registrar that has
// stopped. The one that goes on must leave it.
func playReplacedWhileStopped(s *scene) {
	etcd := localetcd.Start(s)
	s.etcd = etcd.Client()
	bystander, replaced, successor := startPolicyServer(s), startPolicyServer(s), startPolicyServer(s)
	s.registers(20*time.Second, []string{etcd.Addr()}, bystander)
	process := startRegistryChild(s.T, etcd.Addr(), etcdregistry.Instance{ID: claimedID, Addr: replaced.addr})
	s.start([]string{etcd.Addr()}, bystander, replaced)

	require.NoError(s, process.Suspend())
	s.claims(20*time.Second, etcd.Addr(), successor)
	s.reach(s.limit, bystander, successor)
	taken := s.claimed()
	s.keeps(registryChildTTL, bystander, successor)
	require.Eventually(s, func() bool { return leaseCount(s.etcd) == 2 }, registryChildTTL+slack, tick, "the old lease lasts")
	require.NoError(s, process.Resume())
	s.keeps(s.limit+slack, bystander, successor)
	s.reach(s.limit, bystander, successor)
	require.Equal(s, taken.ModRevision, s.claimed().ModRevision, "somebody touched the key")
}
