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
)

// fakeEtcd is a store with etcd's revisions, history and compaction, and with
// faults at will.
type fakeEtcd struct {
	mu        sync.Mutex
	cluster   uint64
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
	return &fakeEtcd{cluster: 7, revision: 1, endpoints: []string{"etcd-1:2379"}}
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
	header, watches := e.headerLocked(), slices.Clone(e.watches)
	e.mu.Unlock()
	for _, w := range watches {
		w.tell(events, header)
	}
	return header.Revision
}

func (e *fakeEtcd) put(key, value string) int64 { return e.commit(change{key, value}) }
func (e *fakeEtcd) delete(key string) int64     { return e.commit(change{key: key}) }

// restore takes etcd back to what it was at revision. As etcd's client does, the
// watches go on as if nothing had happened.
func (e *fakeEtcd) restore(revision int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.revision = revision
	e.history = slices.DeleteFunc(e.history, func(event *clientv3.Event) bool { return event.Kv.ModRevision > revision })
}

// replace puts another cluster in etcd's place, an empty one.
func (e *fakeEtcd) replace() {
	e.restore(1)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.cluster++
}

func (e *fakeEtcd) headerLocked() *etcdserverpb.ResponseHeader {
	return &etcdserverpb.ResponseHeader{ClusterId: e.cluster, Revision: e.revision}
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
	} else if ctx.Err() != nil {
		return nil, ctx.Err()
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
	response := &clientv3.GetResponse{Header: e.headerLocked()}
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

func (e *fakeEtcd) counts() (gets, watches, progress int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.gets, len(e.watches), e.progress
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

// noMajority has etcd answer serializable lists only.
func (e *fakeEtcd) noMajority(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.onGet = func(_ int, op clientv3.Op) error {
		if op.IsSerializable() {
			return nil
		}
		return err
	}
}

// onGetOf delays or fails the lists under a prefix.
func (e *fakeEtcd) onGetOf(prefix string, f func() error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	before := e.onGet
	e.onGet = func(n int, op clientv3.Op) error {
		if bytes.HasPrefix(op.KeyBytes(), []byte(prefix)) {
			return f()
		}
		if before != nil {
			return before(n, op)
		}
		return nil
	}
}

func (e *fakeEtcd) builder(tb testing.TB, opts ...Option) *Builder {
	tb.Helper()
	return e.builderWith(nil, opts...)
}

// builderWith has the builder look after the connection too.
func (e *fakeEtcd) builderWith(link *link, opts ...Option) *Builder {
	defaults := []Option{WithLogger(slog.New(slog.DiscardHandler)), WithoutOverrides()}
	return newBuilder(&given{store: e, link: link}, append(defaults, opts...))
}
