package etcdregistry

import (
	"context"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testService = "payments"
	testAddr    = "10.0.0.7:8080"
	testKey     = testService + "/" + testAddr
	testTTL     = 10 * time.Second
)

// fakeStore is an etcd without a network: leases that run out, keys under
// them, and faults on demand. The zero value works.
type fakeStore struct {
	mu       sync.Mutex
	fault    func(ctx context.Context, call string) error // asked before each call
	raiseTTL time.Duration
	leases   map[clientv3.LeaseID]*fakeLease
	keys     map[string]fakeKey
	absent   []string // a line for each time a key went
	calls    map[string]int
	revision int64
	watchers map[*fakeWatcher]bool
	streams  []string // of the watches, as they were made
}

type fakeWatcher struct {
	key       string
	responses chan clientv3.WatchResponse
}

type fakeKey struct {
	value    string
	lease    clientv3.LeaseID
	revision int64
}

type fakeLease struct {
	renewals chan *clientv3.LeaseKeepAliveResponse
	silence  func() // ends the keep-alive
	expiry   *time.Timer
}

func (s *fakeStore) begin(ctx context.Context, call string) error {
	s.mu.Lock()
	if s.calls == nil {
		s.calls, s.keys, s.leases = map[string]int{}, map[string]fakeKey{}, map[clientv3.LeaseID]*fakeLease{}
		s.watchers = map[*fakeWatcher]bool{}
	}
	s.calls[call]++
	fault := s.fault
	s.mu.Unlock()
	if fault != nil {
		if err := fault(ctx, call); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (s *fakeStore) grant(ctx context.Context, ttl time.Duration) (clientv3.LeaseID, time.Duration, error) {
	if err := s.begin(ctx, "grant"); err != nil {
		return 0, 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	ttl = max(ttl, s.raiseTTL)
	id := clientv3.LeaseID(0x1000 + s.calls["grant"])
	s.leases[id] = &fakeLease{expiry: time.AfterFunc(ttl, func() { s.endLease(id) })}
	return id, ttl, nil
}

func (s *fakeStore) keepAlive(ctx context.Context, id clientv3.LeaseID) (<-chan *clientv3.LeaseKeepAliveResponse, error) {
	if err := s.begin(ctx, "keepAlive"); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	lease := s.leases[id]
	lease.silence = cancel
	lease.renewals = make(chan *clientv3.LeaseKeepAliveResponse, 16)
	go s.renewAlways(ctx, id, lease, max(testTTL, s.raiseTTL))
	return lease.renewals, nil
}

// renewAlways does what etcd's client does: it asks every TTL/3, and gives up when
// the lease is gone or a whole TTL has passed without an answer.
func (s *fakeStore) renewAlways(ctx context.Context, id clientv3.LeaseID, lease *fakeLease, ttl time.Duration) {
	defer close(lease.renewals)
	for answered := time.Now(); ctx.Err() == nil && time.Since(answered) < ttl; {
		next := time.After(ttl / 3)
		callCtx, cancel := context.WithTimeout(ctx, ttl/3)
		err := s.begin(callCtx, "renew")
		cancel()
		if err == nil {
			if !s.extend(id, ttl) {
				return
			}
			answered = time.Now()
			lease.renewals <- &clientv3.LeaseKeepAliveResponse{ID: id}
		}
		select {
		case <-ctx.Done():
		case <-next:
		}
	}
}

func (s *fakeStore) renew(ctx context.Context, id clientv3.LeaseID) error {
	if err := s.begin(ctx, "renewOnce"); err != nil {
		return err
	}
	if !s.extend(id, max(testTTL, s.raiseTTL)) {
		return rpctypes.ErrLeaseNotFound
	}
	return nil
}

func (s *fakeStore) extend(id clientv3.LeaseID, ttl time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	lease := s.leases[id]
	if lease == nil {
		return false
	}
	lease.expiry.Reset(ttl)
	return true
}

func (s *fakeStore) revoke(ctx context.Context, id clientv3.LeaseID) error {
	if err := s.begin(ctx, "revoke"); err != nil {
		return err
	}
	s.endLease(id)
	return nil
}

// endLease deletes a lease and the keys under it.
func (s *fakeStore) endLease(id clientv3.LeaseID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if lease := s.leases[id]; lease != nil {
		lease.expiry.Stop()
		delete(s.leases, id)
	}
	for key, at := range s.keys {
		if at.lease == id {
			s.deleteLocked(key)
		}
	}
}

func (s *fakeStore) deleteLocked(key string) {
	s.revision++
	s.absent = append(s.absent, key+" went with the value "+s.keys[key].value)
	delete(s.keys, key)
	s.tellLocked(clientv3.EventTypeDelete, key, fakeKey{revision: s.revision})
}

func (s *fakeStore) tellLocked(kind mvccpb.Event_EventType, key string, at fakeKey) {
	for w := range s.watchers {
		if w.key == key {
			kv := &mvccpb.KeyValue{Key: []byte(key), Value: []byte(at.value), Lease: int64(at.lease), ModRevision: at.revision}
			w.responses <- clientv3.WatchResponse{Events: []*clientv3.Event{{Type: kind, Kv: kv}}}
		}
	}
}

func (s *fakeStore) watch(ctx context.Context, key, stream string) clientv3.WatchChan {
	w := &fakeWatcher{key: key, responses: make(chan clientv3.WatchResponse, 1024)}
	err := s.begin(ctx, "watch")
	s.mu.Lock()
	defer s.mu.Unlock()
	s.streams = append(s.streams, stream)
	if err != nil {
		w.responses <- clientv3.WatchResponse{Canceled: true}
		close(w.responses)
		return w.responses
	}
	w.responses <- clientv3.WatchResponse{Created: true}
	s.watchers[w] = true
	context.AfterFunc(ctx, func() { s.endWatch(w) })
	return w.responses
}

// endWatch closes a watch as etcd's client does, without a word.
func (s *fakeStore) endWatch(w *fakeWatcher) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.watchers[w] {
		delete(s.watchers, w)
		close(w.responses)
	}
}

func (s *fakeStore) holder(ctx context.Context, key string) (holder, error) {
	if err := s.begin(ctx, "holder"); err != nil {
		return holder{}, err
	}
	at := s.key(key)
	return holder{lease: at.lease, revision: at.revision, value: []byte(at.value)}, nil
}

func (s *fakeStore) remove(ctx context.Context, key string, revision int64) (bool, error) {
	if err := s.begin(ctx, "remove"); err != nil {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.keys[key].revision != revision {
		return false, nil
	}
	s.deleteLocked(key)
	return true, nil
}

func (s *fakeStore) swap(ctx context.Context, key, value string, id clientv3.LeaseID, revision int64) (int64, error) {
	if err := s.begin(ctx, "swap"); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.keys[key].revision != revision {
		return 0, nil
	}
	if s.leases[id] == nil {
		return 0, rpctypes.ErrLeaseNotFound
	}
	return s.putLocked(key, value, id), nil
}

func (s *fakeStore) putLocked(key, value string, id clientv3.LeaseID) int64 {
	s.revision++
	s.keys[key] = fakeKey{value: value, lease: id, revision: s.revision}
	s.tellLocked(clientv3.EventTypePut, key, s.keys[key])
	return s.revision
}

func (s *fakeStore) reconnect() { _ = s.begin(context.Background(), "reconnect") }

// What follows is for the tests: the hand of an operator, and eyes.

func (s *fakeStore) key(key string) fakeKey {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keys[key]
}

// put writes a key as another registration (or, under no lease, a person) would.
func (s *fakeStore) put(key, value string, id clientv3.LeaseID) {
	_ = s.begin(context.Background(), "put")
	s.mu.Lock()
	defer s.mu.Unlock()
	s.putLocked(key, value, id)
}

func (s *fakeStore) delete(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deleteLocked(key)
}

// silence ends the keep-alive of a lease that is alive itself.
func (s *fakeStore) silence(id clientv3.LeaseID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leases[id].silence()
}

func (s *fakeStore) setFault(fault func(ctx context.Context, call string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = fault
}

func (s *fakeStore) count(call string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[call]
}

func (s *fakeStore) leaseCount() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.leases)
}

func (s *fakeStore) gaps() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.absent
}
