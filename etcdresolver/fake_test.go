package etcdresolver

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/metadata"
)

// fakeEtcd is a store with etcd's revisions, history and compaction, and with
// faults at will.
type fakeEtcd struct {
	mu        sync.Mutex
	revision  int64
	compacted int64
	history   []*clientv3.Event
	watches   []*fakeWatch

	gets      int
	onGet     func(n int, op clientv3.Op) error // called without mu before the nth Get
	onWatch   func(n int, w *fakeWatch)         // called without mu with the nth watch made
	mute      bool                              // progress requests are not answered
	progress  int                               // progress requests answered
	endpoints []string
}

func newFakeEtcd() *fakeEtcd {
	return &fakeEtcd{revision: 1, endpoints: []string{"etcd-1:2379"}}
}

// fakeWatch is one watch as the test holds it.
type fakeWatch struct {
	ctx      context.Context
	op       clientv3.Op
	mu       sync.Mutex
	c        chan clientv3.WatchResponse
	finished bool
}

func (w *fakeWatch) send(response clientv3.WatchResponse) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.finished {
		w.c <- response
	}
}

func (w *fakeWatch) finish() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.finished {
		w.finished = true
		close(w.c)
	}
}

func (w *fakeWatch) wants(event *clientv3.Event) bool {
	return event.Kv.ModRevision >= w.op.Rev() && inRange(event.Kv.Key, w.op)
}

func inRange(key []byte, op clientv3.Op) bool {
	return bytes.Compare(key, op.KeyBytes()) >= 0 && bytes.Compare(key, op.RangeBytes()) < 0
}

// change is a put, or with an empty value a delete.
type change struct{ key, value string }

// commit makes changes in one transaction.
func (e *fakeEtcd) commit(changes ...change) int64 {
	e.mu.Lock()
	e.revision++
	var events []*clientv3.Event
	for _, c := range changes {
		kv := &mvccpb.KeyValue{Key: []byte(c.key), Value: []byte(c.value), ModRevision: e.revision, CreateRevision: e.revision}
		event := &clientv3.Event{Type: clientv3.EventTypePut, Kv: kv}
		if old := e.stateLocked(e.revision)[c.key]; old != nil {
			kv.CreateRevision = old.CreateRevision
		}
		if c.value == "" {
			event.Type, kv.Value, kv.CreateRevision = clientv3.EventTypeDelete, nil, 0
		}
		e.history = append(e.history, event)
		events = append(events, event)
	}
	revision, watches := e.revision, slices.Clone(e.watches)
	e.mu.Unlock()
	for _, w := range watches {
		w.send(eventsFor(w, events, revision))
	}
	return revision
}

func (e *fakeEtcd) put(key, value string) int64 { return e.commit(change{key, value}) }
func (e *fakeEtcd) delete(key string) int64     { return e.commit(change{key: key}) }

func eventsFor(w *fakeWatch, events []*clientv3.Event, revision int64) clientv3.WatchResponse {
	response := clientv3.WatchResponse{Header: &etcdserverpb.ResponseHeader{Revision: revision}}
	for _, event := range events {
		if w.wants(event) {
			response.Events = append(response.Events, event)
		}
	}
	return response
}

// compact forgets what was before revision.
func (e *fakeEtcd) compact(revision int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.compacted = revision
}

// now gives the revision of the last commit.
func (e *fakeEtcd) now() int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.revision
}

func (e *fakeEtcd) setMute(mute bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.mute = mute
}

func (e *fakeEtcd) stateLocked(revision int64) map[string]*mvccpb.KeyValue {
	state := make(map[string]*mvccpb.KeyValue)
	for _, event := range e.history {
		if event.Kv.ModRevision > revision {
			break
		}
		if event.Type == clientv3.EventTypeDelete {
			delete(state, string(event.Kv.Key))
		} else {
			state[string(event.Kv.Key)] = event.Kv
		}
	}
	return state
}

func (e *fakeEtcd) Get(ctx context.Context, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	op := clientv3.OpGet(key, opts...)
	e.mu.Lock()
	e.gets++
	n, onGet := e.gets, e.onGet
	e.mu.Unlock()
	if onGet != nil {
		if err := onGet(n, op); errors.Is(err, errHang) {
			<-ctx.Done()
			return nil, ctx.Err()
		} else if err != nil {
			return nil, err
		}
	}
	if _, ok := ctx.Deadline(); !ok {
		return nil, errors.New("fake: list without a deadline")
	}
	if op.IsSerializable() {
		return nil, errors.New("fake: serializable list")
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	revision := e.revision
	if op.Rev() > 0 {
		revision = op.Rev()
	}
	if revision < e.compacted {
		return nil, rpctypes.ErrCompacted
	}
	return e.rangeLocked(op, revision), nil
}

func (e *fakeEtcd) rangeLocked(op clientv3.Op, revision int64) *clientv3.GetResponse {
	response := &clientv3.GetResponse{Header: &etcdserverpb.ResponseHeader{Revision: e.revision}}
	state := e.stateLocked(revision)
	for _, key := range slices.Sorted(maps.Keys(state)) {
		if !inRange([]byte(key), op) {
			continue
		}
		if op.Limit() > 0 && int64(len(response.Kvs)) == op.Limit() {
			response.More = true
			break
		}
		response.Kvs = append(response.Kvs, state[key])
	}
	return response
}

// errHang has a Get wait for its deadline.
var errHang = errors.New("fake: hang")

func (e *fakeEtcd) Watch(ctx context.Context, key string, opts ...clientv3.OpOption) clientv3.WatchChan {
	w := &fakeWatch{ctx: ctx, op: clientv3.OpWatch(key, opts...), c: make(chan clientv3.WatchResponse, 10_000)}
	context.AfterFunc(ctx, w.finish)
	e.mu.Lock()
	if w.op.Rev() < e.compacted {
		w.send(clientv3.WatchResponse{Created: true})
		w.send(clientv3.WatchResponse{Canceled: true, CompactRevision: e.compacted})
		w.finish()
	} else if past := eventsFor(w, e.history, e.revision); len(past.Events) > 0 {
		w.send(past)
	}
	e.watches = append(e.watches, w)
	n, onWatch := len(e.watches), e.onWatch
	e.mu.Unlock()
	if onWatch != nil {
		onWatch(n, w)
	}
	return w.c
}

// last gives the watch made last.
func (e *fakeEtcd) last() *fakeWatch {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.watches[len(e.watches)-1]
}

// live counts the watches that are neither cancelled nor ended.
func (e *fakeEtcd) live() (count int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, w := range e.watches {
		w.mu.Lock()
		if !w.finished && w.ctx.Err() == nil {
			count++
		}
		w.mu.Unlock()
	}
	return count
}

func (e *fakeEtcd) counts() (gets, watches, progress int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.gets, len(e.watches), e.progress
}

// RequestProgress answers the watches with the same outgoing metadata, as etcd's
// client does, and only those from a revision that is there already, as etcd does.
func (e *fakeEtcd) RequestProgress(ctx context.Context) error {
	asking, _ := metadata.FromOutgoingContext(ctx)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.mute {
		return nil
	}
	for _, w := range e.watches {
		md, _ := metadata.FromOutgoingContext(w.ctx)
		if maps.EqualFunc(md, asking, slices.Equal) && w.op.Rev() <= e.revision {
			e.progress++
			w.send(clientv3.WatchResponse{Header: &etcdserverpb.ResponseHeader{Revision: e.revision}})
		}
	}
	return nil
}

func (e *fakeEtcd) Endpoints() []string { return e.endpoints }

func (e *fakeEtcd) failGets(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err == nil {
		e.onGet = nil
		return
	}
	e.onGet = func(int, clientv3.Op) error { return err }
}

func (e *fakeEtcd) builder(tb testing.TB, opts ...Option) *builder {
	tb.Helper()
	quiet := WithLogger(slog.New(slog.DiscardHandler))
	return newBuilder(e, nil, newOptions(append([]Option{quiet}, opts...)))
}
