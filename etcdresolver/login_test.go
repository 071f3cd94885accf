package etcdresolver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/test/bufconn"
)

// The client of a user logs in when it is made, and waits for etcd until the dial timeout.
func TestTarget_AUserHearsWithinASecondThatEtcdIsDown(t *testing.T) {
	b := targetBuilder(clientv3.Config{Username: "u", Password: "p", DialTimeout: time.Minute})
	began := time.Now()
	for _, service := range []string{"payments", "orders"} {
		cc := dialTarget(t, b, "etcd://127.0.0.1:1/"+service)
		require.Eventually(t, func() bool { return cc.lastError() != "" }, soon, time.Millisecond)
		require.Equal(t, "etcd://127.0.0.1:1/"+service+": no list of "+service+"/ from etcd at [127.0.0.1:1] yet: "+
			"the etcd client is still connecting or logging in", cc.lastError())
	}
	require.Less(t, time.Since(began), 4*time.Second, "a second each, and the machine may be busy")
}

func TestTarget_AUserFindsAnEtcdThatComesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd := bufconn.Listen(1 << 16)
		var up atomic.Bool
		dialer := grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			if !up.Load() {
				return nil, errors.New("refused")
			}
			return etcd.DialContext(ctx)
		})
		const channels = 60
		for range channels {
			b := targetBuilder(clientv3.Config{Username: "u", Password: "p", DialOptions: []grpc.DialOption{dialer}})
			dialTarget(t, b, "etcd://etcd:2379/payments")
			pass(dialTimeout / channels)
		}
		pass(time.Minute)
		server := &fakeServer{login: func(context.Context, int) error { return nil }}
		s := grpc.NewServer()
		pb.RegisterAuthServer(s, server) // and no lists: the watches of etcd's client do not suit a bubble
		go func() { _ = s.Serve(etcd) }()
		t.Cleanup(s.Stop)
		up.Store(true)
		pass(5 * time.Second)
		require.Equal(t, channels, server.logins)
	})
}

func TestTarget_AWrongPasswordIsNoStormOfLogins(t *testing.T) {
	server, _ := startServer(t, func(context.Context, int) error { return rpctypes.ErrGRPCAuthFailed })
	logs := &logLines{}
	b := NewTargetBuilder(clientv3.Config{Username: "u", Password: "p"}, WithLogger(logs.logger()))
	var text string
	for i := range 10 {
		text = fmt.Sprintf("etcd://%s/service%d", server.addr, i)
		cc := dialTarget(t, b, text)
		require.Eventually(t, func() bool { return cc.lastError() != "" }, soon, time.Millisecond)
		require.Contains(t, cc.lastError(), "authentication failed")
	}
	_, etcd, err := b.source(target(t, text))
	require.NoError(t, err)
	for range 100 {
		_, _, failed := etcd.open(t.Context())
		require.ErrorIs(t, failed.err, rpctypes.ErrAuthFailed)
	}
	server.mu.Lock()
	require.Equal(t, 1, server.logins)
	server.mu.Unlock()
	d, ok := etcd.(*dialled)
	require.True(t, ok)
	d.mu.Lock()
	require.InDelta(t, maxExtraBackoff, time.Until(d.failed.again), float64(maxExtraBackoff/2))
	d.failed.again = time.Now()
	d.mu.Unlock()
	_, _, failed := etcd.open(t.Context())
	require.ErrorIs(t, failed.err, rpctypes.ErrAuthFailed)
	server.mu.Lock()
	require.Equal(t, 2, server.logins, "when it is time")
	server.mu.Unlock()
	require.Len(t, logs.with("no etcd client"), 10, "once each")
}
