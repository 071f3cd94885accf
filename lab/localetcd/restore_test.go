//go:build unix

package localetcd_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/steelyard-go/steelyard/lab/localetcd"
)

// header gives what a linearizable read says of the store.
func header(t *testing.T, p *localetcd.Process) *etcdserverpb.ResponseHeader {
	t.Helper()
	got, err := p.Client().Get(testContext(t), "scale")
	require.NoError(t, err)
	return got.Header
}

func TestProcess_RestoreBringsTheOlderRevisionBack(t *testing.T) {
	p := localetcd.StartProcess(t)
	addr, copied := p.Addr(), filepath.Join(t.TempDir(), "copy")
	requirePut(t, p.Client(), "scale", "old")
	then := header(t, p)
	require.NoError(t, p.Snapshot(copied))
	for range 3 {
		requirePut(t, p.Client(), "scale", "new")
	}
	require.Equal(t, then.Revision+3, header(t, p).Revision)

	for range 2 { // the copy can be used again
		require.NoError(t, p.Restore(copied))
		requireValue(t, p.Client(), "scale", "old")
		require.Equal(t, then.Revision, header(t, p).Revision)
		require.Equal(t, then.ClusterId, header(t, p).ClusterId)
		require.Equal(t, addr, p.Addr())
		requirePut(t, p.Client(), "scale", "newer")
	}
}

func TestProcess_ReplaceIsAnotherClusterAtTheSameAddress(t *testing.T) {
	p := localetcd.StartProcess(t)
	addr, copied := p.Addr(), t.TempDir()
	requirePut(t, p.Client(), "scale", "1")
	then := header(t, p)
	require.NoError(t, p.Snapshot(copied))

	require.NoError(t, p.Replace())
	require.Equal(t, addr, p.Addr())
	require.NotEqual(t, then.ClusterId, header(t, p).ClusterId)
	require.EqualValues(t, 1, header(t, p).Revision)

	require.NoError(t, p.Restore(copied))
	require.Equal(t, then.ClusterId, header(t, p).ClusterId)
	requireValue(t, p.Client(), "scale", "1")
}

func TestProcess_SnapshotRefusesADirectoryInUse(t *testing.T) {
	p := localetcd.StartProcess(t)
	dir := t.TempDir()
	require.NoError(t, p.Snapshot(dir))
	require.ErrorContains(t, p.Snapshot(dir), dir)
}
