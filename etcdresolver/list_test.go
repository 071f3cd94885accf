package etcdresolver

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// filledEtcd holds n keys, of which ten make a page.
func filledEtcd(n int) *fakeEtcd {
	etcd := newFakeEtcd()
	value := strings.Repeat("x", pageBytes/10-len("payments/0000"))
	for i := range n {
		etcd.put(fmt.Sprintf("payments/%04d", i), value)
	}
	etcd.put("payments-eu/x", addrA)
	etcd.put("payments0", addrA)
	return etcd
}

func TestLister_PagesAreOfOneRevision(t *testing.T) {
	etcd := filledEtcd(25)
	want := etcd.now()
	etcd.onGet = func(n int, op clientv3.Op) error {
		require.EqualValues(t, 10, op.Limit())
		if n > 1 {
			require.Equal(t, want, op.Rev())
			etcd.put(fmt.Sprintf("payments/9%d", n), addrA) // not part of this list
		}
		return nil
	}
	l := lister{store: etcd, keys: prefixRange("payments/"), page: 10}
	list, err := l.list(t.Context(), time.Second)
	require.NoError(t, err)
	require.Equal(t, want, list.revision)
	require.Len(t, list.kvs, 25)
	for i, kv := range list.kvs {
		require.Equal(t, fmt.Sprintf("payments/%04d", i), string(kv.Key))
	}
	require.Equal(t, 3, etcd.gets)
}

func TestLister_FullLastPageEndsTheList(t *testing.T) {
	etcd := filledEtcd(20)
	l := lister{store: etcd, keys: prefixRange("payments/"), page: 10}
	list, err := l.list(t.Context(), time.Second)
	require.NoError(t, err)
	require.Len(t, list.kvs, 20)
	require.Equal(t, 2, etcd.gets)
}

func TestLister_CompactionBetweenPagesStartsOver(t *testing.T) {
	etcd := filledEtcd(25)
	etcd.onGet = func(n int, _ clientv3.Op) error {
		if n == 2 {
			etcd.compact(etcd.put("payments/new", addrB))
		}
		return nil
	}
	l := lister{store: etcd, keys: prefixRange("payments/"), page: 10}
	list, err := l.list(t.Context(), time.Second)
	require.NoError(t, err)
	require.Len(t, list.kvs, 26)
	require.Equal(t, etcd.now(), list.revision)
	require.Equal(t, 2+3, etcd.gets)
}

func TestLister_EndlessCompactionIsAnError(t *testing.T) {
	etcd := filledEtcd(25)
	etcd.onGet = func(_ int, op clientv3.Op) error {
		if op.Rev() > 0 {
			return rpctypes.ErrCompacted
		}
		return nil
	}
	l := lister{store: etcd, keys: prefixRange("payments/"), page: 10}
	_, err := l.list(t.Context(), time.Second)
	require.ErrorIs(t, err, rpctypes.ErrCompacted)
	require.Equal(t, 2*maxListTries, etcd.gets)
}

func TestLister_TooLargeAPageIsAskedForInSmallerOnes(t *testing.T) {
	etcd := filledEtcd(25)
	etcd.onGet = func(_ int, op clientv3.Op) error {
		if op.Limit() > 5 {
			return status.Error(codes.ResourceExhausted, "grpc: received message larger than max (5 vs. 4)")
		}
		return nil
	}
	l := lister{store: etcd, keys: prefixRange("payments/"), page: 1000}
	list, err := l.list(t.Context(), time.Second)
	require.NoError(t, err)
	require.Len(t, list.kvs, 25)
	require.LessOrEqual(t, l.page, int64(5), "remembered for the next list")
}

func TestLister_AnOverloadedEtcdIsNotAskedAgainAtOnce(t *testing.T) {
	etcd := filledEtcd(1)
	etcd.failGets(rpctypes.ErrTooManyRequests) // the same code as a page that is too large
	l := lister{store: etcd, keys: prefixRange("payments/"), page: 10}
	_, err := l.list(t.Context(), time.Second)
	require.ErrorIs(t, err, rpctypes.ErrTooManyRequests)
	require.Equal(t, 1, etcd.gets)
}

func TestLister_PagesAreAsLargeAsTheirBytesAllow(t *testing.T) {
	etcd := filledEtcd(0)
	for i := range 3000 {
		etcd.put(fmt.Sprintf("payments/%04d", i), strings.Repeat("x", pageBytes/1000))
	}
	var limits []int64
	etcd.onGet = func(_ int, op clientv3.Op) error {
		limits = append(limits, op.Limit())
		return nil
	}
	l := lister{store: etcd, keys: prefixRange("payments/"), page: 100}
	list, err := l.list(t.Context(), time.Second)
	require.NoError(t, err)
	require.Len(t, list.kvs, 3000)
	require.EqualValues(t, 100, limits[0])
	require.EqualValues(t, 100*pageGrowth, limits[1], "not too much at once")
	for _, limit := range limits[2:] {
		require.InDelta(t, 1000, limit, 20)
	}
}

func TestLister_PagesShrinkForAFewLargeValuesOnly(t *testing.T) {
	etcd := newFakeEtcd()
	var changes []change
	for i := range 2000 {
		changes = append(changes, change{fmt.Sprintf("payments/%04d", i), addrA})
	}
	want := etcd.commit(changes...)
	etcd.onGet = func(_ int, op clientv3.Op) error {
		if string(op.KeyBytes()) <= "payments/0002" && op.Limit() > 2 { // the first three are large
			if op.Rev() > 0 {
				etcd.put("payments/9999", addrA) // not of this list
			}
			return status.Error(codes.ResourceExhausted, "grpc: received message larger than max (5 vs. 4)")
		}
		return nil
	}
	l := lister{store: etcd, keys: prefixRange("payments/"), page: 1000}
	list, err := l.list(t.Context(), time.Second)
	require.NoError(t, err)
	require.Equal(t, want, list.revision)
	require.Len(t, list.kvs, 2000)
	require.Less(t, etcd.gets, 20)
	require.Greater(t, l.page, int64(500), "large again")
}
