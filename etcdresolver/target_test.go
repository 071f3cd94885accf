package etcdresolver

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/resolver"
)

// soon bounds what happens in real time here.
const soon = 5 * time.Second

func targetBuilder(config clientv3.Config) *Builder {
	return NewTargetBuilder(config, WithLogger(slog.New(slog.DiscardHandler)))
}

// dialTarget builds a resolver for a fake channel, closed with the test.
func dialTarget(t *testing.T, b *Builder, text string) *fakeCC {
	t.Helper()
	cc := &fakeCC{}
	r, err := b.Build(target(t, text), cc, resolver.BuildOptions{})
	require.NoError(t, err)
	cc.resolver = r
	t.Cleanup(r.Close)
	return cc
}

// etcdOf gives the client that b has for a target, nil while it has none, and how many use it.
func etcdOf(t *testing.T, b *Builder, text string) (*clientv3.Client, int) {
	t.Helper()
	_, etcd, err := b.source(target(t, text))
	require.NoError(t, err)
	d, ok := etcd.(*dialled)
	require.True(t, ok)
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.client, d.users
}

func requireUsers(t *testing.T, b *Builder, text string, want int) {
	t.Helper()
	require.Eventually(t, func() bool { _, users := etcdOf(t, b, text); return users == want }, soon, time.Millisecond)
}

func TestTarget_BadOnesAreClearErrors(t *testing.T) {
	const want = "want etcd://host:port,host:port/service"
	for text, problem := range map[string]string{
		"etcd:///payments":                  "it names no etcd, and neither does the clientv3.Config: " + want,
		"etcd://10.0.0.1/payments":          `endpoint "10.0.0.1" of etcd: ` + want,
		"etcd://10.0.0.1:/payments":         `endpoint "10.0.0.1:" of etcd: ` + want,
		"etcd://:2379/payments":             `endpoint ":2379" of etcd: ` + want,
		"etcd://a:2379,,b:2379/payments":    `endpoint "" of etcd: ` + want,
		"etcd://a:2379,b,c:2379/payments":   `endpoint "b" of etcd: ` + want,
		"etcd://u@10.0.0.1:2379/payments":   "a user does not belong into a target: set Username and Password of the clientv3.Config",
		"etcd://10.0.0.1:2379":              "the service is empty: write etcd://10.0.0.1:2379/service",
		"etcd://10.0.0.1:2379/":             "the service is empty: write etcd://10.0.0.1:2379/service",
		"etcd://10.0.0.1:2379/payments/":    "the service ends with a slash: write etcd://10.0.0.1:2379/payments",
		"etcd://10.0.0.1:2379/payments?a=b": "a query or fragment is not used: write etcd://10.0.0.1:2379/payments",
	} {
		b := targetBuilder(clientv3.Config{})
		r, err := b.Build(target(t, text), &fakeCC{}, resolver.BuildOptions{})
		require.EqualError(t, err, `etcdresolver: target "`+text+`": `+problem)
		require.Nil(t, r)
		require.Empty(t, b.services)
	}
	_, err := targetBuilder(clientv3.Config{}).Build(target(t, "etcd://u:secret@10.0.0.1:2379/payments"), &fakeCC{}, resolver.BuildOptions{})
	require.NotContains(t, err.Error(), "secret")
}

func TestTarget_NamesEtcdInAnyOrder(t *testing.T) {
	b := targetBuilder(clientv3.Config{Endpoints: []string{"d:2379", "c:2379"}})
	for text, want := range map[string]string{
		"etcd://a:2379,b:2379/payments":        "a:2379,b:2379",
		"etcd://b:2379,a:2379/payments":        "a:2379,b:2379",
		"etcd://b:2379,a:2379,b:2379/payments": "a:2379,b:2379",
		"etcd://[::1]:2379/payments":           "[::1]:2379",
		"etcd:///payments":                     "c:2379,d:2379",
	} {
		key, etcd, err := b.source(target(t, text))
		require.NoError(t, err)
		require.Equal(t, want, key)
		_, again, err := b.source(target(t, text))
		require.NoError(t, err)
		require.Same(t, etcd, again)
	}
}

func TestTarget_ClientsKeepTheirConnectionsAlive(t *testing.T) {
	config := func(given clientv3.Config) clientv3.Config {
		_, etcd, err := targetBuilder(given).source(target(t, "etcd://a:2379/payments"))
		require.NoError(t, err)
		d, ok := etcd.(*dialled)
		require.True(t, ok)
		return d.config
	}
	unless := config(clientv3.Config{})
	require.Equal(t, 10*time.Second, unless.DialKeepAliveTime)
	require.Equal(t, 3*time.Second, unless.DialKeepAliveTimeout)
	require.Equal(t, 5*time.Second, unless.DialTimeout)
	told := config(clientv3.Config{DialKeepAliveTime: time.Minute, DialKeepAliveTimeout: time.Hour, DialTimeout: time.Second})
	require.Equal(t, time.Minute, told.DialKeepAliveTime)
	require.Equal(t, time.Hour, told.DialKeepAliveTimeout)
	require.Equal(t, time.Second, told.DialTimeout)
}

func TestTarget_ChannelsShareAClientUntilTheLastCloses(t *testing.T) {
	const one, same, other = "etcd://127.0.0.1:1,127.0.0.1:2/payments", "etcd://127.0.0.1:2,127.0.0.1:1/orders", "etcd://127.0.0.1:3/payments"
	b := targetBuilder(clientv3.Config{}) // nobody listens there
	first, second, third := dialTarget(t, b, one), dialTarget(t, b, same), dialTarget(t, b, other)
	requireUsers(t, b, one, 2)
	requireUsers(t, b, other, 1)
	client, _ := etcdOf(t, b, one)
	clientOfSame, _ := etcdOf(t, b, same)
	clientOfOther, _ := etcdOf(t, b, other)
	require.Same(t, client, clientOfSame)
	require.NotSame(t, client, clientOfOther)
	require.Len(t, b.Stats(), 3, "the same service of two etcds is two services")
	require.Eventually(t, func() bool { return first.lastError() != "" }, soon, time.Millisecond)
	require.Contains(t, first.lastError(), "etcd at [127.0.0.1:1 127.0.0.1:2]")

	first.resolver.Close()
	requireUsers(t, b, one, 1)
	require.NoError(t, client.Ctx().Err(), "one is left")
	second.resolver.Close()
	requireUsers(t, b, one, 0)
	require.Error(t, client.Ctx().Err())
	require.NoError(t, clientOfOther.Ctx().Err())
	third.resolver.Close()
	requireUsers(t, b, other, 0)

	dialTarget(t, b, one)
	requireUsers(t, b, one, 1)
	again, _ := etcdOf(t, b, one)
	require.NotSame(t, client, again)
	require.NoError(t, again.Ctx().Err())
}

// Channels of one service have the same trouble, and each names its own target.
func TestTarget_ErrorsNameTheTargetAsDialled(t *testing.T) {
	b := targetBuilder(clientv3.Config{Endpoints: []string{"127.0.0.1:2", "127.0.0.1:1"}})
	for _, text := range []string{"etcd://127.0.0.1:1,127.0.0.1:2/payments", "etcd://127.0.0.1:2,127.0.0.1:1/payments", "etcd:///payments"} {
		cc := dialTarget(t, b, text)
		require.Eventually(t, func() bool { return cc.lastError() != "" }, soon, time.Millisecond)
		require.Contains(t, cc.lastError(), text+": no list of payments/ from etcd at [127.0.0.1:1 127.0.0.1:2] yet: ")
	}
	require.Len(t, b.Stats(), 1)
}

func TestTarget_AChannelThatReopensStartsWithTheListRemembered(t *testing.T) {
	server, stop := startServer(t, nil)
	b := targetBuilder(clientv3.Config{})
	text := "etcd://" + server.addr + "/payments"
	cc := dialTarget(t, b, text)
	require.Eventually(t, func() bool { return cc.addrs() == addrA }, soon, time.Millisecond)
	cc.resolver.Close()
	requireUsers(t, b, text, 0)
	stop()
	cc = dialTarget(t, b, text)
	require.Eventually(t, func() bool { return cc.addrs() == addrA }, soon, time.Millisecond)
	require.Empty(t, cc.lastError())
}

// A client with a user logs in when it is made, which may fail.
func TestTarget_AClientThatCannotBeMadeIsReportedAndTriedAgain(t *testing.T) {
	server, _ := startServer(t, func(_ context.Context, n int) error {
		if n <= 3 {
			return rpctypes.ErrGRPCPermissionDenied
		}
		return nil
	})
	cc := dialTarget(t, targetBuilder(clientv3.Config{Username: "u", Password: "p"}), "etcd://"+server.addr+"/payments")
	require.Eventually(t, func() bool { return cc.addrs() == addrA }, soon, time.Millisecond)
	require.Equal(t, "etcd://"+server.addr+"/payments: no list of payments/ from etcd at ["+server.addr+"] yet: "+
		"etcdserver: permission denied", cc.lastError())
	server.mu.Lock()
	defer server.mu.Unlock()
	require.GreaterOrEqual(t, server.logins, 4)
}

func TestTarget_ALoginNobodyAnswersEndsWithTheDialTimeout(t *testing.T) {
	b := targetBuilder(clientv3.Config{Username: "u", Password: "p", DialTimeout: 50 * time.Millisecond})
	cc := dialTarget(t, b, "etcd://127.0.0.1:1/payments")
	require.Eventually(t, func() bool { return cc.lastError() != "" }, soon, time.Millisecond)
	require.Contains(t, cc.lastError(), "etcd at [127.0.0.1:1] yet: ")
}

func TestTarget_CloseWhileAClientIsMade(t *testing.T) {
	began, left := make(chan struct{}), make(chan struct{})
	server, _ := startServer(t, func(ctx context.Context, n int) error {
		if n > 1 {
			return nil
		}
		close(began)
		<-ctx.Done()
		close(left)
		return ctx.Err()
	})
	b := targetBuilder(clientv3.Config{Username: "u", Password: "p", DialTimeout: time.Hour})
	cc := dialTarget(t, b, "etcd://"+server.addr+"/orders")
	<-began
	waiting := dialTarget(t, b, "etcd://"+server.addr+"/payments")
	cc.resolver.Close()
	select {
	case <-left:
	case <-time.After(soon):
		t.Fatal("the client is still being made")
	}
	require.Eventually(t, func() bool { return waiting.addrs() == addrA }, soon, time.Millisecond, "it makes its own")
	requireUsers(t, b, "etcd://"+server.addr+"/payments", 1)
}
