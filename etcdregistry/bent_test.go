package etcdregistry

import (
	"context"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// bent is a fakeStore that behaves otherwise for single keys.
type bent struct {
	*fakeStore
	swaps, reads map[string]bend
}

// bend replaces a call. do is what it would have been.
type bend func(ctx context.Context, do func(context.Context) error) error

// bendSwap bends the puts of a key, nil makes them straight again.
func (b *bent) bendSwap(key string, to bend) { b.set(&b.swaps, key, to) }

// bendRead bends the reads of a key, nil makes them straight again.
func (b *bent) bendRead(key string, to bend) { b.set(&b.reads, key, to) }

func (b *bent) set(bends *map[string]bend, key string, to bend) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if *bends == nil {
		*bends = make(map[string]bend)
	}
	(*bends)[key] = to
}

func (b *bent) do(ctx context.Context, bends *map[string]bend, key string, do func(context.Context) error) error {
	b.mu.Lock()
	to := (*bends)[key]
	b.mu.Unlock()
	if to == nil {
		return do(ctx)
	}
	return to(ctx, do)
}

func (b *bent) holder(ctx context.Context, key string) (held holder, err error) {
	err = b.do(ctx, &b.reads, key, func(ctx context.Context) (err error) {
		held, err = b.fakeStore.holder(ctx, key)
		return err
	})
	return held, err
}

func (b *bent) swap(ctx context.Context, key, value string, id clientv3.LeaseID, revision int64) (int64, error) {
	answers := make(chan int64, 1)
	err := b.do(ctx, &b.swaps, key, func(ctx context.Context) error {
		put, err := b.fakeStore.swap(ctx, key, value, id, revision)
		answers <- put
		return err
	})
	select {
	case put := <-answers:
		return put, err
	default:
		return 0, err
	}
}
