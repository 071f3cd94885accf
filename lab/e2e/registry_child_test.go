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

// registryChildConfig says what a registrar in a process of its own registers.
type registryChildConfig struct {
	Endpoint string
	Instance etcdregistry.Instance
}

// A registrar in a process of its own, to be stopped where it stands.
func init() {
	child.RunIf(registryChild, func(ctx context.Context, env *child.Env) error {
		var config registryChildConfig
		if err := json.Unmarshal(env.Config, &config); err != nil {
			return err
		}
		client, err := clientv3.New(clientv3.Config{Endpoints: []string{config.Endpoint}, Logger: zap.NewNop()})
		if err != nil {
			return err
		}
		defer client.Close()
		r, err := etcdregistry.Register(ctx, client, discoverService, config.Instance, registryQuiet(registryChildTTL)...)
		if err != nil {
			return err
		}
		env.Ready("")
		<-ctx.Done()
		return r.Close(context.Background())
	})
}

func startRegistryChild(t *testing.T, endpoint string, inst etcdregistry.Instance) *child.Process {
	t.Helper()
	process, err := child.Start(registryContext(t, 20*time.Second), registryChild, registryChildConfig{endpoint, inst})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, process.Kill()) })
	return process
}
