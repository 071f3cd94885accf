//go:build unix

package localetcd_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/steelyard-go/steelyard/lab/localetcd"
)

// enableAuth makes a user root with the password root.
func enableAuth(t *testing.T, client *clientv3.Client) {
	t.Helper()
	ctx := testContext(t)
	_, err := client.UserAdd(ctx, "root", "root")
	require.NoError(t, err)
	_, err = client.UserGrantRole(ctx, "root", "root")
	require.NoError(t, err)
	_, err = client.AuthEnable(ctx)
	require.NoError(t, err)
}

func TestWithTokenTTL_TokensOfOneSecondRunOut(t *testing.T) {
	p := localetcd.StartProcess(t, localetcd.WithTokenTTL(time.Second))
	enableAuth(t, p.Client())
	auth, err := p.Client().Authenticate(testContext(t), "root", "root")
	require.NoError(t, err)
	ctx := metadata.AppendToOutgoingContext(testContext(t), rpctypes.TokenFieldNameGRPC, auth.Token)

	// A bare connection: etcd's client would get itself a new token.
	conn, err := grpc.NewClient(p.Addr(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	defer conn.Close()
	get := func() error {
		_, err := etcdserverpb.NewKVClient(conn).Range(ctx, &etcdserverpb.RangeRequest{Key: []byte("scale")})
		return err
	}
	require.NoError(t, get())
	// Each use prolongs it: ask seldom.
	require.Eventually(t, func() bool { return errors.Is(rpctypes.Error(get()), rpctypes.ErrInvalidAuthToken) },
		15*time.Second, 2500*time.Millisecond)

	user := connect(t, clientv3.Config{Endpoints: []string{p.Addr()}, Username: "root", Password: "root"})
	requirePut(t, user, "scale", "1")
}

func TestWithTokenTTL_RefusesPartsOfASecond(t *testing.T) {
	_, err := localetcd.New(localetcd.WithTokenTTL(1500 * time.Millisecond))
	require.EqualError(t, err, "localetcd: token TTL: got 1.5s, want whole seconds")
}
