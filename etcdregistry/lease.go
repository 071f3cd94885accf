package etcdregistry

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// lease is a lease that is being kept alive.
type lease struct {
	id       clientv3.LeaseID
	ttl      time.Duration
	renewals <-chan *clientv3.LeaseKeepAliveResponse // nil while the keep-alive is given up
	cancel   context.CancelFunc
	rescued  bool // renewed once, and not by the keep-alive since
}

// leased tells whether there is a lease that etcd has confirmed lately.
func (k *keeper) leased() bool { return k.lease.id != 0 && k.silentFor() == 0 }

// tend sees that there is such a lease.
func (k *keeper) tend(ctx context.Context) {
	if k.lease.id == 0 {
		k.takeLease(ctx)
	} else {
		k.renewOnce(ctx)
	}
}

// renewOnce renews a lease whose keep-alive is silent: its stream may hang at one
// member while the others answer. From a TTL of 4s on there is time for two calls
// before the lease ends.
func (k *keeper) renewOnce(ctx context.Context) {
	id := k.lease.id
	k.send(ctx, &k.tending, func(ctx context.Context) error { return k.store.renew(ctx, id) }, func(err error) {
		switch {
		case id != k.lease.id: // it was lost meanwhile
		case err == nil:
			k.renewed()
			if k.lease.renewals == nil {
				_ = k.keepAlive(id, k.lease.ttl) // else with the next renewal
			}
			k.lease.rescued = true
		case errors.Is(err, rpctypes.ErrLeaseNotFound):
			k.dropLease("etcd does not know it")
		case ctx.Err() == nil && k.silentFor() >= k.lease.ttl:
			k.dropLease("not renewed for a whole TTL: " + err.Error())
		case ctx.Err() == nil:
			k.withoutLease(fmt.Errorf("renew the lease: %w", err))
		}
	})
}

// heard takes in a renewal by the keep-alive, or its end.
func (k *keeper) heard(renewal bool) {
	switch {
	case renewal:
		k.lease.rescued = false
		k.renewed()
	case k.lease.rescued: // it has hung since, and the lease lives without
		k.lease.cancel()
		k.lease.renewals = nil
	default:
		k.dropLease("its keep-alive ended")
	}
}

func (k *keeper) takeLease(ctx context.Context) {
	var id clientv3.LeaseID
	var ttl time.Duration
	grant := func(ctx context.Context) (err error) {
		id, ttl, err = k.store.grant(ctx, k.options.ttl)
		return err
	}
	k.send(ctx, &k.tending, grant, func(err error) {
		if err != nil {
			err = fmt.Errorf("grant a lease: %w", err)
		} else if err = k.keepAlive(id, ttl); err != nil {
			k.remember(id)
			k.tending.due = time.Now().Add(k.tending.backoff.pause())
			err = fmt.Errorf("keep the lease alive: %w", err)
		}
		if err != nil && ctx.Err() == nil {
			k.withoutLease(err)
		}
	})
}

// keepAlive makes a lease the one that keys are put under.
func (k *keeper) keepAlive(id clientv3.LeaseID, ttl time.Duration) error {
	// Nothing of a caller's context: with etcd's WithRequireLeader in it, a lost leader
	// would end the keep-alive and leave a ghost lease.
	ctx, cancel := context.WithCancel(context.Background())
	renewals, err := k.store.keepAlive(ctx, id)
	if err != nil {
		cancel()
		return err
	}
	k.lease = lease{id: id, ttl: ttl, renewals: renewals, cancel: cancel}
	k.journal.lease = id
	k.renewed()
	return nil
}

// withoutLease says why there is no lease, or why it may have ended.
func (k *keeper) withoutLease(why error) {
	for _, key := range k.allKeys() {
		wanted, version := key.wish.get()
		if wanted.gone {
			continue
		}
		k.troubled(key, why)
		if isVerdict(why) {
			key.wish.settle(version, why)
		}
	}
}

// renewed notes that etcd has just said how long the lease lasts.
func (k *keeper) renewed() {
	k.answered()
	now := time.Now()
	k.tending.due, k.tending.backoff = now, backoff{}
	end := now.Add(k.lease.ttl)
	k.renewedAt.Store(&now)
	k.lasts.Store(&end)
	k.silence.Reset(k.lease.ttl / 2)
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
	if k.lease.rescued {
		return // as it was before: it is renewed by other means
	}
	cause := "no keep-alive answer for " + k.silentFor().Round(time.Millisecond).String()
	for _, key := range k.allKeys() {
		if key.tally.stateNow() == registered {
			k.journal.become(key, suspect, cause)
		}
		key.due = time.Now()
		k.plan(key)
	}
}

// dropLease stops renewing the lease. It is not revoked yet: while it lasts, so do
// the keys under it.
func (k *keeper) dropLease(cause string) {
	k.letGo()
	if k.tending.busy {
		k.tending.giveUp()
	}
	k.tending.due = time.Now().Add(rand.N(spreadPause))
	for _, key := range k.allKeys() {
		key.settled, key.due = false, time.Now()
		key.wish.failed(errors.New("lost the lease: " + cause))
		if key.stands {
			key.tally.note(func(s *Stats) { s.LeasesLost++ })
			k.journal.become(key, reregistering, "lost the lease: "+cause)
		}
		k.plan(key)
	}
}

// letGo makes the lease a stale one.
func (k *keeper) letGo() {
	k.lease.cancel()
	k.silence.Stop()
	k.renewedAt.Store(nil)
	k.remember(k.lease.id)
	k.lease, k.journal.lease = lease{}, 0
}

// remember notes a stale lease. The list is not changed in place, workers read it.
func (k *keeper) remember(id clientv3.LeaseID) {
	k.stale = append([]clientv3.LeaseID{id}, k.stale[:min(len(k.stale), maxStale-1)]...)
}

// release ends the leases that no key can be under any more: first all keys move to the
// new lease, then the old one is revoked, so that no key is ever away.
func (k *keeper) release(ctx context.Context) {
	if k.lease.id != 0 && !k.anyKey(func(*key) bool { return true }) {
		k.letGo()
	}
	if len(k.stale) == 0 || k.anyKey(func(key *key) bool { return !key.settled }) {
		return
	}
	stale, ended := k.stale, []clientv3.LeaseID(nil)
	revoke := func(ctx context.Context) (err error) {
		ended, err = k.revoke(ctx, stale)
		return err
	}
	k.send(ctx, &k.releasing, revoke, func(err error) {
		k.dismiss(ended)
		if err != nil {
			k.options.logger.Debug("etcd registration: old lease not revoked", "error", err)
		}
	})
}

// revoke revokes what it can. The others end by themselves, nobody renews them.
func (k *keeper) revoke(ctx context.Context, ids []clientv3.LeaseID) (ended []clientv3.LeaseID, err error) {
	var errs []error
	for _, id := range ids {
		if err := k.store.revoke(ctx, id); err != nil {
			errs = append(errs, err)
		} else {
			ended = append(ended, id)
		}
	}
	return ended, errors.Join(errs...)
}

// dismiss forgets stale leases that have ended.
func (k *keeper) dismiss(ended []clientv3.LeaseID) {
	k.stale = slices.DeleteFunc(slices.Clone(k.stale), func(id clientv3.LeaseID) bool { return slices.Contains(ended, id) })
}
