package etcdresolver

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
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
		_, _, err = etcd.open(t.Context())
		require.ErrorIs(t, err, rpctypes.ErrAuthFailed)
	}
	server.mu.Lock()
	require.Equal(t, 1, server.logins)
	server.mu.Unlock()
	d, ok := etcd.(*dialled)
	require.True(t, ok)
	d.mu.Lock()
	require.InDelta(t, maxExtraBackoff, time.Until(d.again), float64(maxExtraBackoff/2))
	d.again = time.Now()
	d.mu.Unlock()
	_, _, err = etcd.open(t.Context())
	require.ErrorIs(t, err, rpctypes.ErrAuthFailed)
	server.mu.Lock()
	require.Equal(t, 2, server.logins, "when it is time")
	server.mu.Unlock()
	require.Len(t, logs.with("no etcd client"), 10, "once each")
}
