//go:build unix

package localetcd_test

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"

	"github.com/steelyard-go/steelyard/lab/localetcd"
)

func TestMain(m *testing.M) {
	localetcd.RunIfChild()
	goleak.VerifyTestMain(m)
}

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func requirePut(t *testing.T, client *clientv3.Client, key, value string) {
	t.Helper()
	_, err := client.Put(testContext(t), key, value)
	require.NoError(t, err)
}

func requireValue(t *testing.T, client *clientv3.Client, key, want string) {
	t.Helper()
	got, err := client.Get(testContext(t), key)
	require.NoError(t, err)
	require.Len(t, got.Kvs, 1)
	require.Equal(t, want, string(got.Kvs[0].Value))
}

func TestServer_TwoInOneProcessShareNothing(t *testing.T) {
	a, b := localetcd.Start(t), localetcd.Start(t)
	require.NotEqual(t, a.Addr(), b.Addr())
	requirePut(t, a.Client(), "scale", "a")
	requirePut(t, b.Client(), "scale", "b")
	requireValue(t, a.Client(), "scale", "a")
	requireValue(t, b.Client(), "scale", "b")
}

func TestServer_CloseDoesNotWaitForWatches(t *testing.T) {
	s, err := localetcd.New()
	require.NoError(t, err)
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{s.Addr()}})
	require.NoError(t, err)
	defer client.Close()
	watch := client.Watch(clientv3.WithRequireLeader(testContext(t)), "scale", clientv3.WithCreatedNotify())
	<-watch
	begin := time.Now()
	require.NoError(t, s.Close())
	require.Less(t, time.Since(begin), 4*time.Second)
}

func TestServer_LeasesOfOneSecondRunOut(t *testing.T) {
	s := localetcd.Start(t)
	lease, err := s.Client().Grant(testContext(t), 1)
	require.NoError(t, err)
	require.EqualValues(t, 1, lease.TTL)
	_, err = s.Client().Put(testContext(t), "scale", "1", clientv3.WithLease(lease.ID))
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		got, err := s.Client().Get(testContext(t), "scale")
		return err == nil && got.Count == 0
	}, 5*time.Second, 50*time.Millisecond)
}

func TestProcess_RestartKeepsDataAndAddress(t *testing.T) {
	p := localetcd.StartProcess(t)
	addr, pid := p.Addr(), p.Pid()
	requirePut(t, p.Client(), "scale", "killed")

	require.NoError(t, p.Kill())
	require.ErrorIs(t, syscall.Kill(pid, 0), syscall.ESRCH)
	require.NoError(t, p.Restart())
	requireValue(t, p.Client(), "scale", "killed")

	requirePut(t, p.Client(), "scale", "stopped")
	require.NoError(t, p.Stop())
	require.NoError(t, p.Restart())
	requireValue(t, p.Client(), "scale", "stopped")

	require.Equal(t, addr, p.Addr())
	require.NotEqual(t, pid, p.Pid())
}

func TestProcess_RestartReplacesARunningOne(t *testing.T) {
	p := localetcd.StartProcess(t)
	pid := p.Pid()
	requirePut(t, p.Client(), "scale", "1")
	require.NoError(t, p.Restart())
	require.ErrorIs(t, syscall.Kill(pid, 0), syscall.ESRCH)
	requireValue(t, p.Client(), "scale", "1")
}

func TestProcess_MayStopAsSoonAsItStarted(t *testing.T) {
	p := localetcd.StartProcess(t)
	require.NoError(t, p.Stop())
}

func TestProcess_SuspendedHangsUntilResumed(t *testing.T) {
	p := localetcd.StartProcess(t)
	requirePut(t, p.Client(), "scale", "1")
	require.NoError(t, p.Suspend())
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := p.Client().Get(ctx, "scale")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NoError(t, p.Resume())
	requireValue(t, p.Client(), "scale", "1")
}

func TestProcess_CloseLeavesNeitherProcessNorFile(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	p, err := localetcd.NewProcess()
	require.NoError(t, err)
	requirePut(t, p.Client(), "scale", "1")
	require.NoError(t, p.Close())
	require.ErrorIs(t, syscall.Kill(p.Pid(), 0), syscall.ESRCH)
	left, err := os.ReadDir(os.TempDir())
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestProcess_CloseTellsOfOneThatEndedByItself(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	p, err := localetcd.NewProcess()
	require.NoError(t, err)
	require.NoError(t, syscall.Kill(p.Pid(), syscall.SIGABRT))
	require.ErrorContains(t, p.Stop(), "ended: ")
	require.ErrorContains(t, p.Close(), "ended: ")
}

func TestProcess_StartErrorNamesTheCause(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err := localetcd.NewProcess(localetcd.WithDir(file))
	require.ErrorContains(t, err, "localetcd")
	require.ErrorContains(t, err, file)
}

func TestWithDir_DataOutlivesTheServer(t *testing.T) {
	dir := localetcd.WithDir(t.TempDir())
	s, err := localetcd.New(dir)
	require.NoError(t, err)
	requirePut(t, s.Client(), "scale", "1")
	require.NoError(t, s.Close())
	requireValue(t, localetcd.StartProcess(t, dir).Client(), "scale", "1")
}
