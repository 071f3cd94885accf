package etcdregistry

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/steelyard-go/steelyard/attrs"
)

// Registration is an instance that stands in etcd, made by [Register]. Its methods
// may be called from many goroutines at once.
type Registration struct {
	inst Instance
	key  string
	wish *wish

	stop context.CancelFunc // ends the keeper's loop
	once sync.Once
	// leave carries the context of the first Close to the keeper.
	leave chan context.Context
	done  chan struct{} // closed when the keeper is gone
	err   error         // how it went; to be read after done is closed
}

// Register puts inst into etcd as an instance of service and keeps it there until
// [Registration.Close], whatever happens to etcd, to the lease or to the key in the
// meantime.
//
// It blocks until the key stands. While etcd is down it tries again until ctx ends,
// so give ctx a deadline; it returns at once when another try is unlikely to help,
// as for a missing permission. Once Register has returned, ctx has no part in the
// registration any more.
//
// If the key is there already, it is taken over: a server that restarts on its old
// address need not wait for the old lease. The error says which argument is wrong
// and what would be right, or what etcd said last. A Register that failed takes back
// what it has put, for which it may outlast ctx by up to 3s.
//
// A key that somebody deletes, or overwrites under no lease, is put back within
// TTL/2. A value that somebody writes under its lease (etcdctl put --ignore-lease)
// stands until the next Update, or until the lease is lost.
//
// The client may be shared and must stay open until Close. A client that should
// find out about dead connections needs DialKeepAliveTime, 10s or more. A
// registration costs one read of its key every TTL/2 and one renewal every TTL/3.
func Register(ctx context.Context, client *clientv3.Client, service string, inst Instance, opts ...Option) (*Registration, error) {
	if client == nil {
		return nil, errors.New("etcdregistry: the etcd client is nil")
	}
	if client.Ctx().Err() != nil {
		return nil, errors.New("etcdregistry: the etcd client is closed")
	}
	return register(ctx, etcd{client}, service, inst, opts)
}

func register(ctx context.Context, store store, service string, inst Instance, opts []Option) (*Registration, error) {
	if inst.ID == "" {
		inst.ID = inst.Addr
	}
	options, err := newOptions(opts)
	if err == nil {
		err = checkKey(service, inst.ID)
	}
	if err != nil {
		return nil, fmt.Errorf("etcdregistry: %w", err)
	}
	wish := newWish()
	standing, err := wish.set(inst)
	if err != nil {
		return nil, fmt.Errorf("etcdregistry: %w", err)
	}

	loopCtx, stop := context.WithCancel(context.Background())
	r := &Registration{
		inst: inst, key: Key(service, inst.ID), wish: wish,
		stop: stop, leave: make(chan context.Context, 1), done: make(chan struct{}),
	}
	go r.keep(loopCtx, &keeper{store: store, key: r.key, wish: wish, options: options})
	if err := r.wait(ctx, standing, "not registered"); err != nil {
		_ = r.Close(ctx) // at best: what it cannot remove ends with the lease
		return nil, err
	}
	return r, nil
}

// keep is the registration's goroutine.
func (r *Registration) keep(ctx context.Context, k *keeper) {
	defer close(r.done)
	var reconnecting sync.WaitGroup
	reconnecting.Go(func() { k.reconnectWhileDown(ctx) })
	k.run(ctx)
	reconnecting.Wait()
	r.wish.close()
	if err := k.retire(<-r.leave); err != nil {
		r.err = fmt.Errorf("etcdregistry: %s: %w", r.key, err)
	}
}

// Update replaces the instance's attributes in etcd: weight, zone, labels and drain
// mark, all of them. The key stays under its lease and clients keep their
// connections.
//
// It blocks until the new value, or that of a later Update, stands in etcd. If ctx
// ends first or etcd refuses the write, it returns an error, but the value is kept:
// it will be written as soon as that is possible, and in place of the old one
// wherever the key has to be put again. A value that cannot be encoded (see
// [Encode]) changes nothing, nor does an Update after Close.
func (r *Registration) Update(ctx context.Context, a attrs.Attrs) error {
	inst := r.inst
	inst.Attrs = a
	standing, err := r.wish.set(inst)
	if err != nil {
		return fmt.Errorf("etcdregistry: %s: %w", r.key, err)
	}
	return r.wait(ctx, standing, "kept, but not written yet")
}

// wait returns once the value stands, or why it does not.
func (r *Registration) wait(ctx context.Context, standing *answer, meanwhile string) error {
	select {
	case <-standing.done:
	case <-ctx.Done():
		select {
		case <-standing.done: // at the same moment: the truth is better than the deadline
		default:
			return fmt.Errorf("etcdregistry: %s: %s: %w; last error: %s", r.key, meanwhile, ctx.Err(), r.wish.lastTrouble())
		}
	}
	if standing.err != nil {
		return fmt.Errorf("etcdregistry: %s: %w", r.key, standing.err)
	}
	return nil
}

// Close takes the instance out of service: it marks the key as draining, waits for
// the drain delay (see [WithDrainDelay]) and ends the lease, and with it the key,
// unless another registration has taken the key over. Calls in flight are not its
// business: stop the gRPC server after it.
//
// It takes at most 3s. The end of ctx cuts the draining short, but never skips the
// removal of the key. An error means that etcd did not confirm the removal; then
// the key goes when its lease ends. All goroutines have ended when Close returns.
// Further calls wait for the first and return the same.
func (r *Registration) Close(ctx context.Context) error {
	r.once.Do(func() {
		r.leave <- ctx
		r.stop()
	})
	<-r.done
	return r.err
}

func checkKey(service, id string) error {
	switch {
	case service == "":
		return errors.New(`the service is empty, want a name such as "payments"`)
	case strings.HasPrefix(service, "/"), strings.HasSuffix(service, "/"):
		return fmt.Errorf("service %s: want a name that neither starts nor ends with a slash", cut(service))
	case strings.Contains(id, "/"):
		return fmt.Errorf("id %s: want one without a slash", cut(id))
	}
	return nil
}
