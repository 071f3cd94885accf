package etcdresolver

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/metadata"
)

const (
	// progressInterval is how often a watch is asked for a sign of life.
	progressInterval = 5 * time.Second
	// silenceLimit is how long a watch may say nothing.
	silenceLimit = 10 * time.Second
	// doubtLimit is how soon a watch ends, at the latest, after a reconnect. That etcd's
	// client resumed it proves nothing: the store may have been restored meanwhile, and
	// may even be past the revision that was known. Spread out, because all clients of
	// an etcd reconnect at once.
	doubtLimit = 4 * time.Second
	// progressTimeout bounds the asking: etcd's client blocks while it reconnects.
	progressTimeout = 100 * time.Millisecond
	// openLimit is how long a watch that is not wanted any more may take to be made.
	openLimit = 10 * time.Second
)

// Why a watch ends, besides what etcd says.
var (
	errSilent      = fmt.Errorf("watch: no answer for %v", silenceLimit)
	errReconnected = errors.New("watch: the connection was lost in between")
	errClosed      = errors.New("watch: closed without an error")
	errHistory     = errors.New("watch: etcd was restored to an older revision, or is another cluster")
)

// session takes in a list and follows the changes since, until something ends
// that. It returns what.
func (f *feed) session(ctx context.Context) error {
	timeout := listTimeout[min(f.failures, len(listTimeout)-1)]
	list, err := f.lister.list(ctx, timeout)
	if err != nil {
		if f.run.unknown(f) && !errors.Is(err, rpctypes.ErrPermissionDenied) {
			f.start(ctx)
		}
		return f.link.explain(ctx, err, timeout)
	}
	unsignal(f.renewed) // the list is of the etcd that is there now
	if !f.adopt(ctx, list) {
		return ctx.Err()
	}
	began := time.Now()
	err = f.watch(ctx, list.revision)
	if time.Since(began) >= healthyAfter {
		f.forget()
	}
	unsignal(f.wake)
	return err
}

// start takes in what a single member knows, when there is nothing better yet.
func (f *feed) start(ctx context.Context) {
	list, err := f.lister.list(ctx, startTimeout, clientv3.WithSerializable())
	if err == nil && len(list.kvs) > 0 && f.run.list(f, false, func() { f.replica.replace(list) }) {
		f.log.WarnContext(ctx, "etcdresolver: etcd has no majority: starting with what one member knows",
			"revision", list.revision, "keys", len(list.kvs))
	}
}

// adopt takes in a linearizable list. It reports whether the run goes on.
func (f *feed) adopt(ctx context.Context, list snapshot) bool {
	if !f.run.list(f, true, func() {
		if f.replica.contradicts(list) {
			f.log.WarnContext(ctx, "etcdresolver: etcd was restored to an older revision, or is another cluster",
				"revision_before", f.replica.revision, "revision", list.revision, "cluster", strconv.FormatUint(list.cluster, 16))
		}
		f.replica.replace(list)
	}) {
		return false
	}
	f.reportSynced(ctx, list)
	return true
}

// watch follows the changes from revision, that of the list, on. It asks for those of
// that revision too, though they are known: a watch from the revision after it is given
// no sign of life until something changes.
func (f *feed) watch(parent context.Context, revision int64) error {
	ctx, end := context.WithCancelCause(ownStream(parent))
	defer end(nil)
	progress, audit := time.NewTicker(progressInterval), time.NewTimer(nearly(auditInterval))
	defer progress.Stop()
	defer audit.Stop()
	silence := time.AfterFunc(silenceLimit, func() { end(errSilent) })
	defer silence.Stop()
	doubt := stoppedTimer(func() { end(errReconnected) })
	defer doubt.Stop()
	f.audited = snapshot{}

	responses := f.open(ctx, revision)
	receive := func(response clientv3.WatchResponse, open bool) {
		silence.Reset(silenceLimit)
		if err := f.take(response, open); err != nil {
			end(err)
		}
	}
	ask := func() {
		for ctx.Err() == nil {
			select { // a request on a stream that just ended would open one that nobody closes
			case response, open := <-responses:
				receive(response, open)
			default:
				f.askProgress(ctx)
				return
			}
		}
	}
	for ctx.Err() == nil {
		select {
		case response, open := <-responses:
			receive(response, open)
		case <-progress.C:
			ask()
		case <-f.renewed:
			doubt.Reset(rand.N(doubtLimit))
		case <-audit.C:
			audit.Reset(nearly(auditInterval))
			silence.Stop() // nobody listens meanwhile
			if err := f.listAgain(ctx); err != nil {
				end(err)
			}
			silence.Reset(silenceLimit)
			ask()
		case <-ctx.Done():
		}
	}
	return context.Cause(ctx)
}

// open starts a watch from revision on and returns when etcd has it, or ctx ends. The
// watch ends with ctx, or up to openLimit later if etcd does not have it yet: etcd's
// client keeps the stream of a watch that is cancelled while it is being made until the
// client is closed.
func (f *feed) open(ctx context.Context, revision int64) clientv3.WatchChan {
	alive, cancel := context.WithCancel(context.WithoutCancel(ctx))
	made := make(chan clientv3.WatchChan, 1)
	keys := f.lister.keys
	go func() {
		defer cancel()
		late := stoppedTimer(cancel)
		defer late.Stop()
		context.AfterFunc(ctx, func() { late.Reset(openLimit) })
		made <- f.store.Watch(alive, keys.from, clientv3.WithRange(keys.to), clientv3.WithRev(revision), clientv3.WithFragment())
		<-ctx.Done()
	}()
	select {
	case responses := <-made:
		return responses
	case <-ctx.Done():
		return nil
	}
}

// take takes in what the watch says. An error ends the watch.
func (f *feed) take(response clientv3.WatchResponse, open bool) error {
	if !open {
		return errClosed
	}
	if err := response.Err(); err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	return f.run.tell(f, func() error { return f.apply(&response) })
}

// apply takes in events, and a confirmation that all was told up to a revision. The
// lock of the knowledge is held.
func (f *feed) apply(response *clientv3.WatchResponse) error {
	confirmed, known := response.IsProgressNotify(), f.replica.revision
	if h := response.Header; h != nil && (h.ClusterId != f.replica.cluster || confirmed && h.Revision < known) {
		return errHistory
	}
	for _, event := range response.Events {
		if event.Kv.ModRevision >= known { // again that of known: a transaction may come in parts
			f.compare(event.Kv.ModRevision - 1)
			f.replica.apply(event)
		}
	}
	if confirmed {
		f.compare(response.Header.Revision)
	}
	return nil
}

// askProgress asks etcd to answer on this watch. No answer is the watchdog's affair.
func (f *feed) askProgress(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, progressTimeout)
	defer cancel()
	if err := f.store.RequestProgress(ctx); err != nil {
		f.log.DebugContext(ctx, "etcdresolver: progress request failed", "error", err)
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
