package etcdregistry

import (
	"context"
	"errors"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/metadata"
)

// store is etcd as a registration sees it.
type store interface {
	// grant returns a new lease and the time it lasts, which the server may have
	// raised.
	grant(ctx context.Context, ttl time.Duration) (clientv3.LeaseID, time.Duration, error)
	// keepAlive renews the lease until ctx ends. The channel yields the answers
	// and is closed when they stay away or the lease is gone.
	keepAlive(ctx context.Context, id clientv3.LeaseID) (<-chan *clientv3.LeaseKeepAliveResponse, error)
	// renew renews the lease once, over another connection if there is one.
	renew(ctx context.Context, id clientv3.LeaseID) error
	// revoke ends the lease and deletes the keys under it. A lease that is gone is
	// no error.
	revoke(ctx context.Context, id clientv3.LeaseID) error
	holder(ctx context.Context, key string) (holder, error)
	// watch tells of each change of the key until ctx ends. Watches with the same
	// stream share one. The channel is closed when the watch has ended.
	watch(ctx context.Context, key, stream string) clientv3.WatchChan
	// swap puts the value under the lease if the key was not changed since
	// revision. It returns the revision of the put, 0 if there was none.
	swap(ctx context.Context, key, value string, id clientv3.LeaseID, revision int64) (int64, error)
	// remove deletes the key if it was not changed since revision, and tells whether
	// it did.
	remove(ctx context.Context, key string, revision int64) (bool, error)
	// reconnect cuts short the pause before the next attempt to connect.
	reconnect()
}

// holder tells who holds a key. It is zero when there is no such key.
type holder struct {
	lease    clientv3.LeaseID // 0 for a key that is under no lease
	revision int64            // of the key's last change
	value    []byte
}

// etcd is the store behind a client. It goes through the client's own KV, Lease and
// Watcher, so that a client wrapped with etcd's namespace package stays in there.
type etcd struct{ client *clientv3.Client }

func (e etcd) grant(ctx context.Context, ttl time.Duration) (clientv3.LeaseID, time.Duration, error) {
	granted, err := e.client.Grant(ctx, int64(ttl/time.Second))
	if err != nil {
		return 0, 0, err
	}
	return granted.ID, max(ttl, time.Duration(granted.TTL)*time.Second), nil
}

func (e etcd) keepAlive(ctx context.Context, id clientv3.LeaseID) (<-chan *clientv3.LeaseKeepAliveResponse, error) {
	return e.client.KeepAlive(ctx, id)
}

func (e etcd) renew(ctx context.Context, id clientv3.LeaseID) error {
	_, err := e.client.KeepAliveOnce(ctx, id)
	return err
}

func (e etcd) revoke(ctx context.Context, id clientv3.LeaseID) error {
	_, err := e.client.Revoke(ctx, id)
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return nil
	}
	return err
}

func (e etcd) holder(ctx context.Context, key string) (holder, error) {
	got, err := e.client.Get(ctx, key) // not WithKeysOnly: since etcd 3.7 that says 0 for the lease
	if err != nil || len(got.Kvs) == 0 {
		return holder{}, err
	}
	kv := got.Kvs[0]
	return holder{lease: clientv3.LeaseID(kv.Lease), revision: kv.ModRevision, value: kv.Value}, nil
}

func (e etcd) watch(ctx context.Context, key, stream string) clientv3.WatchChan {
	// The client puts all watches with the same metadata on one stream, and what
	// blocks one of them blocks them all.
	ctx = metadata.AppendToOutgoingContext(clientv3.WithRequireLeader(ctx), "steelyard-registrar", stream)
	return e.client.Watch(ctx, key, clientv3.WithCreatedNotify())
}

func (e etcd) swap(ctx context.Context, key, value string, id clientv3.LeaseID, revision int64) (int64, error) {
	done, err := e.client.Txn(ctx).
		If(clientv3.Compare(clientv3.ModRevision(key), "=", revision)).
		Then(clientv3.OpPut(key, value, clientv3.WithLease(id))).
		Commit()
	if err != nil || !done.Succeeded {
		return 0, err
	}
	return done.Header.Revision, nil
}

func (e etcd) remove(ctx context.Context, key string, revision int64) (bool, error) {
	done, err := e.client.Txn(ctx).
		If(clientv3.Compare(clientv3.ModRevision(key), "=", revision)).
		Then(clientv3.OpDelete(key)).
		Commit()
	return err == nil && done.Succeeded, err
}

// reconnect does nothing but in an outage. ResetConnectBackoff reads a map of
// gRPC's without its lock, which changes when a connection comes up or leaves
// idle, and not while it fails.
func (e etcd) reconnect() {
	conn := e.client.ActiveConnection()
	if conn != nil && conn.GetState() == connectivity.TransientFailure {
		conn.ResetConnectBackoff()
	}
}
