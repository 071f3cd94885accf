package etcdresolver

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/metadata"
)

const (
	// progressInterval is how often a watch is asked for a sign of life.
	progressInterval = 5 * time.Second
	// silenceLimit is how long a watch may say nothing.
	silenceLimit = 10 * time.Second
	// progressTimeout bounds the asking: etcd's client blocks while it reconnects.
	progressTimeout = 100 * time.Millisecond
)

var (
	errSilent = fmt.Errorf("watch: no answer for %v", silenceLimit)
	errClosed = errors.New("watch: closed without an error")
)

// session takes in a list and follows the changes since, until something ends
// that. It returns what.
func (l *loop) session(ctx context.Context) error {
	timeout := listTimeout[min(l.failures, len(listTimeout)-1)]
	kvs, revision, err := l.lister.list(ctx, timeout)
	if err != nil {
		return l.link.explain(ctx, err, timeout)
	}
	l.table.replace(kvs)
	l.revision, l.listed = revision, true
	l.flush(ctx)
	l.reportSynced(ctx)

	began := time.Now()
	err = l.watch(ctx)
	if time.Since(began) >= healthyAfter {
		l.forget()
	}
	l.flush(ctx) // what came before the end is true all the same
	l.service.rest()
	return err
}

// watch follows the changes from l.revision on. It asks for those of l.revision
// too and skips them: a watch from the revision after it is given no sign of
// life until something changes.
func (l *loop) watch(parent context.Context) error {
	ctx, end := context.WithCancelCause(ownStream(parent))
	defer end(nil)
	watchdog := time.AfterFunc(silenceLimit, func() { end(errSilent) })
	defer watchdog.Stop()
	progress := time.NewTicker(progressInterval)
	defer progress.Stop()
	gathered := newDebounce(l.window)
	defer gathered.due.Stop()

	responses := l.store.Watch(ctx, l.table.prefix, clientv3.WithPrefix(), clientv3.WithRev(l.revision), clientv3.WithFragment())
	receive := func(response clientv3.WatchResponse, open bool) {
		watchdog.Reset(silenceLimit)
		changed, err := l.take(response, open)
		if changed {
			gathered.add()
		}
		if err != nil {
			end(err)
		}
	}
	for ctx.Err() == nil {
		select {
		case response, open := <-responses:
			receive(response, open)
		case <-progress.C:
			select { // a request on a stream that just ended would open one that nobody closes
			case response, open := <-responses:
				receive(response, open)
			default:
				l.askProgress(ctx)
			}
		case <-gathered.due.C:
			gathered.clear()
			l.flush(parent)
		case <-ctx.Done():
		}
	}
	return context.Cause(ctx)
}

// take takes in what the watch says and reports whether the table changed. An
// error ends the watch.
func (l *loop) take(response clientv3.WatchResponse, open bool) (changed bool, err error) {
	if !open {
		return false, errClosed
	}
	if err := response.Err(); err != nil {
		return false, fmt.Errorf("watch: %w", err)
	}
	known := l.revision
	for _, event := range response.Events {
		if event.Kv.ModRevision <= known {
			continue
		}
		changed = true
		l.revision = max(l.revision, event.Kv.ModRevision)
		if event.Type == clientv3.EventTypeDelete {
			l.table.delete(string(event.Kv.Key))
		} else {
			l.table.put(event.Kv)
		}
	}
	return changed, nil
}

// askProgress asks etcd to answer on this watch. No answer is the watchdog's affair.
func (l *loop) askProgress(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, progressTimeout)
	defer cancel()
	if err := l.store.RequestProgress(ctx); err != nil {
		l.log.Debug("etcdresolver: progress request failed", "error", err)
	}
}

// ownStream gives a watch a stream to etcd that it shares with no other: watches
// with the same outgoing metadata share one, and one that cannot answer yet, or
// whose token has expired, would silence all.
func ownStream(ctx context.Context) context.Context {
	// Without a leader, a member cut off from the others would never say so.
	return metadata.AppendToOutgoingContext(clientv3.WithRequireLeader(ctx),
		"steelyard-watch", strconv.FormatUint(rand.Uint64(), 36))
}
