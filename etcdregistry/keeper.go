package etcdregistry

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// attemptLimit bounds one attempt to bring etcd to what is wished for, or TTL/4
	// where that is less: a member that hangs must not hold the loop until the lease
	// has ended, for the next attempt goes to another member. What an attempt
	// achieved, a lease for one, is kept for the next.
	attemptLimit      = 5 * time.Second
	leastAttemptLimit = time.Second
	// attemptWidth bounds the keys that an attempt works on at once.
	attemptWidth = 16
	// reconnectEvery bounds the time that passes between the return of etcd and
	// that of the connection. Left alone, the client pauses up to 120 s between
	// attempts.
	reconnectEvery = 2 * time.Second
	// Pauses after failures are drawn from zero up to a ceiling that doubles from
	// the least to the most: registrars that lost etcd at the same moment must not
	// come back at the same moment.
	leastPause = 100 * time.Millisecond
	mostPause  = 5 * time.Second
	// spreadPause is the ceiling before a lost lease is replaced. Many leases tend
	// to get lost at once.
	spreadPause = time.Second
	// repairEvery bounds how often a key is put back that others keep taking away.
	repairEvery = time.Second
	// yieldFor is how long a key is left to a newer owner without a look.
	yieldFor = 30 * time.Second
	// closeLimit bounds Close. The draining must leave some of it for the removal.
	closeLimit = 3 * time.Second
	drainLimit = 2 * time.Second
)

// keeper holds the keys of a process in etcd, under one lease. Its loop is the only
// one that writes, so that updates, repairs and removals never cross each other.
//
// There is one mechanism: attempt, which compares etcd with the wishes and mends the
// difference. It runs when a wish changes, when the watch tells of a key that others
// changed, when the keep-alive ends or falls silent, after a pause when it failed,
// and every TTL/2 when it did not.
type keeper struct {
	store   store
	options options
	stream  string        // of the watches
	broken  atomic.Int64  // counts the streams that were given up
	changed chan struct{} // holds one token while the loop has not seen the last change
	events  chan event
	// renewedAt is when etcd last said how long the lease lasts, nil without a lease.
	renewedAt atomic.Pointer[time.Time]

	mu     sync.Mutex
	keys   map[string]*key
	past   Stats         // of the keys that are gone
	closed bool          // no key is added any more
	done   chan struct{} // closed when the loop has ended

	// What follows belongs to the loop.
	lease     lease              // zero while there is none
	stale     []clientv3.LeaseID // replaced leases that may still be alive; keys may be under them
	silence   *time.Timer        // fires after TTL/2 without a renewal
	notBefore time.Time          // no attempt until then
	auditAt   time.Time          // when to look at all keys again
	failures  int                // since etcd last renewed our lease
	journal   journal
	watches   sync.WaitGroup
}

func newKeeper(store store, o options) *keeper {
	return &keeper{
		store: store, options: o, stream: newOwner(time.Now()).id,
		changed: make(chan struct{}, 1), events: make(chan event),
		done: make(chan struct{}), keys: make(map[string]*key), journal: journal{logger: o.logger},
	}
}

// wake starts an attempt.
func (k *keeper) wake() {
	select {
	case k.changed <- struct{}{}:
	default:
	}
}

// add takes a key into care.
func (k *keeper) add(key *key) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.closed:
		return errors.New("the registrar is closed")
	case k.keys[key.name] != nil:
		return errors.New("this registrar holds that key already: Close the other registration first, or give another ID")
	}
	key.tally.become(registering)
	k.keys[key.name] = key
	k.wake()
	return nil
}

// run holds the keys until ctx ends.
func (k *keeper) run(ctx context.Context) {
	defer close(k.done)
	next := time.NewTimer(0)
	k.silence = time.NewTimer(time.Hour)
	defer next.Stop()
	defer k.silence.Stop()
	k.silence.Stop()
	defer k.watches.Wait()
	k.watches.Go(func() { k.reconnectWhileDown(ctx) })
	for {
		select {
		case <-ctx.Done():
			return
		case _, ok := <-k.lease.renewals: // never, while there is no lease
			if !ok {
				k.dropLease("its keep-alive ended")
				break
			}
			k.failures = 0
			if !k.renewed() {
				continue
			}
		case <-k.silence.C:
			k.fallSilent()
		case e := <-k.events:
			if !k.noteEvent(e) {
				continue
			}
		case <-k.changed:
		case <-next.C:
		}
		next.Reset(k.attempt(ctx))
		k.journal.flush(k.lease.id)
	}
}

// attempt brings etcd to what is wished for and returns when to look again.
func (k *keeper) attempt(ctx context.Context) time.Duration {
	if wait := time.Until(k.notBefore); wait > 0 {
		return wait
	}
	due := k.dueKeys()
	attemptCtx, cancel := context.WithTimeout(ctx, k.attemptTime(due))
	defer cancel()
	var noLease error
	if slices.ContainsFunc(due, func(key *key) bool { return !key.wish.desireNow().gone }) {
		noLease = k.ensureLease(attemptCtx)
	}
	errs := k.reconcile(attemptCtx, due, noLease)
	if ctx.Err() != nil { // not etcd's fault: the registrar closes
		return 0
	}
	if slices.ContainsFunc(errs, func(err error) bool { return errors.Is(err, rpctypes.ErrLeaseNotFound) }) {
		k.dropLease("etcd does not know it") // and all is looked at again
		return time.Until(k.notBefore)
	}
	pause := k.schedule(ctx, due, errs)
	k.releaseLeases(attemptCtx)
	for i, key := range due {
		if errs[i] == nil || isVerdict(errs[i]) {
			key.wish.settle(key.seen, errs[i])
		}
	}
	if noLease != nil {
		k.notBefore = time.Now().Add(pause)
	}
	return k.untilNext()
}
