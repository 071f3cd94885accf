package etcdresolver

import (
	"context"
	"maps"
	"slices"
	"sync"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/metadata"
)

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

// tell sends those of events that w asked for.
func (w *fakeWatch) tell(events []*clientv3.Event, header *etcdserverpb.ResponseHeader) {
	events = slices.DeleteFunc(slices.Clone(events), func(event *clientv3.Event) bool { return !w.wants(event) })
	if len(events) > 0 {
		w.send(clientv3.WatchResponse{Header: header, Events: events})
	}
}

func (e *fakeEtcd) Watch(ctx context.Context, key string, opts ...clientv3.OpOption) clientv3.WatchChan {
	w := &fakeWatch{ctx: ctx, op: clientv3.OpWatch(key, opts...), c: make(chan clientv3.WatchResponse, 10_000)}
	context.AfterFunc(ctx, w.finish)
	e.mu.Lock()
	if w.op.Rev() < e.compacted {
		w.send(clientv3.WatchResponse{Created: true})
		w.send(clientv3.WatchResponse{Canceled: true, CompactRevision: e.compacted})
		w.finish()
	} else {
		w.tell(e.history, e.headerLocked())
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

// watchOf gives the watch made last of keys from one on.
func (e *fakeEtcd) watchOf(from string) *fakeWatch {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, w := range slices.Backward(e.watches) {
		if string(w.op.KeyBytes()) == from {
			return w
		}
	}
	return nil
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
			w.send(clientv3.WatchResponse{Header: e.headerLocked()})
		}
	}
	return nil
}

func (e *fakeEtcd) setMute(mute bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.mute = mute
}
