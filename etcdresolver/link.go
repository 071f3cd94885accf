package etcdresolver

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"
)

const (
	// resetInterval is how often, on average, a connection that is down is told to try
	// again. Left alone it backs off up to two minutes. Spread out, because all clients
	// of an etcd lose it at once.
	resetInterval = 2 * time.Second
	// explainTimeout bounds the question why a connection is down.
	explainTimeout = 100 * time.Millisecond
)

// errUnreachable is a request that found no connection.
var errUnreachable = errors.New("no answer")

// connection is the part of *grpc.ClientConn that a link needs.
type connection interface {
	grpc.ClientConnInterface
	GetState() connectivity.State
	WaitForStateChange(context.Context, connectivity.State) bool
	ResetConnectBackoff()
}

// link looks after the connection of an etcd client. The services of a builder
// share it.
type link struct {
	conn connection

	mu    sync.Mutex
	reset time.Time // when the backoff was last reset
}

func newLink(conn connection) *link { return &link{conn: conn} }

// watch keeps the connection trying while it is down and calls up each time it
// comes up again, until ctx ends.
//
// The backoff is reset only after a while without any change: ResetConnectBackoff
// reads the map of subconnections without its lock, and they are made and
// dropped when a connection leaves idle, not in the midst of an outage.
func (l *link) watch(ctx context.Context, up func()) {
	changed := false // since it was up
	for ctx.Err() == nil {
		state := l.conn.GetState()
		if changed && state == connectivity.Ready {
			changed = false
			up()
		}
		down := state == connectivity.TransientFailure || state == connectivity.Connecting
		patience, cancel := ctx, context.CancelFunc(func() {})
		if down {
			patience, cancel = context.WithTimeout(ctx, resetInterval/2+rand.N(resetInterval))
		}
		if l.conn.WaitForStateChange(patience, state) {
			changed = true
		} else if ctx.Err() == nil {
			l.resetBackoff()
		}
		cancel()
	}
}

// resetBackoff is called by the watch of each service, and acts for one.
func (l *link) resetBackoff() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); now.Sub(l.reset) > resetInterval/2 {
		l.reset = now
		l.conn.ResetConnectBackoff()
	}
}

// explain makes a readable error of a request that ran into its deadline: the
// etcd client does not say what it waited for.
func (l *link) explain(ctx context.Context, err error, deadline time.Duration) error {
	if !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if l == nil {
		return fmt.Errorf("no answer within %v: %w", deadline, err)
	}
	state := l.conn.GetState()
	if state != connectivity.TransientFailure {
		return fmt.Errorf("no answer within %v, the connection is %v: %w", deadline, state, err)
	}
	ctx, cancel := context.WithTimeout(ctx, explainTimeout)
	defer cancel()
	// A call that does not wait fails at once with what the connection failed with.
	_, why := etcdserverpb.NewMaintenanceClient(l.conn).Status(ctx, &etcdserverpb.StatusRequest{}, grpc.WaitForReady(false))
	if why == nil {
		return fmt.Errorf("no answer within %v: %w", deadline, err)
	}
	return fmt.Errorf("%w within %v: %s", errUnreachable, deadline, status.Convert(why).Message())
}
