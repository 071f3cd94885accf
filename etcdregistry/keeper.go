package etcdregistry

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// attemptLimit bounds one attempt to bring etcd to what is wished for: a
	// member that hangs must not hold the loop. What an attempt achieved, a lease
	// for one, is kept for the next.
	attemptLimit = 5 * time.Second
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
	spreadPause = 500 * time.Millisecond
	// logEvery bounds how often trouble that lasts is logged.
	logEvery = 30 * time.Second
	// closeLimit bounds Close. The draining must leave some of it for the removal.
	closeLimit = 3 * time.Second
	drainLimit = 2 * time.Second
)

// state is what a registration is at, for the log.
type state string

const (
	registering   state = "registering"   // the key never stood yet
	registered    state = "registered"    // the key stands
	suspect       state = "suspect"       // there is a lease, but etcd does not answer or the key is another's
	reregistering state = "reregistering" // the lease or the key was lost
	draining      state = "draining"      // marked as draining, the key goes soon
	closed        state = "closed"        // the key is gone
)

// keeper holds one key in etcd. Its loop is the only one that talks to etcd for a
// registration, so that Update, repairs and Close never cross each other.
//
// There is one mechanism: attempt, which compares etcd with the wish and mends the
// difference. It runs at the start, when the wish changes, when a keep-alive ends,
// after a pause when it failed, and every TTL/2 when it did not.
type keeper struct {
	store store
	key   string
	wish  *wish
	options

	// What follows belongs to the loop.
	lease   lease              // zero while there is none
	silence *time.Timer        // fires after TTL/2 without a renewal
	stale   []clientv3.LeaseID // replaced leases that may still be alive; the key may be under one
	stands  bool               // the key was put once
	written int                // the version of the wish put last

	state    state
	logged   time.Time // when the state was logged last
	failures int       // since etcd last renewed our lease
	revision int64     // of the last put
}

// run holds the key until ctx ends.
func (k *keeper) run(ctx context.Context) {
	next, silence := time.NewTimer(0), time.NewTimer(0)
	defer next.Stop()
	defer silence.Stop()
	next.Stop() // the first wish starts the first attempt
	silence.Stop()
	k.silence = silence
	for {
		select {
		case <-ctx.Done():
			return
		case _, ok := <-k.lease.renewals: // never, while there is no lease
			if ok {
				k.renewed()
				k.failures = 0
				continue
			}
			k.dropLease("its keep-alive ended")
			next.Reset(k.pause(spreadPause))
		case <-k.silence.C:
			next.Reset(k.attempt(ctx))
		case <-k.wish.changed:
			next.Reset(k.attempt(ctx))
		case <-next.C:
			next.Reset(k.attempt(ctx))
		}
	}
}

// attempt brings etcd to what is wished for and returns when to look again.
func (k *keeper) attempt(ctx context.Context) time.Duration {
	value, version := k.wish.get()
	attemptCtx, cancel := context.WithTimeout(ctx, attemptLimit)
	defer cancel()
	err := k.reconcile(attemptCtx, value, version)
	switch {
	case err == nil:
		k.wish.settle(version, nil)
		if silence := time.Since(k.lease.renewed); silence >= k.lease.ttl/2 {
			k.become(suspect, "no keep-alive answer for "+silence.Round(time.Millisecond).String())
		} else {
			k.become(registered, "")
		}
		return k.untilAudit()
	case ctx.Err() != nil: // not etcd's fault: the registration closes
		return 0
	}

	k.wish.failed(err)
	switch {
	case !k.stands:
		k.become(registering, err.Error())
	case k.lease.id == 0:
		k.become(reregistering, err.Error())
	default:
		k.become(suspect, err.Error())
	}
	if isVerdict(err) {
		k.wish.settle(version, err)
	}
	if isForeign(err) {
		return k.untilAudit()
	}
	return k.pause(leastPause)
}

// untilAudit returns when to look after the key again: at most TTL/2, and not for
// all registrations of a process at once.
func (k *keeper) untilAudit() time.Duration {
	most := k.lease.ttl / 2
	return most - rand.N(most/5)
}

// pause returns how long to wait after a failure: full jitter below a ceiling that
// doubles with each failure until a lease has been renewed.
func (k *keeper) pause(ceiling time.Duration) time.Duration {
	for range k.failures {
		if ceiling >= mostPause {
			break
		}
		ceiling *= 2
	}
	k.failures++
	return rand.N(min(ceiling, mostPause))
}

// become notes and logs a new state. A state that lasts is logged again at most
// every logEvery, and only with a cause.
func (k *keeper) become(next state, cause string) {
	if next == k.state && (cause == "" || time.Since(k.logged) < logEvery) {
		return
	}
	k.state, k.logged = next, time.Now()
	level, fields := slog.LevelInfo, []slog.Attr{
		slog.String("state", string(next)), slog.String("key", k.key), slog.Int64("revision", k.revision),
	}
	if k.lease.id != 0 {
		fields = append(fields, leaseField(k.lease.id))
	}
	if cause != "" {
		level, fields = slog.LevelWarn, append(fields, slog.String("cause", cause))
	}
	k.logger.LogAttrs(context.Background(), level, "etcd registration", fields...)
}

// reconnectWhileDown ends with ctx. It is not part of the loop because a call to
// etcd that waits for a connection holds the loop.
func (k *keeper) reconnectWhileDown(ctx context.Context) {
	tick := time.NewTicker(reconnectEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			k.store.reconnect()
		}
	}
}
