package etcdregistry

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/metadata"
)

// endWatches ends some watches, as etcd's client does after a compaction, for one.
func (s *fakeStore) endWatches(most int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for w := range s.watchers {
		if most--; most < 0 {
			return
		}
		delete(s.watchers, w)
		close(w.responses)
	}
}

// deafen takes the watches away without a word to those who wait for them.
func (s *fakeStore) deafen() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for w := range s.watchers {
		w.key = "no such key"
	}
}

func (s *fakeStore) watchStreams() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.streams)
}

func TestWatch_DeletedKeyIsPutBackAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		r := mustRegister(t, &s, Instance{})
		synctest.Wait()
		s.delete(testKey)
		synctest.Wait()
		require.NotZero(t, s.key(testKey).lease)
		require.Equal(t, 1, r.Stats().KeysLost)

		s.delete(testKey) // the second time within a second
		synctest.Wait()
		require.Zero(t, s.key(testKey))
		pass(repairEvery)
		require.NotZero(t, s.key(testKey).lease)
	})
}

func TestWatch_RevokedLeaseIsReplacedWithinASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		r := mustRegister(t, &s, Instance{})
		synctest.Wait()
		s.endLease(s.key(testKey).lease)
		pass(spreadPause)
		require.NotZero(t, s.key(testKey).lease)
		require.Equal(t, 1, s.leaseCount())
		require.Equal(t, Stats{Registrations: 1, State: "registered", Puts: 2, LeasesLost: 1, RenewalAge: r.Stats().RenewalAge}, r.Stats())
	})
}

func TestWatch_OwnWritesCauseNoLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		r := mustRegister(t, &s, Instance{})
		synctest.Wait()
		looks := s.count("holder")
		require.NoError(t, r.Update(t.Context(), r.inst.Attrs))
		synctest.Wait()
		require.Equal(t, looks+1, s.count("holder"), "that of Update")
	})
}

// What happened while there was no watch is seen when there is one again.
func TestWatch_ThatEndsIsMadeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		mustRegister(t, &s, Instance{})
		synctest.Wait()
		s.endWatches(1)
		s.delete(testKey)
		pass(leastPause)
		require.NotZero(t, s.key(testKey).lease)
	})
}

// A stream that has failed is not used again, nor is there a new one for each watch.
func TestWatch_FailedStreamIsReplacedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const many = 10
		var s fakeStore
		g := mustRegistrar(t, &s)
		for i := range many {
			mustJoin(t, g, fmt.Sprintf("10.0.0.7:%d", 1+i))
		}
		synctest.Wait()
		streams := s.watchStreams()
		require.Len(t, streams, many)
		require.Len(t, slices.Compact(streams), 1, "one registrar, one stream")
		s.endWatches(many)
		pass(time.Second)
		again := s.watchStreams()[many:]
		require.Len(t, again, many)
		require.Len(t, slices.Compact(again), 1)
		require.NotEqual(t, streams[0], again[0])
	})
}

// The watches of one stream do not all end at the same moment.
func TestWatch_LateOneJoinsTheNewStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		g := mustRegistrar(t, &s)
		mustJoin(t, g, "10.0.0.7:1")
		mustJoin(t, g, "10.0.0.7:2")
		synctest.Wait()
		s.mu.Lock()
		var late *fakeWatcher
		for w := range s.watchers {
			late = w
		}
		delete(s.watchers, late) // so that the other one ends first
		s.mu.Unlock()
		s.endWatches(1)
		pass(time.Second)
		close(late.responses)
		pass(time.Second)
		streams := s.watchStreams()
		require.Len(t, streams, 4)
		require.Equal(t, streams[0], streams[1])
		require.NotEqual(t, streams[0], streams[2])
		require.Equal(t, streams[2], streams[3])
	})
}

func TestWatch_EndsWithItsRegistration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		g := mustRegistrar(t, &s)
		r := mustJoin(t, g, testAddr)
		mustJoin(t, g, "10.0.0.7:2")
		synctest.Wait()
		require.Len(t, s.watchers, 2)
		mustClose(t, r)
		synctest.Wait()
		require.Len(t, s.watchers, 1)
	})
}

func TestWatch_ThatFailsIsTriedWithoutAStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		s.setFault(failing(errRefused, "watch"))
		mustRegister(t, &s, Instance{})
		pass(10 * time.Minute)
		require.Less(t, s.count("watch"), 60)
		require.Greater(t, s.count("watch"), 10)
		s.setFault(nil)
		pass(watchFor / 10)
		s.delete(testKey)
		synctest.Wait()
		require.NotZero(t, s.key(testKey).lease)
	})
}

// The audit is the net under a watch that has died without a word, and such a watch
// does not stay.
func TestWatch_DeadOneIsNoticedByTheAuditAndReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		mustRegister(t, &s, Instance{})
		synctest.Wait()
		s.deafen()
		s.delete(testKey)
		synctest.Wait()
		require.Zero(t, s.key(testKey))
		pass(testTTL / 2)
		require.NotZero(t, s.key(testKey).lease)

		pass(watchFor)
		s.delete(testKey)
		synctest.Wait()
		require.NotZero(t, s.key(testKey).lease)
	})
}

// watcherFunc is a clientv3.Watcher that only watches.
type watcherFunc func(ctx context.Context) clientv3.WatchChan

func (w watcherFunc) Watch(ctx context.Context, _ string, _ ...clientv3.OpOption) clientv3.WatchChan {
	return w(ctx)
}
func (watcherFunc) RequestProgress(context.Context) error { return nil }
func (watcherFunc) Close() error                          { return nil }

func TestStore_WatchHasAStreamOfItsOwnAndNeedsALeader(t *testing.T) {
	client := clientv3.NewCtxClient(context.Background())
	client.Watcher = watcherFunc(func(ctx context.Context) clientv3.WatchChan {
		sent, _ := metadata.FromOutgoingContext(ctx)
		require.Equal(t, []string{"abc-1"}, sent["steelyard-registrar"])
		require.Equal(t, []string{"true"}, sent["hasleader"])
		return nil
	})
	etcd{client}.watch(t.Context(), testKey, "abc-1")
}
