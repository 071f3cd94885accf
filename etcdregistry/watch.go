package etcdregistry

import (
	"context"
	"math/rand/v2"
	"strconv"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// watchFor bounds the life of a watch. One that has died without a word, as after
// etcd was restored to an older revision, is made anew; the audit notices meanwhile.
const watchFor = 10 * time.Minute

// event says that something may have happened to a key.
type event struct {
	name  string
	lease clientv3.LeaseID // that the key is under now; 0 for none, no key, or not known
}

// startWatch watches a key until it is forgotten or ctx ends.
func (k *keeper) startWatch(ctx context.Context, key *key) {
	ctx, key.unwatch = context.WithCancel(ctx)
	k.watches.Go(func() {
		pause := leastPause
		for ctx.Err() == nil {
			if k.watch(ctx, key.name) {
				pause = leastPause
			}
			select {
			case <-ctx.Done():
			case <-time.After(rand.N(pause)):
			}
			pause = min(2*pause, watchFor/10)
		}
	})
}

// watch sends what happens to a key to the loop until the watch ends. It tells
// whether there ever was one.
func (k *keeper) watch(ctx context.Context, name string) (opened bool) {
	broken := k.broken.Load()
	session, cancel := context.WithTimeout(ctx, watchFor-rand.N(watchFor/5))
	defer cancel()
	for response := range k.store.watch(session, name, k.stream+"-"+strconv.FormatInt(broken, 10)) {
		if response.Err() != nil {
			break
		}
		opened = true
		events := make([]event, 0, len(response.Events)+1)
		if response.Created {
			events = append(events, event{name: name}) // anything may have happened before
		}
		for _, change := range response.Events {
			events = append(events, event{name: name, lease: clientv3.LeaseID(change.Kv.Lease)})
		}
		for _, e := range events {
			select {
			case k.events <- e:
			case <-session.Done():
				return opened
			}
		}
	}
	if session.Err() == nil {
		// The next one gets a stream of its own: on a stream whose token has expired
		// new watches fail for ever. Those that ended with this one share it.
		k.broken.CompareAndSwap(broken, broken+1)
	}
	return opened
}

// noteEvent makes the key due that was changed by others.
func (k *keeper) noteEvent(e event) {
	k.mu.Lock()
	key := k.keys[e.name]
	k.mu.Unlock()
	if key == nil || key.yielded || e.lease == k.lease.id {
		return
	}
	if key.backoff.failures > 0 && !key.busy {
		return // it is looked at after a pause
	}
	key.due = time.Now()
	if calm := key.repaired.Add(repairEvery); calm.After(key.due) {
		key.due = calm
	}
	k.plan(key)
}
