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
	// leaderBackoff is for the loss of the leader, which ends the watches of all
	// clients at once.
	leaderBackoff = time.Second
	// maxExtraBackoff is for what the channels can do without: a client that may
	// not read it asks again and again.
	maxExtraBackoff = 30 * time.Second
	// manyFailures is after how many a permission is no more expected to come soon.
	manyFailures = 8
	// warnInterval is how often trouble of one kind may change its text in the log.
	warnInterval = time.Minute
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
	what    string // of the service, for the log
	extra   bool   // the channels can do without
	run     *run   // of the service
	replica *replica
	log     *slog.Logger
	wake    chan struct{} // cuts a wait short; holds one token
	doubt   chan struct{} // the connection is a new one; likewise

	// What follows belongs to the goroutine of follow.
	store     store
	link      *link
	lister    lister
	listed    bool     // linearizably
	revision  int64    // up to which all is known
	cluster   uint64   // whose
	audited   snapshot // to be compared with what the watch told; none while its revision is 0
	failures  int      // sessions that ended early, in a row
	trouble   string   // why the last session ended; "" after health
	recovered bool     // from that, and the log knows
	warned    string   // the kind of trouble the log was last warned of; "" after health
	warnedAt  time.Time

	// What follows is guarded by the lock of the service's knowledge.
	answered bool // etcd did, or the first list failed
	synced   bool // the last list was a linearizable one, and its watch has not ended
}

func newFeed(r *run, what string, replica *replica, keys keyRange) *feed {
	return &feed{
		what:    what,
		extra:   len(r.feeds) > 0,
		run:     r,
		replica: replica,
		log:     r.service.log,
		wake:    make(chan struct{}, 1),
		doubt:   make(chan struct{}, 1),
		lister:  lister{keys: keys, page: defaultPage},
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
		pause(ctx, delay, f.wake)
	}
}

// backoff returns how long to wait before the next session: not at all after
// what a list cures, unless it came soon after other trouble.
func (f *feed) backoff(cause error) time.Duration {
	switch {
	case f.failures == 0 && (errors.Is(cause, rpctypes.ErrCompacted) || errors.Is(cause, errHistory)):
		return 0
	case f.failures == 0 && f.listed && causeOf(cause) == "leaderless":
		return rand.N(leaderBackoff)
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

// pause returns after delay, when there is a token in wake, or when ctx ends.
func pause(ctx context.Context, delay time.Duration, wake <-chan struct{}) {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-wake:
	case <-ctx.Done():
	}
}

// report tells the service and the log why a session ended.
func (f *feed) report(ctx context.Context, cause error, delay time.Duration) {
	f.run.degraded(f, cause)
	level := slog.LevelWarn
	kind := causeOf(cause)
	if f.trouble == cause.Error() || f.warned == kind && time.Since(f.warnedAt) < warnInterval {
		level = slog.LevelDebug // once is enough
	} else {
		f.warned, f.warnedAt = kind, time.Now()
	}
	f.trouble, f.recovered = cause.Error(), level == slog.LevelDebug && f.recovered
	f.log.Log(ctx, level, "etcdresolver: degraded", "what", f.what, "cause", cause, "revision", f.revision,
		"listed", f.listed, "failures", f.failures, "retry_in", delay)
}

// reportSynced tells the log that a list was taken in.
func (f *feed) reportSynced(ctx context.Context, keys int) {
	level := slog.LevelInfo
	if f.recovered {
		level = slog.LevelDebug // from the same trouble, again and again
	}
	f.recovered = true
	f.log.Log(ctx, level, "etcdresolver: synced", "what", f.what, "revision", f.revision,
		"keys", keys, "after", f.trouble)
}

// forget ends the memory of trouble.
func (f *feed) forget() { f.failures, f.trouble, f.recovered, f.warned = 0, "", false, "" }

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
