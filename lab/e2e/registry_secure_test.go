package e2e

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/steelyard-go/steelyard/attrs"
	"github.com/steelyard-go/steelyard/etcdregistry"
	"github.com/steelyard-go/steelyard/lab/localetcd"
)

// A server with a certificate and a user that may write its service and no more. Its
// tokens expire every other second, its lease lasts five.
func TestRegistry_KeepsItsKeyWithCertificatesAndTokensThatExpire(t *testing.T) {
	t.Parallel()
	ca, err := localetcd.NewCA()
	require.NoError(t, err)
	etcd := localetcd.Start(t, localetcd.WithTLS(ca), localetcd.WithTokenTTL(time.Second))
	root := etcd.Client()
	ctx := registryContext(t, 10*time.Second)
	_, err = root.RoleAdd(ctx, "server")
	require.NoError(t, err)
	prefix := registryService + "/"
	_, err = root.RoleGrantPermission(ctx, "server", prefix, clientv3.GetPrefixRangeEnd(prefix), clientv3.PermissionType(clientv3.PermReadWrite))
	require.NoError(t, err)
	for user, role := range map[string]string{"root": "root", "server": "server"} {
		_, err = root.UserAdd(ctx, user, "secret")
		require.NoError(t, err)
		_, err = root.UserGrantRole(ctx, user, role)
		require.NoError(t, err)
	}
	_, err = root.AuthEnable(ctx)
	require.NoError(t, err)
	login := func(user string) *clientv3.Client {
		client, err := clientv3.New(clientv3.Config{
			Endpoints: []string{etcd.Addr()}, TLS: ca.ClientConfig(), Username: user, Password: "secret",
			DialTimeout: 5 * time.Second, Logger: zap.NewNop(),
		})
		require.NoError(t, err)
		t.Cleanup(func() { _ = client.Close() })
		return client
	}

	operator := login("root")
	deletes := operator.Watch(registryContext(t, time.Minute), registryKey, clientv3.WithFilterPut())
	r, err := etcdregistry.Register(ctx, login("server"), registryService, etcdregistry.Instance{Addr: registryAddr}, registryQuiet(5*time.Second)...)
	require.NoError(t, err)
	<-time.After(12 * time.Second) // tokens and leases go by
	require.NoError(t, r.Update(registryContext(t, 5*time.Second), attrs.Attrs{Weight: 7}))
	require.EqualValues(t, 7, requireEntry(t, operator, registryKey).inst.Weight)
	select {
	case response := <-deletes:
		require.Empty(t, response.Events, "the key was lost")
	default:
	}
	require.Zero(t, r.Stats().LeasesLost)

	_, err = etcdregistry.Register(registryContext(t, 5*time.Second), login("server"), "orders", etcdregistry.Instance{Addr: registryAddr}, registryQuiet(5*time.Second)...)
	require.ErrorContains(t, err, "permission denied")
	require.NoError(t, r.Close(context.Background()))
	_, err = lookup(operator, registryKey)
	require.ErrorIs(t, err, errNoEntry)
}
