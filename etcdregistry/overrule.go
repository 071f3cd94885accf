package etcdregistry

import (
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	minLimit = 2 * time.Second // etcd raises shorter ones
	maxLimit = 365 * 24 * time.Hour
)

// SetOverride overrules one instance from outside: it puts o under [OverrideKey], in
// place of an earlier override. The instance need not stand, now or ever. It returns
// once etcd has confirmed the write, or when ctx ends; to give back a lease that was for
// nothing it may outlast ctx by 1s.
//
// After limit, rounded up to seconds, etcd lifts the override by itself: it is under a
// lease of that length, which nobody renews. When the leader of etcd changes, its
// leases begin anew, so the override may last longer, never shorter. A limit of 0 means
// until [LiftOverride], others are 2s to 365 days. The error says which argument is
// wrong and what would be right, or what etcd said.
func SetOverride(ctx context.Context, client *clientv3.Client, service, id string, o Override, limit time.Duration) error {
	value, err := encodeOverride(o)
	if err == nil {
		err = checkOverride(client, service, id)
	}
	if err == nil && limit != 0 && (limit < minLimit || limit > maxLimit) {
		err = fmt.Errorf("limit: got %v, want 0 (until lifted) or %v to %v", limit, minLimit, maxLimit)
	}
	if err != nil {
		return fmt.Errorf("etcdregistry: override: %w", err)
	}
	key := OverrideKey(service, id)
	if err := putOverride(ctx, client, key, value, limit); err != nil {
		return fmt.Errorf("etcdregistry: %s: %w", key, err)
	}
	return nil
}

func putOverride(ctx context.Context, client *clientv3.Client, key, value string, limit time.Duration) error {
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
	written, err := client.Put(ctx, key, value, put...)
	if err != nil {
		releaseUnused(ctx, client, id)
		return fmt.Errorf("put the key: %w", err)
	}
	if written.PrevKv != nil {
		releaseUnused(ctx, client, clientv3.LeaseID(written.PrevKv.Lease))
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
		releaseUnused(ctx, client, clientv3.LeaseID(before.Lease))
	}
	return deleted.Deleted > 0, nil
}

// releaseUnused revokes a lease that has no keys any more. An override that was put by
// hand may share its lease with other keys. At best: it ends by itself.
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
