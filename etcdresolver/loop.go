package etcdresolver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

const (
	minBackoff = 100 * time.Millisecond
	maxBackoff = 5 * time.Second
	// healthyAfter is how long a session lasts before earlier failures are forgotten.
	healthyAfter = 10 * time.Second
)

// listTimeout bounds a page of the first list after trouble, then of the second,
// then of all others. The first is short of a second, within which a channel
// without a list gets its error.
var listTimeout = [...]time.Duration{800 * time.Millisecond, 2 * time.Second, 5 * time.Second}

// loop keeps the list of one service: it runs one session after the other until
// its context ends. Its memory, the table above all, outlives the runs.
type loop struct {
	name    string
	service *service
	log     *slog.Logger
	store   store
	link    *link
	lister  lister
	window  time.Duration // of the debounce

	table     *table
	listed    bool   // there is a list to go by, be it empty
	revision  int64  // up to which the table is known to be right
	refused   int    // values refused so far
	failures  int    // sessions that ended early, in a row
	trouble   string // why the last session ended; "" after health
	recovered bool   // from that, and the log knows
}

func newLoop(name string, store store, link *link, opts options, s *service) *loop {
	prefix := name + "/"
	l := &loop{
		name:    name,
		service: s,
		log:     s.log,
		store:   store,
		link:    link,
		lister:  lister{store: store, prefix: prefix, page: defaultPage},
		window:  opts.debounce,
	}
	l.table = newTable(prefix, opts.decode, l.logRefusal)
	return l
}

// run returns soon after ctx ends.
func (l *loop) run(ctx context.Context) {
	var helpers sync.WaitGroup
	defer helpers.Wait()
	if l.link != nil {
		helpers.Go(func() { l.link.watch(ctx, l.service.wakeUp) })
	}
	l.listed = len(l.service.published()) > 0
	l.forget()
	for {
		cause := l.session(ctx)
		if ctx.Err() != nil {
			l.log.Debug("etcdresolver: closed", "endpoints", len(l.service.published()))
			return
		}
		delay := l.backoff(cause)
		l.failures++
		l.report(ctx, cause, delay)
		l.wait(ctx, delay)
	}
}

// backoff returns how long to wait before the next session: not at all after a
// compaction, which a list cures, unless it came soon after other trouble.
func (l *loop) backoff(cause error) time.Duration {
	if l.failures == 0 && errors.Is(cause, rpctypes.ErrCompacted) {
		return 0
	}
	return rand.N(min(minBackoff<<min(l.failures, 10), maxBackoff))
}

// wait returns after delay, when the connection to etcd comes up, when gRPC asks,
// or when ctx ends.
func (l *loop) wait(ctx context.Context, delay time.Duration) {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.service.wake:
	case <-ctx.Done():
	}
}

// flush publishes what the table holds, if it is news to the channels.
func (l *loop) flush(ctx context.Context) {
	list := guards(l.service.published(), l.table.refresh())
	if len(list) > 0 {
		l.service.publish(ctx, &outcome{list: list})
	} else {
		l.service.publish(ctx, &outcome{err: l.whyEmpty()})
	}
}

func (l *loop) whyEmpty() error {
	err := fmt.Errorf("etcd:///%s: no instances registered under %s in etcd at %v", l.name, l.table.prefix, l.store.Endpoints())
	if refused, why := l.table.refusals(); refused > 0 {
		err = fmt.Errorf("%w (%d refused: %w)", err, refused, why)
	}
	return err
}

// report tells the log why a session ended, and channels that have no list what
// they wait for.
func (l *loop) report(ctx context.Context, cause error, delay time.Duration) {
	if !l.listed {
		l.service.publish(ctx, &outcome{err: fmt.Errorf("etcd:///%s: no list of %s from etcd at %v yet: %w",
			l.name, l.table.prefix, l.store.Endpoints(), cause)})
	}
	level := slog.LevelWarn
	if l.trouble == cause.Error() {
		level = slog.LevelDebug // once is enough
	}
	l.trouble, l.recovered = cause.Error(), level == slog.LevelDebug && l.recovered
	l.log.Log(ctx, level, "etcdresolver: degraded", "cause", cause, "revision", l.revision,
		"listed", l.listed, "endpoints_kept", len(l.service.published()), "failures", l.failures, "retry_in", delay)
}

// reportSynced tells the log that a list was taken in.
func (l *loop) reportSynced(ctx context.Context) {
	level := slog.LevelInfo
	if l.recovered {
		level = slog.LevelDebug // from the same trouble, again and again
	}
	l.recovered = true
	l.log.Log(ctx, level, "etcdresolver: synced", "revision", l.revision,
		"endpoints", len(l.service.published()), "after", l.trouble)
}

// forget ends the memory of trouble.
func (l *loop) forget() { l.failures, l.trouble, l.recovered = 0, "", false }

func (l *loop) logRefusal(r refusal) {
	l.refused++
	l.log.Warn("etcdresolver: value refused", "key", r.key, "revision", r.revision,
		"last_good_kept", r.kept, "error", r.why, "refused_so_far", l.refused)
}
