package etcdregistry

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
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
	go s.renew(ctx, id, lease, max(testTTL, s.raiseTTL))
	return lease.renewals, nil
}

// renew does what etcd's client does: it asks every TTL/3, and gives up when
// the lease is gone or a whole TTL has passed without an answer.
func (s *fakeStore) renew(ctx context.Context, id clientv3.LeaseID, lease *fakeLease, ttl time.Duration) {
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
}

func (s *fakeStore) holder(ctx context.Context, key string) (holder, error) {
	if err := s.begin(ctx, "holder"); err != nil {
		return holder{}, err
	}
	at := s.key(key)
	return holder{lease: at.lease, revision: at.revision}, nil
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

// down fails every call at once, as a refused connection does.
func down(err error) func(context.Context, string) error {
	return func(context.Context, string) error { return err }
}

// failing fails the named calls.
func failing(err error, calls ...string) func(context.Context, string) error {
	return func(_ context.Context, call string) error {
		for _, c := range calls {
			if c == call {
				return err
			}
		}
		return nil
	}
}

// hanging lets every call wait for the end of its context.
func hanging(ctx context.Context, call string) error {
	if call == "reconnect" {
		return nil
	}
	<-ctx.Done()
	return ctx.Err()
}

// logBuffer is a log that goroutines can write to while a test reads it.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) lines() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var lines []string
	for line := range bytes.Lines(b.text.Bytes()) {
		lines = append(lines, string(line))
	}
	return lines
}

// pass lets the time of the bubble pass, and what is due then happen.
func pass(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // the bubble's clock
	synctest.Wait()
}

func quiet() []Option {
	return []Option{WithTTL(testTTL), WithLogger(slog.New(slog.DiscardHandler))}
}

// mustRegister registers testAddr until the end of the test.
func mustRegister(t *testing.T, s *fakeStore, inst Instance, opts ...Option) *Registration {
	t.Helper()
	inst.Addr = testAddr
	r, err := register(t.Context(), s, testService, inst, append(quiet(), opts...))
	require.NoError(t, err)
	t.Cleanup(func() {
		s.setFault(nil)
		_ = r.Close(context.Background()) // those who test Close look at its error
	})
	return r
}

func mustClose(t *testing.T, r *Registration) {
	t.Helper()
	require.NoError(t, r.Close(t.Context()))
}

func mustDecode(t *testing.T, text string) Instance {
	t.Helper()
	inst, err := Decode(testKey, []byte(text))
	require.NoError(t, err)
	return inst
}
