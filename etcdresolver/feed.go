package etcdresolver

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	minBackoff = 100 * time.Millisecond
	maxBackoff = 5 * time.Second
	// crowdSpread is how long the lists of all clients take that something befalls at
	// once: the loss of the leader, or that etcd is back. Only those are spread that wait
	// for their next session, not those that already hang when etcd is back.
	crowdSpread = time.Second
	// maxExtraBackoff is for what the channels can do without: a client that may
	// not read it asks again and again.
	maxExtraBackoff = 30 * time.Second
	// manyFailures is after how many a permission is no more expected to come soon.
	manyFailures = 8
	// healthyAfter is how long a session lasts before earlier failures are forgotten.
	healthyAfter = 10 * time.Second
	// startTimeout bounds the list of a single member that may lag behind, which a
	// feed without a list starts from when there is no other.
	startTimeout = 300 * time.Millisecond
)

// listTimeout bounds a page of the first list after trouble, then of the second,
// then of all others. With startTimeout the first is short of a second, within
// which a channel without a list gets its error.
var listTimeout = [...]time.Duration{500 * time.Millisecond, 2 * time.Second, 5 * time.Second}

// keyRange are the keys from one on, and before another.
type keyRange struct{ from, to string }

func prefixRange(prefix string) keyRange {
	return keyRange{prefix, clientv3.GetPrefixRangeEnd(prefix)}
}

// feed keeps one part of a service equal to what stands in etcd in a range of
// keys: it runs one session after the other until its context ends.
type feed struct {
	extra   bool // the channels can do without
	run     *run // of the service
	replica *replica
	log     *slog.Logger
	wake    chan struct{} // cuts a wait short; holds one token
	renewed chan struct{} // the connection was; likewise

	// What follows belongs to the goroutine of follow.
	store     store
	link      *link
	lister    lister
	audited   snapshot // to be compared with what the watch told; none while its revision is 0
	failures  int      // sessions that ended early, in a row
	trouble   string   // why the last session ended; "" after health
	warned    string   // why one did that the log was told of aloud last; likewise
	recovered bool     // from that, and the log knows
	warnings  rations  // of each kind of trouble

	// What follows is guarded by the lock of the service's knowledge.
	answered bool // etcd did, or the first list failed
	synced   bool // the last list was a linearizable one, and its watch has not ended
}

func newFeed(r *run, replica *replica, keys keyRange) *feed {
	return &feed{
		extra:   len(r.feeds) > 0,
		run:     r,
		replica: replica,
		log:     r.service.log.With("what", replica.name),
		wake:    make(chan struct{}, 1),
		renewed: make(chan struct{}, 1),
		lister:  lister{keys: keys, page: defaultPage},

		warnings: make(rations),
	}
}

// follow returns soon after ctx ends.
func (f *feed) follow(ctx context.Context) {
	for {
		cause := f.session(ctx)
		if ctx.Err() != nil {
			return
		}
		delay := f.backoff(cause)
		f.failures++
		f.report(ctx, cause, delay)
		f.pause(ctx, delay)
	}
}

// backoff returns how long to wait before the next session: not at all after
// what a list cures, unless it came soon after other trouble.
func (f *feed) backoff(cause error) time.Duration {
	switch {
	case f.failures == 0 && (errors.Is(cause, rpctypes.ErrCompacted) || errors.Is(cause, errHistory)):
		return 0
	case f.failures == 0 && causeOf(cause) == "leaderless":
		return f.run.turn()
	case f.extra && f.failures > manyFailures && errors.Is(cause, rpctypes.ErrPermissionDenied):
		return nearly(maxExtraBackoff)
	case f.extra:
		return backoff(f.failures, maxExtraBackoff)
	default:
		return backoff(f.failures, maxBackoff)
	}
}

// backoff returns a random time below a limit that doubles with each failure.
func backoff(failures int, most time.Duration) time.Duration {
	return rand.N(min(minBackoff<<min(failures, 20), most))
}

// nearly returns a random time, a fifth shorter or longer than d at most.
func nearly(d time.Duration) time.Duration { return d*4/5 + rand.N(d*2/5) }

// pause returns after delay, soon after a reconnect, when there is a token in wake, or
// when ctx ends.
func (f *feed) pause(ctx context.Context, delay time.Duration) {
	due := time.Now().Add(delay)
	timer := time.NewTimer(delay)
	defer timer.Stop()
	for {
		select {
		case <-f.renewed:
			if sooner := time.Now().Add(f.run.turn()); sooner.Before(due) {
				due = sooner
				timer.Reset(time.Until(due))
			}
		case <-timer.C:
			return
		case <-f.wake:
			return
		case <-ctx.Done():
			return
		}
	}
}

// report tells the service and the log why a session ended.
func (f *feed) report(ctx context.Context, cause error, delay time.Duration) {
	revision := f.run.degraded(f, cause)
	level := slog.LevelDebug // once is enough
	f.trouble = cause.Error()
	if f.trouble != f.warned && f.warnings.take(causeOf(cause)) == 1 {
		level, f.warned, f.recovered = slog.LevelWarn, f.trouble, false
	}
	f.log.Log(ctx, level, "etcdresolver: degraded", "cause", cause, "revision", revision,
		"failures", f.failures, "retry_in", delay)
}

// reportSynced tells the log that a list was taken in.
func (f *feed) reportSynced(ctx context.Context, list snapshot) {
	level := slog.LevelInfo
	if f.recovered {
		level = slog.LevelDebug // from the same trouble, again and again
	}
	f.recovered = true
	f.log.Log(ctx, level, "etcdresolver: synced", "revision", list.revision,
		"keys", len(list.kvs), "after", f.trouble)
}

// forget ends the memory of trouble: the next is news to the log.
func (f *feed) forget() {
	f.failures, f.trouble, f.warned = 0, "", ""
	clear(f.warnings)
}

// signal puts a token into c, unless there is one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// unsignal takes a token out of c, if there is one.
func unsignal(c chan struct{}) {
	select {
	case <-c:
	default:
	}
}
