package etcdregistry

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"
)

// reconcile works on the keys. After a failure it asks etcd no more: in an outage a
// thousand keys cost no more calls than a few.
func (k *keeper) reconcile(ctx context.Context, due []*key, noLease error) []error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	leases := tenure{current: k.lease.id, stale: k.stale}
	var outage atomic.Pointer[error]
	if noLease != nil {
		outage.Store(&noLease)
	}
	errs := make([]error, len(due))
	k.severalAtOnce(len(due), cancel, func(i int) {
		wanted := due[i].look()
		if failed := outage.Load(); failed != nil {
			errs[i] = *failed
			return
		}
		errs[i] = due[i].reconcile(ctx, k.store, leases, wanted)
		if err := errs[i]; err != nil && !isVerdict(err) && !errors.Is(err, errContended) {
			outage.Store(&err)
		}
	})
	return errs
}

// severalAtOnce works on n keys. It calls giveUp when nothing moves any more while a
// wish changes: what hangs must not hold the other keys.
func (k *keeper) severalAtOnce(n int, giveUp func(), work func(i int)) {
	finished := make(chan struct{})
	waiting, changed := false, k.changed
	var stuck <-chan time.Time
	for started, ended := 0, 0; ended < n; {
		for ; started < min(n, ended+attemptWidth); started++ {
			go func(i int) { work(i); finished <- struct{}{} }(started)
		}
		select {
		case <-finished:
			ended++
		case <-changed:
			waiting, changed = true, nil
		case <-stuck:
			giveUp()
		}
		if waiting {
			stuck = time.After(k.patience())
		}
	}
	if waiting {
		k.wake()
	}
}

// attemptTime is short while somebody waits in Close, who has no time for a long one.
func (k *keeper) attemptTime(due []*key) time.Duration {
	most := min(attemptLimit, max(leastAttemptLimit, k.options.ttl/4))
	if slices.ContainsFunc(due, func(key *key) bool { return key.wish.desireNow().leaving }) {
		return min(most, k.patience())
	}
	return most
}

// patience is how long to wait for a call that may hang while others wait. It grows
// with the failures, or an etcd that is merely slow would never be waited for.
func (k *keeper) patience() time.Duration {
	return leastAttemptLimit << min(k.failures, 2)
}
