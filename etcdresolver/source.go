package etcdresolver

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	dialTimeout          = 5 * time.Second
	dialKeepAliveTime    = 10 * time.Second // gRPC's least
	dialKeepAliveTimeout = 3 * time.Second
	// maxDialBackoff is short, for the dial timeout comes on top: so long a client waits
	// for etcd before it fails.
	maxDialBackoff = time.Second
)

// source is where the runs of some services get etcd from.
type source interface {
	// open returns it, and with it what looks after the connection, if there is one.
	// Each open that succeeds is followed by a close.
	open(ctx context.Context) (store, *link, *failure)
	close()
	// endpoints returns where etcd is, for messages.
	endpoints() []string
}

// failure is why there is no client, and from when on it is worth asking for one again.
type failure struct {
	err   error
	again time.Time
}

// given is a client that the caller made and closes.
type given struct {
	store store
	link  *link
}

func (g *given) open(context.Context) (store, *link, *failure) { return g.store, g.link, nil }
func (g *given) close()                                        {}
func (g *given) endpoints() []string                           { return g.store.Endpoints() }

// dialled is a client that is there while it is used.
type dialled struct {
	config clientv3.Config

	mu     sync.Mutex
	users  int
	client *clientv3.Client
	link   *link

	// What follows keeps its users from trying one after the other: each login costs
	// etcd the check of a password, which is slow by design.
	failures int     // to make it, in a row
	failed   failure // the last of them
}

// open makes the client for the first user. That can take until the dial timeout,
// for a client with a user logs in. After a failure all get that for a while.
func (d *dialled) open(ctx context.Context) (store, *link, *failure) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.client == nil {
		if failed := d.dial(ctx); failed != nil {
			return nil, nil, failed
		}
	}
	d.users++
	return d.client, d.link, nil
}

func (d *dialled) dial(ctx context.Context) *failure {
	if failed := d.failed; time.Now().Before(failed.again) {
		return &failed
	}
	config := d.config
	alive, cancel := context.WithCancel(context.Background()) // ends with the client
	config.Context = alive
	giveUp := context.AfterFunc(ctx, cancel)
	client, err := clientv3.New(config)
	if !giveUp() && err == nil { // cancelled: of no use to others
		_ = client.Close()
		err = ctx.Err()
	}
	if err != nil {
		cancel()
		failed := failure{err: err}
		if ctx.Err() == nil {
			failed.again = time.Now().Add(d.wait(err))
			d.failed = failed
			d.failures++
		}
		return &failed
	}
	context.AfterFunc(client.Ctx(), cancel)
	d.client, d.link, d.failures = client, newLink(client.ActiveConnection()), 0
	return nil
}

// wait returns how long nobody tries after err.
func (d *dialled) wait(err error) time.Duration {
	if errors.Is(err, rpctypes.ErrAuthFailed) {
		return nearly(maxExtraBackoff) // a wrong password rarely becomes right
	}
	return backoff(d.failures, maxDialBackoff)
}

func (d *dialled) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.users--
	if d.users == 0 {
		_ = d.client.Close() // nothing of it is in use any more
		d.client, d.link = nil, nil
	}
}

func (d *dialled) endpoints() []string { return slices.Clone(d.config.Endpoints) }
