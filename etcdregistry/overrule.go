package etcdregistry

import (
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// maxLimit is that of an override. The least is [minTTL].
const maxLimit = 365 * 24 * time.Hour

// SetOverride overrules one instance from outside: it puts o under [OverrideKey], in
// place of an earlier override. The instance need not stand, now or ever. It returns
// once etcd has confirmed the write, or when ctx ends; to give back a lease that was for
// nothing it may outlast ctx by 1s. The lease of an override that was put by hand is
// left alone.
//
// After limit, rounded up to seconds, etcd lifts the override by itself: it is under a
// lease of that length, which nobody renews. When the leader of etcd changes, its
// leases begin anew, so the override may last longer, never shorter. A limit of 0 means
// until [LiftOverride], others are 2s to 365 days. The error says which argument is
// wrong and what would be right, or what etcd said.
func SetOverride(ctx context.Context, client *clientv3.Client, service, id string, o Override, limit time.Duration) error {
	err := o.check()
	if err == nil {
		err = checkOverride(client, service, id)
	}
	if err == nil && limit != 0 && (limit < minTTL || limit > maxLimit) {
		err = fmt.Errorf("limit: got %v, want 0 (until lifted) or %v to %v", limit, minTTL, maxLimit)
	}
	if err != nil {
		return fmt.Errorf("etcdregistry: override: %w", err)
	}
	key := OverrideKey(service, id)
	if err := putOverride(ctx, client, key, o, limit); err != nil {
		return fmt.Errorf("etcdregistry: %s: %w", key, err)
	}
	return nil
}

func putOverride(ctx context.Context, client *clientv3.Client, key string, o Override, limit time.Duration) error {
	put := []clientv3.OpOption{clientv3.WithPrevKV()}
	var id clientv3.LeaseID
	if limit > 0 {
		granted, err := client.Grant(ctx, int64((limit+time.Second-1)/time.Second))
		if err != nil {
			return fmt.Errorf("grant a lease: %w", err)
		}
		id = granted.ID
		put = append(put, clientv3.WithLease(id))
	}
	value, err := encodeOverride(o, id)
	if err != nil {
		return err
	}
	written, err := client.Put(ctx, key, value, put...)
	if err != nil {
		releaseUnused(ctx, client, id)
		return fmt.Errorf("put the key: %w", err)
	}
	if written.PrevKv != nil {
		releaseUnused(ctx, client, ownLease(written.PrevKv))
	}
	return nil
}

// LiftOverride ends the override of one instance, and tells whether there was one.
func LiftOverride(ctx context.Context, client *clientv3.Client, service, id string) (bool, error) {
	if err := checkOverride(client, service, id); err != nil {
		return false, fmt.Errorf("etcdregistry: override: %w", err)
	}
	key := OverrideKey(service, id)
	deleted, err := client.Delete(ctx, key, clientv3.WithPrevKV())
	if err != nil {
		return false, fmt.Errorf("etcdregistry: %s: delete the key: %w", key, err)
	}
	for _, before := range deleted.PrevKvs {
		releaseUnused(ctx, client, ownLease(before))
	}
	return deleted.Deleted > 0, nil
}

// releaseUnused revokes a lease of ours that has no keys any more: a put that failed
// may have been done. At best: it ends by itself.
func releaseUnused(ctx context.Context, client *clientv3.Client, id clientv3.LeaseID) {
	if id == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	left, err := client.TimeToLive(ctx, id, clientv3.WithAttachedKeys())
	if err == nil && len(left.Keys) == 0 {
		_, _ = client.Revoke(ctx, id)
	}
}

func checkOverride(client *clientv3.Client, service, id string) error {
	switch {
	case client == nil:
		return errors.New("the etcd client is nil")
	case id == "":
		return errors.New("the id is empty, want that of an instance, its address unless it has another")
	}
	return checkKey(service, id)
}
