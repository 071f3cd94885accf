package e2e

import (
	"context"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/steelyard-go/steelyard/attrs"
	"github.com/steelyard-go/steelyard/etcdregistry"
)

// etcdTimeout is for what the operator does, of any size.
const etcdTimeout = 10 * time.Second

// put registers servers without a lease, remove takes them out.
func (s *scene) put(servers ...*policyServer) {
	s.Helper()
	for _, server := range servers {
		discoverPut(s, s.etcd, server, 1)
	}
}

// drain marks servers as draining, so that they may go. It waits until our resolver knows.
func (s *scene) drain(servers ...*policyServer) {
	s.Helper()
	for _, server := range servers {
		value, err := etcdregistry.Encode(etcdregistry.Instance{Addr: server.addr, Attrs: attrs.Attrs{Draining: true}})
		require.NoError(s, err)
		discoverPutValue(s, s.etcd, etcdregistry.Key(discoverService, server.addr), value)
		if s.under.asserted {
			require.Eventually(s, func() bool { return s.heard.attrsOf(server).Draining }, inPeace+slack, tick)
		}
	}
}

func (s *scene) remove(servers ...*policyServer) {
	s.Helper()
	for _, server := range servers {
		discoverDelete(s, s.etcd, server)
	}
}

// lease registers servers under a lease each that nobody keeps alive, and returns
// what revokes them all.
func (s *scene) lease(ttl time.Duration, servers ...*policyServer) (revoke func()) {
	s.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), etcdTimeout)
	defer cancel()
	leases := make([]clientv3.LeaseID, len(servers))
	for i, server := range servers {
		lease, err := s.etcd.Grant(ctx, int64(ttl/time.Second))
		require.NoError(s, err)
		value, err := etcdregistry.Encode(etcdregistry.Instance{Addr: server.addr})
		require.NoError(s, err)
		_, err = s.etcd.Put(ctx, etcdregistry.Key(discoverService, server.addr), value, clientv3.WithLease(lease.ID))
		require.NoError(s, err)
		leases[i] = lease.ID
	}
	return func() {
		s.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), etcdTimeout)
		defer cancel()
		for _, lease := range leases {
			_, err := s.etcd.Revoke(ctx, lease)
			require.NoError(s, err)
		}
	}
}

// births tells since which revision each key of the service has stood. A key that was
// away has a new one.
func (s *scene) births() map[string]int64 {
	s.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), etcdTimeout)
	defer cancel()
	got, err := s.etcd.Get(ctx, etcdregistry.Key(discoverService, ""), clientv3.WithPrefix())
	require.NoError(s, err)
	births := make(map[string]int64)
	for _, kv := range got.Kvs {
		births[string(kv.Key)] = kv.CreateRevision
	}
	return births
}

// putMany registers n instances without a lease.
func (s *scene) putMany(n int, instance func(i int) (id string, inst etcdregistry.Instance)) {
	s.Helper()
	const batch = 100 // one transaction of etcd takes 128 operations
	var puts []clientv3.Op
	for i := range n {
		id, inst := instance(i)
		value, err := etcdregistry.Encode(inst)
		require.NoError(s, err)
		puts = append(puts, clientv3.OpPut(etcdregistry.Key(discoverService, id), value))
		if len(puts) == batch || i == n-1 {
			ctx, cancel := context.WithTimeout(context.Background(), etcdTimeout)
			_, err := s.etcd.Txn(ctx).Then(puts...).Commit()
			cancel()
			require.NoError(s, err)
			puts = nil
		}
	}
}
