package etcdresolver

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"
)

// fakeConn is a connection whose state the test sets.
type fakeConn struct {
	grpc.ClientConnInterface
	why error // of a call that does not wait

	mu      sync.Mutex
	state   connectivity.State
	changed chan struct{} // closed at the next change
	reset   int
	made    time.Time
}

func newFakeConn(state connectivity.State) *fakeConn {
	return &fakeConn{state: state, changed: make(chan struct{}), made: time.Now()}
}

func (c *fakeConn) set(state connectivity.State) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state = state
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *fakeConn) resets() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reset
}

func (c *fakeConn) GetState() connectivity.State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

func (c *fakeConn) WaitForStateChange(ctx context.Context, from connectivity.State) bool {
	c.mu.Lock()
	changed, same := c.changed, c.state == from
	c.mu.Unlock()
	if !same {
		return true
	}
	select {
	case <-changed:
		return true
	case <-ctx.Done():
		return false
	}
}

func (c *fakeConn) ResetConnectBackoff() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reset++
}

func (c *fakeConn) Invoke(_ context.Context, _ string, _, _ any, opts ...grpc.CallOption) error {
	for _, opt := range opts {
		if waits, ok := opt.(grpc.FailFastCallOption); ok && waits.FailFast {
			return c.why
		}
	}
	return errors.New("fake: would wait")
}

func TestLink_ExplainsWhatARequestWaitedFor(t *testing.T) {
	refused := status.Error(codes.Unavailable, "dial tcp 127.0.0.1:2379: connection refused")
	other := errors.New("permission denied")
	for name, c := range map[string]struct {
		state connectivity.State
		why   error
		err   error
		want  string
	}{
		"not a deadline": {connectivity.TransientFailure, refused, other, "permission denied"},
		"connecting":     {connectivity.Connecting, nil, context.DeadlineExceeded, "no answer within 2s, the connection is CONNECTING: context deadline exceeded"},
		"slow":           {connectivity.Ready, nil, context.DeadlineExceeded, "no answer within 2s, the connection is READY: context deadline exceeded"},
		"refused":        {connectivity.TransientFailure, refused, context.DeadlineExceeded, "no answer within 2s: dial tcp 127.0.0.1:2379: connection refused"},
		"up just now":    {connectivity.TransientFailure, nil, context.DeadlineExceeded, "no answer within 2s: context deadline exceeded"},
	} {
		t.Run(name, func(t *testing.T) {
			conn := newFakeConn(c.state)
			conn.why = c.why
			require.EqualError(t, newLink(conn).explain(t.Context(), c.err, 2*time.Second), c.want)
		})
	}
}

func TestLink_WatchEndsInEveryState(t *testing.T) {
	for state := connectivity.Idle; state <= connectivity.Shutdown; state++ {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				newLink(newFakeConn(state)).watch(ctx, func() { t.Error("never came up") })
			}()
			pass(time.Minute)
			cancel()
			<-ended
		})
	}
}

func TestLink_EndingResetsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := newFakeConn(connectivity.Connecting)
		ctx, cancel := context.WithCancel(t.Context())
		go newLink(conn).watch(ctx, func() { t.Error("never came up") })
		pass(resetInterval / 2)
		cancel()
		synctest.Wait()
		require.Zero(t, conn.resets(), "grpc would be making its subconnections just now")
	})
}

func TestLink_ClientsOfADeadEtcdDoNotDialInStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var conns []*fakeConn
		for range 100 {
			conn := newFakeConn(connectivity.TransientFailure)
			conns = append(conns, conn)
			go newLink(conn).watch(t.Context(), func() { t.Error("never came up") })
		}
		resets := func() (count int) {
			for _, conn := range conns {
				count += conn.resets()
			}
			return count
		}
		for before := 0; time.Since(conns[0].made) < time.Minute; before = resets() {
			pass(100 * time.Millisecond)
			require.Less(t, resets()-before, 25)
		}
		require.InDelta(t, 100*30, resets(), 500)
	})
}
