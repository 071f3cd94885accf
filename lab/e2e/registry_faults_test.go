package e2e

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/steelyard-go/steelyard/attrs"
	"github.com/steelyard-go/steelyard/etcdregistry"
	"github.com/steelyard-go/steelyard/lab/localetcd"
)

// A restart of etcd that is shorter than the lease costs nothing at all.
func TestRegistry_EtcdKilledAndRestartedKeepsTheKey(t *testing.T) {
	t.Parallel()
	process := localetcd.StartProcess(t)
	r := mustRegister(t, registryClient(t, process.Addr()), 20*time.Second, etcdregistry.Instance{Addr: registryAddr})
	before := requireEntry(t, process.Client(), registryKey)
	history := watchKey(t, process.Client(), registryKey)

	require.NoError(t, process.Kill())
	ctx := registryContext(t, 500*time.Millisecond)
	err := r.Update(ctx, attrs.Attrs{Weight: 8})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NoError(t, process.Restart())

	require.Eventually(t, func() bool {
		entry, err := lookup(process.Client(), registryKey)
		return err == nil && entry.inst.Weight == 8
	}, 6*time.Second, 20*time.Millisecond, "the Update made during the outage was not written")
	require.Equal(t, before.lease, requireEntry(t, process.Client(), registryKey).lease)
	_, deletes := history.count()
	require.Zero(t, deletes)
}

// After an outage longer than the lease the registration gets a new one, and no
// ghost of the old stays behind.
func TestRegistry_OutageLongerThanTheLeaseHeals(t *testing.T) {
	t.Parallel()
	process := localetcd.StartProcess(t)
	const ttl = 2 * time.Second
	mustRegister(t, registryClient(t, process.Addr()), ttl, etcdregistry.Instance{Addr: registryAddr})
	before := requireEntry(t, process.Client(), registryKey)
	require.NoError(t, process.Kill())
	<-time.After(3 * ttl) // the outage
	require.NoError(t, process.Restart())
	require.Eventually(t, func() bool {
		entry, err := lookup(process.Client(), registryKey)
		return err == nil && entry.lease != before.lease && leaseCount(process.Client()) == 1
	}, 10*time.Second, 20*time.Millisecond)
	requireSteady(t, process.Client(), registryKey, requireEntry(t, process.Client(), registryKey).lease, 2*ttl)
}

// An etcd that lost its data knows neither lease nor key.
func TestRegistry_EtcdReplacedByAnEmptyOneIsFilledAgain(t *testing.T) {
	t.Parallel()
	process := localetcd.StartProcess(t)
	mustRegister(t, registryClient(t, process.Addr()), 20*time.Second,
		etcdregistry.Instance{Addr: registryAddr, Attrs: attrs.Attrs{Weight: 5}})
	require.NoError(t, process.Kill())
	require.NoError(t, os.RemoveAll(process.Dir()))
	require.NoError(t, process.Restart())
	require.Eventually(t, func() bool {
		entry, err := lookup(process.Client(), registryKey)
		return err == nil && entry.inst.Weight == 5 && leaseCount(process.Client()) == 1
	}, 15*time.Second, 20*time.Millisecond)
}

func TestRegistry_RegistersOnceEtcdIsUp(t *testing.T) {
	t.Parallel()
	process := localetcd.StartProcess(t)
	require.NoError(t, process.Kill())
	client := registryClient(t, process.Addr())
	failing, err := etcdregistry.Register(registryContext(t, time.Second), client, registryService,
		etcdregistry.Instance{Addr: registryAddr}, registryQuiet(20*time.Second)...)
	require.Nil(t, failing)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, registryKey+": not registered")
	require.ErrorContains(t, err, "last error: ")

	registered := make(chan error, 1)
	go func() {
		r, err := etcdregistry.Register(registryContext(t, 20*time.Second), client, registryService,
			etcdregistry.Instance{Addr: registryAddr}, registryQuiet(20*time.Second)...)
		if err == nil {
			t.Cleanup(func() { _ = r.Close(context.Background()) })
		}
		registered <- err
	}()
	require.NoError(t, process.Restart())
	select {
	case err := <-registered:
		require.NoError(t, err)
	case <-time.After(10 * time.Second):
		require.Fail(t, "not registered 10 s after etcd came up")
	}
	requireEntry(t, process.Client(), registryKey)
}

func TestRegistry_CloseEndsInTimeWithEtcdDeadOrHung(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]func(*localetcd.Process) error{
		"dead": (*localetcd.Process).Kill,
		"hung": (*localetcd.Process).Suspend,
	} {
		t.Run(name, func(t *testing.T) {
			process := localetcd.StartProcess(t)
			r := mustRegister(t, registryClient(t, process.Addr()), 20*time.Second, etcdregistry.Instance{Addr: registryAddr})
			require.NoError(t, fault(process))
			begin := time.Now()
			require.ErrorContains(t, r.Close(context.Background()), "lease not revoked, the key may stay for up to 20s")
			require.Less(t, time.Since(begin), 3500*time.Millisecond)
			if name == "hung" {
				require.NoError(t, process.Resume())
			}
		})
	}
}

func TestRegistry_MissingPermissionIsSaidAtOnce(t *testing.T) {
	t.Parallel()
	server := localetcd.Start(t)
	root, ctx := server.Client(), registryContext(t, 60*time.Second)
	for _, step := range []func() error{
		func() error { _, err := root.UserAdd(ctx, "root", "pw"); return err },
		func() error { _, err := root.UserGrantRole(ctx, "root", "root"); return err },
		func() error { _, err := root.UserAdd(ctx, "nobody", "pw"); return err },
		func() error { _, err := root.AuthEnable(ctx); return err },
	} {
		require.NoError(t, step())
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints: []string{server.Addr()}, Username: "nobody", Password: "pw", Logger: zap.NewNop(),
	})
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	_, err = etcdregistry.Register(ctx, client, registryService, etcdregistry.Instance{Addr: registryAddr}, registryQuiet(5*time.Second)...)
	require.ErrorIs(t, err, rpctypes.ErrPermissionDenied, "at the end of ctx it would be another error")
	require.ErrorContains(t, err, registryKey)
}

func TestRegistry_ClosedClientIsSaidAtOnce(t *testing.T) {
	t.Parallel()
	client := registryClient(t, "127.0.0.1:1")
	require.NoError(t, client.Close())
	_, err := etcdregistry.Register(registryContext(t, 20*time.Second), client, registryService,
		etcdregistry.Instance{Addr: registryAddr})
	require.EqualError(t, err, "etcdregistry: the etcd client is closed")
}
