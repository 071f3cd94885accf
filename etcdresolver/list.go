package etcdresolver

import (
	"context"
	"errors"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	// defaultPage is how many keys are asked for first, and pageBytes how large the
	// pages after it are to be, about.
	defaultPage = 1000
	pageBytes   = 1 << 20
	maxPage     = 20_000
	// pageGrowth is how much larger than the page before it a page may be, and how
	// much smaller than one that was too large it is.
	pageGrowth = 8
	// maxListTries bounds how often one list starts over.
	maxListTries = 5
)

// store is the part of an etcd client that the loop needs.
type store interface {
	Get(ctx context.Context, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error)
	Watch(ctx context.Context, key string, opts ...clientv3.OpOption) clientv3.WatchChan
	RequestProgress(ctx context.Context) error
	Endpoints() []string
}

// lister reads all keys of a range as of one revision, in pages.
type lister struct {
	store store
	keys  keyRange
	page  int64
}

// list returns them. Each page has the timeout of its own: a list of any size gets
// through as long as etcd answers.
func (l *lister) list(ctx context.Context, timeout time.Duration, opts ...clientv3.OpOption) (list snapshot, err error) {
	for range maxListTries {
		list, err = l.try(ctx, timeout, opts)
		if !errors.Is(err, rpctypes.ErrCompacted) { // between two pages
			return list, err
		}
	}
	return snapshot{}, err
}

func (l *lister) try(ctx context.Context, timeout time.Duration, opts []clientv3.OpOption) (list snapshot, err error) {
	next := l.keys.from
	for more := true; more; {
		pageOpts := append([]clientv3.OpOption{clientv3.WithRange(l.keys.to), clientv3.WithLimit(l.page), clientv3.WithRev(list.revision)}, opts...)
		page, err := l.get(ctx, timeout, next, pageOpts...)
		if tooLarge(err) && l.page > 1 {
			l.page = max(l.page/pageGrowth, 1)
			continue
		}
		if err != nil {
			return snapshot{}, err
		}
		if list.revision == 0 {
			list.revision, list.cluster = page.Header.Revision, page.Header.ClusterId
		}
		list.kvs = append(list.kvs, page.Kvs...)
		if more = page.More && len(page.Kvs) > 0; more {
			next = string(page.Kvs[len(page.Kvs)-1].Key) + "\x00"
			l.resize(page.Kvs)
		}
	}
	return list, nil
}

// resize makes the next page as large as it should be, if its values are like these:
// etcd counts all keys that are left for each of them.
func (l *lister) resize(kvs []*mvccpb.KeyValue) {
	bytes := 0
	for _, kv := range kvs {
		bytes += len(kv.Key) + len(kv.Value)
	}
	l.page = int64(min(max(len(kvs)*pageBytes/max(bytes, 1), 1), pageGrowth*len(kvs), maxPage))
}

func (l *lister) get(ctx context.Context, timeout time.Duration, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return l.store.Get(ctx, key, opts...)
}

// tooLarge reports whether an answer exceeded the client's limit for messages.
// What etcd itself says with this code comes as an rpctypes.EtcdError, which is
// no status.
func tooLarge(err error) bool { return status.Code(err) == codes.ResourceExhausted }
