package etcdregistry

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// lookLimit bounds one look at a key, or one call for the lease, or TTL/4 where
	// that is less: a member may hang, and the next call goes to another one. While
	// somebody waits the limit begins at leastLookLimit, and doubles with each failure,
	// or an etcd that is merely slow would never be waited for.
	lookLimit      = 5 * time.Second
	leastLookLimit = time.Second
	// lookWidth bounds the keys that are looked at at once.
	lookWidth = 16
	// auditWidth bounds those of them that nobody waits for.
	auditWidth = lookWidth / 2
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
	// logDelay is how long a log line waits for others of its kind, while keys are
	// being looked at.
	logDelay = time.Second
	// repairEvery bounds how often a key is put back that others keep taking away.
	repairEvery = time.Second
	// yieldFor is how long a key is left to a newer owner without a look.
	yieldFor = 30 * time.Second
	// maxStale bounds the replaced leases that are remembered. Nobody renews them, so
	// the older ones have ended, or soon will.
	maxStale = 8
	// closeLimit bounds Close. The draining must leave some of it for the removal.
	closeLimit = 3 * time.Second
	drainLimit = 2 * time.Second
)

// keeper holds the keys of a process in etcd, under one lease.
//
// Its loop decides everything and waits for nothing. What may hang, the calls to etcd,
// is left to workers: one at most for each key, so that updates, repairs and removals
// of a key never cross each other, and a key that hangs holds no other.
//
// There is one mechanism: the look at a key, which compares etcd with the wish and
// mends the difference. It is due when the wish changes, when the watch tells of a
// change by others, when the lease is lost or its keep-alive falls silent, after a
// pause when it failed, and every TTL/2 when it did not.
type keeper struct {
	store   store
	options options
	stream  string        // of the watches
	broken  atomic.Int64  // counts the streams that were given up
	changed chan struct{} // holds one token while there are keys in woken
	events  chan event
	results chan func() // of the workers; to be called by the loop
	// renewedAt is when etcd last said how long the lease lasts, nil without a lease.
	renewedAt atomic.Pointer[time.Time]
	// lasts is until when the last lease does, and the keys with it.
	lasts atomic.Pointer[time.Time]

	mu     sync.Mutex
	keys   map[string]*key
	past   Stats         // of the keys that are gone
	closed bool          // no key is added any more
	done   chan struct{} // closed when the loop has ended

	wakeMu sync.Mutex
	woken  []*key // to be planned

	// What follows belongs to the loop.
	lease      lease              // zero while there is none
	stale      []clientv3.LeaseID // replaced leases that may still be alive; keys may be under them
	silence    *time.Timer        // fires after TTL/2 without a renewal
	tending    errand             // to get or renew the lease
	releasing  errand             // to revoke stale leases
	workers    int
	looking    int       // of them, those that look at keys
	urgent     queue     // of keys to be looked at
	audits     queue     // likewise, but nobody waits for it
	auditAt    time.Time // when to look at keys that are as they should be
	answeredAt time.Time // when etcd last did
	notBefore  time.Time // nothing is begun until then, while it does not
	outage     backoff   // likewise
	journal    journal
	watches    sync.WaitGroup
}

func newKeeper(store store, o options) *keeper {
	return &keeper{
		store: store, options: o, stream: newOwner(time.Now()).id,
		changed: make(chan struct{}, 1), events: make(chan event), results: make(chan func()),
		done: make(chan struct{}), keys: make(map[string]*key), journal: journal{logger: o.logger},
	}
}

// wake has the loop plan a key: its wish has changed, or it is due.
func (k *keeper) wake(key *key) {
	k.wakeMu.Lock()
	k.woken = append(k.woken, key)
	k.wakeMu.Unlock()
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
	key.timer = time.AfterFunc(time.Hour, func() { k.wake(key) })
	k.keys[key.name] = key
	k.wake(key)
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
	reconnect := time.NewTicker(reconnectEvery)
	defer reconnect.Stop()
	defer k.watches.Wait()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
			continue
		case finish := <-k.results:
			k.take(finish)
		case _, ok := <-k.lease.renewals: // never, while there is no lease
			k.heard(ok)
		case <-k.silence.C:
			k.fallSilent()
		case e := <-k.events:
			k.noteEvent(e)
		case <-k.changed:
			k.planWoken()
		case <-reconnect.C:
			k.store.reconnect()
		case <-next.C:
		}
		next.Reset(k.turn(ctx))
	}
	for k.workers > 0 { // their contexts have ended
		k.take(<-k.results)
	}
	k.journal.flush()
}
