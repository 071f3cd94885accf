package e2e

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/steelyard-go/steelyard/etcdregistry"
	"github.com/steelyard-go/steelyard/lab/internal/child"
)

const (
	registryChild    = "registry"
	registryChildTTL = 3 * time.Second
)

// A server in a process of its own, to be stopped where it stands. It holds registryKey.
func init() {
	child.RunIf(registryChild, func(ctx context.Context, env *child.Env) error {
		var endpoint string
		if err := json.Unmarshal(env.Config, &endpoint); err != nil {
			return err
		}
		client, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, Logger: zap.NewNop()})
		if err != nil {
			return err
		}
		defer client.Close()
		r, err := etcdregistry.Register(ctx, client, registryService, etcdregistry.Instance{Addr: registryAddr},
			registryQuiet(registryChildTTL)...)
		if err != nil {
			return err
		}
		env.Ready("")
		<-ctx.Done()
		return r.Close(context.Background())
	})
}

func startRegistryChild(t *testing.T, endpoint string) *child.Process {
	t.Helper()
	process, err := child.Start(registryContext(t, 20*time.Second), registryChild, endpoint)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, process.Kill()) })
	return process
}
