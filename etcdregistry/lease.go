package etcdregistry

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// lease is a lease that is being kept alive.
type lease struct {
	id       clientv3.LeaseID
	ttl      time.Duration
	renewals <-chan *clientv3.LeaseKeepAliveResponse
	cancel   context.CancelFunc
}

func (k *keeper) ensureLease(ctx context.Context) error {
	switch {
	case k.lease.id == 0:
		return k.takeLease(ctx)
	case k.silentFor() > 0:
		return k.renewOnce(ctx)
	}
	return nil
}

// renewOnce renews a lease whose keep-alive is silent: its stream may hang at one
// member while the others answer. From a TTL of 4s on there is time for two attempts before the lease
// ends.
func (k *keeper) renewOnce(ctx context.Context) error {
	if err := k.store.renew(ctx, k.lease.id); err != nil {
		return fmt.Errorf("renew the lease: %w", err)
	}
	k.failures = 0
	k.renewed()
	return nil
}

func (k *keeper) takeLease(ctx context.Context) error {
	id, ttl, err := k.store.grant(ctx, k.options.ttl)
	if err != nil {
		return fmt.Errorf("grant a lease: %w", err)
	}
	// Not a child of ctx, which ends with the attempt. And nothing of the caller's
	// context either: with etcd's WithRequireLeader in it, a lost leader would end
	// the keep-alive and leave a ghost lease.
	keepCtx, cancel := context.WithCancel(context.Background())
	renewals, err := k.store.keepAlive(keepCtx, id)
	if err != nil {
		cancel()
		k.stale = append(k.stale, id)
		return fmt.Errorf("keep the lease alive: %w", err)
	}
	k.lease = lease{id: id, ttl: ttl, renewals: renewals, cancel: cancel}
	k.renewed()
	return nil
}

// renewed notes that etcd has just said how long the lease lasts. It tells whether
// that was overdue; then all keys are looked at.
func (k *keeper) renewed() (overdue bool) {
	overdue = k.silentFor() > 0
	now := time.Now()
	k.renewedAt.Store(&now)
	k.silence.Reset(k.lease.ttl / 2)
	if overdue {
		k.lookAtAll()
	}
	return overdue
}

// silentFor returns the time since the last renewal if that is TTL/2 or more, else 0.
func (k *keeper) silentFor() time.Duration {
	if last := k.renewedAt.Load(); last != nil && time.Since(*last) >= k.lease.ttl/2 {
		return time.Since(*last)
	}
	return 0
}

// fallSilent notes that the keep-alive is silent.
func (k *keeper) fallSilent() {
	cause := "no keep-alive answer for " + k.silentFor().Round(time.Millisecond).String()
	for _, key := range k.allKeys() {
		if key.tally.stateNow() == registered {
			k.journal.become(key, suspect, cause)
		}
	}
	k.lookAtAll()
}

// dropLease stops renewing the lease. It is not revoked yet: while it lasts, so do
// the keys under it.
func (k *keeper) dropLease(cause string) {
	k.letGo()
	k.notBefore = time.Now().Add(rand.N(spreadPause))
	for _, key := range k.allKeys() {
		key.settled, key.due = false, time.Now()
		key.wish.failed(errors.New("lost the lease: " + cause))
		key.tally.note(func(s *Stats) { s.LeasesLost++ })
		k.journal.become(key, reregistering, "lost the lease: "+cause)
	}
}

// letGo makes the lease a stale one.
func (k *keeper) letGo() {
	k.lease.cancel()
	k.silence.Stop()
	k.renewedAt.Store(nil)
	k.stale = append([]clientv3.LeaseID{k.lease.id}, k.stale...)
	k.lease = lease{}
}

// releaseLeases ends the leases that no key can be under any more: first all keys
// move to the new lease, then the old one is revoked, so that no key is ever away.
func (k *keeper) releaseLeases(ctx context.Context) {
	keys := k.allKeys()
	if len(keys) == 0 && k.lease.id != 0 {
		k.letGo()
	}
	if slices.ContainsFunc(keys, func(key *key) bool { return !key.settled }) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, leastAttemptLimit) // somebody may wait in Close
	defer cancel()
	if err := k.revokeStale(ctx); err != nil {
		k.options.logger.Debug("etcd registration: old lease not revoked", "error", err)
	}
}

// revokeStale revokes what it can. The rest stays on the list; nobody renews it, so
// it ends by itself.
func (k *keeper) revokeStale(ctx context.Context) error {
	var errs []error
	k.stale = slices.DeleteFunc(k.stale, func(id clientv3.LeaseID) bool {
		err := k.store.revoke(ctx, id)
		if err != nil {
			errs = append(errs, err)
		}
		return err == nil
	})
	return errors.Join(errs...)
}
