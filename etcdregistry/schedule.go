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

// plan sees that a key is looked at when it is due, and at once if its wish has changed.
func (k *keeper) plan(key *key) {
	switch {
	case !key.isDue():
		key.timer.Reset(time.Until(key.due))
	case key.busy:
		key.hurry()
	case key.settled && key.written == key.seen && !key.changed():
		k.audits.add(key)
	default:
		k.urgent.add(key)
	}
}

func (k *keeper) planWoken() {
	k.wakeMu.Lock()
	woken := k.woken
	k.woken = nil
	k.wakeMu.Unlock()
	for _, key := range woken {
		if k.holds(key) {
			k.plan(key)
		}
	}
}

func (k *keeper) allKeys() []*key {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Collect(maps.Values(k.keys))
}

// holds tells whether the key is in our care, and not one to come or that is gone.
func (k *keeper) holds(key *key) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.keys[key.name] == key
}

// anyKey tells whether there is such a key. It makes no copy: it is asked at each turn.
func (k *keeper) anyKey(such func(*key) bool) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, key := range k.keys {
		if such(key) {
			return true
		}
	}
	return false
}

// turn begins what can be begun, and returns when there may be more.
func (k *keeper) turn(ctx context.Context) time.Duration {
	now := time.Now()
	next := now.Add(time.Hour)
	due := func(at time.Time) bool {
		if at.After(now) {
			if at.Before(next) {
				next = at
			}
			return false
		}
		return true
	}
	if due(k.notBefore) {
		k.startLooks(ctx, &k.urgent, lookWidth)
		k.startLooks(ctx, &k.audits, auditWidth)
		if !k.tending.busy && k.homeless() && due(k.tending.due) {
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

// homeless tells whether keys wait for a lease that etcd has confirmed lately.
func (k *keeper) homeless() bool {
	return !k.leased() && k.anyKey(func(key *key) bool { return !key.wish.desireNow().gone })
}

// startLooks begins with the looks of a queue, until there are so many. Without a lease
// a key can only be removed.
func (k *keeper) startLooks(ctx context.Context, from *queue, width int) {
	leased := k.leased()
	for k.looking < width {
		key := from.take(func(key *key) bool { return leased || key.wish.desireNow().gone })
		if key == nil {
			return
		}
		if !key.busy && k.holds(key) { // it may have been in the other queue too
			k.startLook(ctx, key)
		}
	}
}

// startLook has a worker look at a key. It has little time while somebody waits for what
// comes of it: what hangs at one member does not at another.
func (k *keeper) startLook(ctx context.Context, key *key) {
	l := key.look(tenure{current: k.lease.id, stale: k.stale})
	limit, began := k.longest(), time.Now()
	if !l.fulfilled {
		limit = min(limit, key.backoff.patience())
	}
	k.looking++
	key.busy, key.hurried = true, !l.fulfilled
	key.due = began.Add(time.Hour) // the next look, unless something is heard of meanwhile
	key.giveUp = k.do(ctx, limit, func(ctx context.Context) error { return l.run(ctx, k.store) }, func(err error) {
		k.looking--
		key.busy = false
		key.note(l)
		if ctx.Err() != nil {
			return // it is not etcd's fault: the registrar closes
		}
		if errors.Is(err, context.Canceled) {
			err = errHurried
		}
		k.finishLook(ctx, key, l, err, began)
	})
}

// finishLook draws the conclusions from a look at a key.
func (k *keeper) finishLook(ctx context.Context, key *key, l *look, err error, began time.Time) {
	lost := errors.Is(err, rpctypes.ErrLeaseNotFound)
	if err == nil || lost || isForeign(err) {
		k.answered()
	}
	over := l.wanted.gone && (err == nil || isVerdict(err) && !key.stands)
	switch {
	case over:
		k.forget(key)
		if key.unsure != 0 && key.unsure == k.lease.id {
			k.dropLease("etcd may still do a put under it, of a key that is gone")
		}
	case l.leases.current != k.lease.id: // it was replaced meanwhile: whatever came of it does not last
		key.due = time.Now()
	case err == nil:
		k.stood(ctx, key)
	case lost:
		k.dropLease("etcd does not know it")
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
	if over {
		key.wish.close()
	} else {
		k.plan(key)
	}
}

// stood notes that a key is as it should be.
func (k *keeper) stood(ctx context.Context, key *key) {
	if key.repair != "" {
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
	key.timer.Stop()
	if key.unwatch != nil {
		key.unwatch()
	}
	k.journal.become(key, closed, "")
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.keys, key.name)
	key.tally.addTo(&k.past, closed)
}

// untilAudit returns how long to wait before the keys are looked at again: at most
// TTL/2, and not in all processes the same.
func (k *keeper) untilAudit() time.Duration {
	most := max(k.options.ttl, k.lease.ttl) / 2
	return most - rand.N(most/5)
}
