package e2e

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"

	"github.com/steelyard-go/steelyard/balancers/roundrobin"
	"github.com/steelyard-go/steelyard/etcdregistry"
	"github.com/steelyard-go/steelyard/etcdresolver"
	"github.com/steelyard-go/steelyard/lab/localetcd"
)

// override says something about a server from outside, under a lease if there is a TTL.
func (s *scene) override(server *policyServer, o etcdregistry.Override, ttl time.Duration) {
	s.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), etcdTimeout)
	defer cancel()
	value, err := etcdregistry.EncodeOverride(o)
	require.NoError(s, err)
	var opts []clientv3.OpOption
	if ttl > 0 {
		lease, err := s.etcd.Grant(ctx, int64(ttl/time.Second))
		require.NoError(s, err)
		opts = append(opts, clientv3.WithLease(lease.ID))
	}
	_, err = s.etcd.Put(ctx, etcdregistry.OverrideKey(discoverService, server.addr), value, opts...)
	require.NoError(s, err)
}

func (s *scene) liftOverride(server *policyServer) {
	s.Helper()
	_, err := s.etcd.Delete(s.Context(), etcdregistry.OverrideKey(discoverService, server.addr))
	require.NoError(s, err)
}

func TestResolver_OverrideDrainsAServer(t *testing.T) {
	t.Parallel()
	const ttl = 2 * time.Second
	s := newScene(t)
	etcd := localetcd.Start(s)
	s.etcd, s.policy = etcd.Client(), roundrobin.Config{}.ServiceConfig()
	a, b := startPolicyServer(s), startPolicyServer(s)
	s.put(a, b)
	s.start([]string{etcd.Addr()}, a, b)
	accepted, closed := connections([]*policyServer{a, b})
	drain := etcdregistry.Override{Draining: true, Reason: "half of the disks are gone"}

	s.override(a, drain, 0)
	s.reach(inPeace, b)
	s.logs(0, 1, "half of the disks are gone")
	discoverPut(s, s.etcd, a, 3) // its own updates and restarts do not touch that
	s.lists(inPeace, map[*policyServer]int{a: 3, b: 1})
	s.keeps(300*time.Millisecond, b)
	require.Equal(s, 1, s.stats().Overrides)
	s.liftOverride(a)
	s.reach(inPeace, a, b)
	require.Zero(s, s.stats().Overrides)

	s.override(a, drain, ttl)
	s.reach(inPeace, b)
	s.reach(2*ttl, a, b) // it ends with its lease

	s.override(b, etcdregistry.Override{Weight: 9}, 0)
	s.lists(inPeace, map[*policyServer]int{a: 3, b: 9})
	discoverPutValue(s, s.etcd, etcdregistry.OverrideKey(discoverService, b.addr), `{"weight":-1}`)
	s.logs(inPeace, 1, "value refused")
	s.lists(0, map[*policyServer]int{a: 3, b: 9})
	s.liftOverride(b)
	s.lists(inPeace, map[*policyServer]int{a: 3, b: 1})

	acceptedAfter, closedAfter := connections([]*policyServer{a, b})
	require.Equal(s, accepted, acceptedAfter, "an override costs no connection")
	require.Equal(s, closed, closedAfter)
}

// Instances of other frameworks have ids that change with each registration.
func TestResolver_OverrideNamesAnIDOrAnAddress(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	etcd := localetcd.Start(s)
	s.etcd = etcd.Client()
	a := startPolicyServer(s)
	discoverPutValue(s, s.etcd, etcdregistry.Key(discoverService, "7587871"), a.addr)
	s.override(a, etcdregistry.Override{Weight: 5}, 0)
	s.start([]string{etcd.Addr()}, a)
	s.lists(0, map[*policyServer]int{a: 5}) // with the first list
	discoverPutValue(s, s.etcd, etcdregistry.OverrideKey(discoverService, "7587871"), `{"weight":6}`)
	s.lists(inPeace, map[*policyServer]int{a: 6})
}

func TestResolver_WithoutOverridesTheyAreIgnored(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	etcd := localetcd.Start(s)
	s.etcd = etcd.Client()
	a := startPolicyServer(s)
	s.put(a)
	s.override(a, etcdregistry.Override{Weight: 5}, 0)
	s.dial(s.connect(clientv3.Config{Endpoints: []string{etcd.Addr()}}), etcdresolver.WithoutOverrides())
	s.flow(a)
	s.override(a, etcdregistry.Override{Weight: 6}, 0)
	discoverPut(s, s.etcd, a, 2)
	s.lists(inPeace, map[*policyServer]int{a: 2})
}

// No guard holds who went on purpose, however short the notice.
func TestResolver_DrainedAndDeletedAtOnceIsGone(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	etcd := localetcd.Start(s)
	s.etcd, s.policy = etcd.Client(), stockPickFirst
	a := startPolicyServer(s)
	s.put(a)
	s.dial(s.connect(clientv3.Config{Endpoints: []string{etcd.Addr()}}), etcdresolver.WithDebounce(300*time.Millisecond))
	s.flow(a)
	s.end()
	discoverPutValue(s, s.etcd, etcdregistry.Key(discoverService, a.addr), `{"Addr":"`+a.addr+`","Metadata":{"draining":true}}`)
	s.remove(a)
	s.within(afterTrouble, "calls fail", func() { failsWith(s.channel, codes.Unavailable, "no instances registered") })
}
