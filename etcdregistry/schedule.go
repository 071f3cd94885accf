package etcdregistry

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"time"
)

// dueKeys returns the keys to look at now: their time has come, or their wish has
// changed.
func (k *keeper) dueKeys() []*key {
	now := time.Now()
	return slices.DeleteFunc(k.allKeys(), func(key *key) bool {
		_, version := key.wish.get()
		return key.due.After(now) && key.seen == version
	})
}

func (k *keeper) allKeys() []*key {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Collect(maps.Values(k.keys))
}

// lookAtAll makes all keys due.
func (k *keeper) lookAtAll() {
	for _, key := range k.allKeys() {
		key.due = time.Now()
	}
}

// schedule says when to look again at each of the keys that were worked on. It
// returns the pause for those that failed.
func (k *keeper) schedule(ctx context.Context, worked []*key, errs []error) (pause time.Duration) {
	now := time.Now()
	if !k.auditAt.After(now) {
		k.auditAt = now.Add(k.untilAudit())
	}
	late := false // a put of a key that is gone may come
	for i, key := range worked {
		err := errs[i]
		switch {
		case key.removed && (err == nil || isVerdict(err) && !key.stands):
			k.forget(key)
			late = late || key.unsure != 0 && key.unsure == k.lease.id
		case err == nil:
			k.stood(ctx, key)
			key.due = k.auditAt
		case isForeign(err):
			k.troubled(key, err)
			key.settled, key.yielded = true, true
			key.due = now.Add(yieldFor)
			key.tally.note(func(s *Stats) { s.Conflicts++ })
		default:
			k.troubled(key, err)
			if pause == 0 {
				pause = k.pause()
			}
			key.due = now.Add(pause)
			switch {
			case isVerdict(err):
				key.due = now.Add(mostPause - rand.N(mostPause/2))
			case errors.Is(err, context.Canceled): // given up for those who wait: not beside them again
				key.due = now.Add(max(pause, leastAttemptLimit))
			}
		}
	}
	if late {
		k.dropLease("etcd may still do a put under it, of a key that is gone")
	}
	return pause
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
	key.settled, key.yielded = true, false
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

// untilNext returns when the next key is due.
func (k *keeper) untilNext() time.Duration {
	next := time.Now().Add(time.Hour)
	for _, key := range k.allKeys() {
		if key.due.Before(next) {
			next = key.due
		}
	}
	if len(k.stale) > 0 {
		next = time.Now().Add(min(time.Until(next), mostPause))
	}
	return time.Until(next)
}

// pause returns how long to wait after a failure: full jitter below a ceiling that
// doubles with each failure until a lease has been renewed.
func (k *keeper) pause() time.Duration {
	ceiling := leastPause
	for range min(k.failures, 6) {
		ceiling *= 2
	}
	k.failures++
	return rand.N(min(ceiling, mostPause))
}
