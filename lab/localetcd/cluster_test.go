//go:build unix

package localetcd_test

import (
	"context"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/steelyard-go/steelyard/lab/localetcd"
)

func leader(t *testing.T, c *localetcd.Cluster) *localetcd.Process {
	t.Helper()
	p, err := c.Leader(testContext(t))
	require.NoError(t, err)
	return p
}

// others are the members but one.
func others(c *localetcd.Cluster, but *localetcd.Process) (rest []*localetcd.Process) {
	for _, m := range c.Members() {
		if m != but {
			rest = append(rest, m)
		}
	}
	return rest
}

// eventuallyPut puts as soon as the member has a leader again.
func eventuallyPut(t *testing.T, m *localetcd.Process, key, value string) {
	t.Helper()
	require.Eventually(t, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := m.Client().Put(ctx, key, value)
		return err == nil
	}, 10*time.Second, 50*time.Millisecond)
}

// local gives the member's own value, which may be old.
func local(t *testing.T, m *localetcd.Process, key string) string {
	t.Helper()
	got, err := m.Client().Get(testContext(t), key, clientv3.WithSerializable())
	require.NoError(t, err)
	require.Len(t, got.Kvs, 1)
	return string(got.Kvs[0].Value)
}

func TestCluster_MembersShareOneStore(t *testing.T) {
	c := localetcd.StartCluster(t)
	require.Len(t, c.Members(), 3)
	requirePut(t, c.Client(), "scale", "1")
	for i, m := range c.Members() {
		require.Equal(t, c.Endpoints()[i], m.Addr())
		requireValue(t, m.Client(), "scale", "1")
	}
}

func TestCluster_OutlivesItsLeader(t *testing.T) {
	c := localetcd.StartCluster(t)
	first := leader(t, c)
	require.NoError(t, first.Kill())
	second := leader(t, c)
	require.NotEqual(t, first, second)
	requirePut(t, second.Client(), "scale", "1")

	require.NoError(t, first.Restart())
	requireValue(t, first.Client(), "scale", "1")

	require.NoError(t, second.Suspend())
	third := leader(t, c)
	require.NotEqual(t, second, third)
	requirePut(t, third.Client(), "scale", "2")
	require.NoError(t, second.Resume())
	requireValue(t, second.Client(), "scale", "2")
}

func TestCluster_NoLeaderWithoutAMajority(t *testing.T) {
	c := localetcd.StartCluster(t)
	for _, m := range others(c, leader(t, c)) {
		require.NoError(t, m.Suspend())
	}
	ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
	defer cancel()
	_, err := c.Leader(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "no leader")
}

func TestCluster_RestartBringsAllBack(t *testing.T) {
	c := localetcd.StartCluster(t)
	requirePut(t, c.Client(), "scale", "1")
	for _, m := range c.Members() {
		require.NoError(t, m.Kill())
	}
	require.NoError(t, c.Restart())
	requireValue(t, c.Client(), "scale", "1")
}

func TestCluster_IsolatedLeaderLosesTheLead(t *testing.T) {
	c := localetcd.StartCluster(t)
	requirePut(t, c.Client(), "scale", "before")
	first := leader(t, c)
	require.NoError(t, c.Isolate(first))

	rest := others(c, first)
	eventuallyPut(t, rest[0], "scale", "after")
	requireValue(t, rest[1].Client(), "scale", "after")
	require.NotEqual(t, first, leader(t, c))

	require.Equal(t, "before", local(t, first, "scale"))
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := first.Client().Get(ctx, "scale")
	require.Error(t, err)
	require.Eventually(t, func() bool {
		status, err := first.Client().Status(t.Context(), first.Addr())
		return err == nil && status.Leader == 0
	}, 5*time.Second, 50*time.Millisecond)

	require.NoError(t, c.Heal())
	require.Eventually(t, func() bool { return local(t, first, "scale") == "after" }, 5*time.Second, 20*time.Millisecond)
	eventuallyPut(t, first, "scale", "healed")
	requireValue(t, rest[0].Client(), "scale", "healed")
}

func TestCluster_IsolatedFollowerLagsAndLeavesTheLeaderAlone(t *testing.T) {
	c := localetcd.StartCluster(t)
	requirePut(t, c.Client(), "scale", "before")
	first := leader(t, c)
	follower := others(c, first)[0]
	requireValue(t, follower.Client(), "scale", "before")
	require.NoError(t, c.Isolate(follower))
	requirePut(t, first.Client(), "scale", "after")
	require.Equal(t, "before", local(t, follower, "scale"))

	require.NoError(t, c.Heal())
	require.Eventually(t, func() bool { return local(t, follower, "scale") == "after" }, 5*time.Second, 20*time.Millisecond)
	require.Equal(t, first, leader(t, c))
}

func TestCluster_RestartOfAMemberHealsIt(t *testing.T) {
	c := localetcd.StartCluster(t)
	m := c.Members()[0]
	require.NoError(t, c.Isolate(m))
	require.NoError(t, m.Restart())
	eventuallyPut(t, m, "scale", "1")

	require.NoError(t, c.Isolate(m))
	require.NoError(t, m.Kill())
	require.NoError(t, c.Heal())
	require.NoError(t, m.Restart())
	requireValue(t, m.Client(), "scale", "1")
}

func TestCluster_HealDoesNotWaitForASuspendedMember(t *testing.T) {
	c := localetcd.StartCluster(t)
	isolated, suspended := c.Members()[0], c.Members()[1]
	require.NoError(t, c.Isolate(isolated))
	require.NoError(t, suspended.Suspend())
	require.NoError(t, c.Heal())
	eventuallyPut(t, isolated, "scale", "1")
	require.NoError(t, suspended.Resume())
	requireValue(t, suspended.Client(), "scale", "1")
}

func TestCluster_CloseLeavesNeitherProcessNorFile(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	c, err := localetcd.NewCluster()
	require.NoError(t, err)
	require.NoError(t, c.Close())
	for _, m := range c.Members() {
		require.ErrorIs(t, syscall.Kill(m.Pid(), 0), syscall.ESRCH)
	}
	left, err := os.ReadDir(os.TempDir())
	require.NoError(t, err)
	require.Empty(t, left)
}
