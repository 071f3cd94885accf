package etcdregistry

import (
	"context"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// retire takes the key out of etcd after run has ended. The end of ctx cuts the
// draining short.
func (k *keeper) retire(ctx context.Context) error {
	releaseCtx, cancel := context.WithTimeout(context.Background(), closeLimit)
	defer cancel()
	if k.stands && k.lease.id != 0 {
		k.drain(ctx)
	}
	leases := k.stale
	if k.lease.id != 0 {
		k.lease.cancel()
		leases = append([]clientv3.LeaseID{k.lease.id}, leases...)
	}
	// A lease takes with it the key that is still under it, and no other: if
	// another registration has taken the key over, it stays.
	if err := k.revoke(releaseCtx, leases); err != nil {
		err = fmt.Errorf("lease not revoked, the key may stay for up to %v: %w", k.ttl, err)
		k.become(closed, err.Error())
		return err
	}
	k.become(closed, "")
	return nil
}

// drain marks the key and gives the clients a moment to follow.
func (k *keeper) drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, drainLimit)
	defer cancel()
	value, version := k.wish.draining()
	if err := k.reconcile(ctx, value, version); err != nil {
		k.become(draining, "not marked: "+err.Error())
		return
	}
	k.become(draining, "")
	select {
	case <-ctx.Done():
	case <-time.After(k.drainDelay):
	}
}
