package etcdregistry

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

// plan makes a key ready if it is due, or sees that it is looked at when it is.
func (k *keeper) plan(key *key) {
	changed := key.changed()
	switch {
	case key.busy:
		if changed {
			key.hurry()
		}
	case key.ready:
	case changed || !key.due.After(time.Now()):
		key.ready = true
		k.ready = append(k.ready, key)
	default:
		k.next = earlier(k.next, key.due)
	}
}

func (k *keeper) planAll() {
	k.next = time.Now().Add(time.Hour)
	for _, key := range k.allKeys() {
		k.plan(key)
	}
}

// lookAtAll makes all keys due.
func (k *keeper) lookAtAll() {
	for _, key := range k.allKeys() {
		key.due = time.Now()
	}
	k.planAll()
}

func (k *keeper) allKeys() []*key {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Collect(maps.Values(k.keys))
}

func (k *keeper) empty() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.keys) == 0
}

// turn begins what can be begun, and returns when there may be more.
func (k *keeper) turn(ctx context.Context) time.Duration {
	now := time.Now()
	if !k.next.After(now) {
		k.planAll()
	}
	next := k.next
	due := func(at time.Time) bool {
		if at.After(now) {
			next = earlier(next, at)
			return false
		}
		return true
	}
	if due(k.notBefore) {
		if homeless := k.startLooks(ctx); homeless && !k.tending.busy && due(k.tending.due) {
			k.tend(ctx)
		}
		if !k.releasing.busy && due(k.releasing.due) {
			k.release(ctx)
		}
	}
	if k.looking == 0 || due(k.journal.due()) {
		k.journal.flush()
	}
	return next.Sub(now)
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// startLooks begins as many looks as there may be. It tells whether there are keys that
// wait for the lease.
func (k *keeper) startLooks(ctx context.Context) (homeless bool) {
	leased := k.leased()
	var waiting []*key
	for len(k.ready) > 0 && k.looking < lookWidth {
		key := k.ready[0]
		k.ready = k.ready[1:]
		if leased || key.wish.desireNow().gone {
			k.startLook(ctx, key)
		} else {
			waiting = append(waiting, key)
		}
	}
	k.ready = append(waiting, k.ready...)
	return len(waiting) > 0
}

// startLook has a worker look at a key. It is given up early while somebody waits for
// what comes of it: what hangs at one member does not at another.
func (k *keeper) startLook(ctx context.Context, key *key) {
	l := key.look(tenure{current: k.lease.id, stale: k.stale})
	limit, began := k.longest(), time.Now()
	if !l.fulfilled {
		limit = min(limit, key.backoff.patience())
	}
	k.looking++
	key.ready, key.busy = false, true
	key.due = began.Add(time.Hour) // the next look, unless something is heard of meanwhile
	giveUp := k.do(ctx, limit, func(ctx context.Context) error { return l.run(ctx, k.store) }, func(err error) {
		k.looking--
		key.busy, key.giveUp = false, nil
		key.note(l)
		if ctx.Err() == nil { // else it is not etcd's fault: the registrar closes
			k.finishLook(ctx, key, l, err, began)
		}
	})
	if l.fulfilled {
		key.giveUp = giveUp
	}
}

// finishLook draws the conclusions from a look at a key.
func (k *keeper) finishLook(ctx context.Context, key *key, l *look, err error, began time.Time) {
	if err == nil || errors.Is(err, rpctypes.ErrLeaseNotFound) || isForeign(err) {
		k.answered()
	}
	current := l.leases.current == k.lease.id // it was not replaced meanwhile
	over := l.wanted.gone && (err == nil || isVerdict(err) && !key.stands)
	switch {
	case over:
		k.forget(key)
		if key.unsure != 0 && key.unsure == k.lease.id {
			k.dropLease("etcd may still do a put under it, of a key that is gone")
		}
	case err == nil && current:
		k.stood(ctx, key)
	case errors.Is(err, rpctypes.ErrLeaseNotFound) && current:
		k.dropLease("etcd does not know it")
	case err == nil, errors.Is(err, rpctypes.ErrLeaseNotFound):
		key.due = time.Now()
	case isForeign(err):
		k.troubled(key, err)
		key.settled, key.yielded, key.due = true, true, time.Now().Add(yieldFor)
		key.tally.note(func(s *Stats) { s.Conflicts++ })
	default:
		k.troubled(key, err)
		key.due = k.failed(err, &key.backoff, began)
	}
	if err == nil || isVerdict(err) {
		key.wish.settle(l.version, err)
	}
	if !over {
		k.plan(key)
	}
}

// stood notes that a key is as it should be.
func (k *keeper) stood(ctx context.Context, key *key) {
	if key.repair != "" && time.Since(key.announced) >= logEvery {
		key.announced = time.Now()
		during := reregistering
		if key.tally.stateNow() == registering {
			during = registering
		}
		k.journal.become(key, during, key.repair)
	}
	key.settled, key.yielded, key.backoff = true, false, backoff{}
	if now := time.Now(); !k.auditAt.After(now) {
		k.auditAt = now.Add(k.untilAudit())
	}
	if k.auditAt.Before(key.due) { // else something was heard of it during the look
		key.due = k.auditAt
	}
	next := registered
	if key.wish.desireNow().leaving {
		next = draining
	}
	k.journal.become(key, next, "")
	if key.unwatch == nil {
		k.startWatch(ctx, key)
	}
}

// troubled notes that a look at a key, or its lease, has failed.
func (k *keeper) troubled(key *key, err error) {
	key.wish.failed(err)
	next := suspect
	switch {
	case !key.stands:
		next = registering
	case k.lease.id == 0:
		next = reregistering
	}
	k.journal.become(key, next, err.Error())
}

// forget ends the care for a key that is gone.
func (k *keeper) forget(key *key) {
	if key.unwatch != nil {
		key.unwatch()
	}
	k.journal.become(key, closed, "")
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.keys, key.name)
	key.tally.addTo(&k.past, closed)
}

// untilAudit returns when to look after the keys again: at most TTL/2, and not in all
// processes at once.
func (k *keeper) untilAudit() time.Duration {
	most := max(k.options.ttl, k.lease.ttl) / 2
	return most - rand.N(most/5)
}
