package e2e

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"

	"github.com/steelyard-go/steelyard/lab/localetcd"
)

func TestResolver_EtcdKilledAndRestartedOnItsData(t *testing.T) {
	etcd := localetcd.StartProcess(t)
	client := etcd.Client()
	servers := startPolicyServers(t, 3)
	discoverPut(t, client, servers[0], 1)
	discoverPut(t, client, servers[1], 1)
	channel := dialHeard(t, newHeard(discoverClient(t, etcd.Addr())), discoverService, stockRoundRobin)
	channel.awaitReach(t, 2*time.Second, servers[:2]...)
	requireNoneFailed := channel.steadyCalls(t)

	require.NoError(t, etcd.Kill())
	require.Never(t, func() bool { return !channel.reaches(servers[:2]...) }, time.Second, 50*time.Millisecond, "the last list stays")
	require.NoError(t, etcd.Restart())
	discoverPut(t, client, servers[2], 1)
	discoverDelete(t, client, servers[0])
	channel.awaitReach(t, afterTrouble, servers[1:]...)
	requireNoneFailed()
}

// The changes are made while the client is cut off.
func TestResolver_CutOff(t *testing.T) {
	for name, compacts := range map[string]bool{"": false, "and compaction meanwhile": true} {
		t.Run(name, func(t *testing.T) {
			etcd, network := localetcd.Start(t), &wire{}
			servers := startPolicyServers(t, 3)
			discoverPut(t, etcd.Client(), servers[0], 1)
			discoverPut(t, etcd.Client(), servers[1], 1)
			h := newHeard(discoverClient(t, etcd.Addr(), network.dialOption()))
			channel := dialHeard(t, h, discoverService, stockRoundRobin)
			channel.awaitReach(t, 2*time.Second, servers[:2]...)
			requireNoneFailed := channel.steadyCalls(t)

			network.cut()
			discoverDelete(t, etcd.Client(), servers[0])
			discoverPut(t, etcd.Client(), servers[2], 1)
			if compacts {
				discoverCompact(t, etcd.Client())
			}
			require.Never(t, func() bool { return !channel.reaches(servers[:2]...) }, 3*time.Second, 50*time.Millisecond)
			network.mend()
			channel.awaitReach(t, afterTrouble, servers[1:]...)
			requireNoneFailed()
			if compacts {
				require.Len(t, h.logged("has been compacted"), 2, "on its end and on recovery")
			}
		})
	}
}

// The cut lasts long enough for the watchdog: etcd's client would wait up to two
// minutes before it dials again.
func TestResolver_CutOffForLong(t *testing.T) {
	t.Parallel()
	etcd, network := localetcd.Start(t), &wire{}
	servers := startPolicyServers(t, 2)
	discoverPut(t, etcd.Client(), servers[0], 1)
	h := newHeard(discoverClient(t, etcd.Addr(), network.dialOption()))
	channel := dialHeard(t, h, discoverService, stockRoundRobin)
	channel.awaitReach(t, 2*time.Second, servers[0])
	requireNoneFailed := channel.steadyCalls(t)

	network.cut()
	discoverPut(t, etcd.Client(), servers[1], 1)
	require.Eventually(t, func() bool { return len(h.logged(errCut.Error())) > 0 }, 20*time.Second, tick, "the log names the cause")
	require.Never(t, func() bool { return !channel.reaches(servers[0]) }, 8*time.Second, 100*time.Millisecond)
	network.mend()
	channel.awaitReach(t, afterTrouble, servers...)
	requireNoneFailed()
}

// A hanging etcd keeps its connections open and says nothing.
func TestResolver_EtcdHangs(t *testing.T) {
	t.Parallel()
	etcd := localetcd.StartProcess(t)
	servers := startPolicyServers(t, 2)
	discoverPut(t, etcd.Client(), servers[0], 1)
	h := newHeard(discoverClient(t, etcd.Addr()))
	channel := dialHeard(t, h, discoverService, stockRoundRobin)
	channel.awaitReach(t, 2*time.Second, servers[0])
	requireNoneFailed := channel.steadyCalls(t)

	require.NoError(t, etcd.Suspend())
	require.Eventually(t, func() bool { return len(h.logged("watch: no answer for 10s")) > 0 }, 20*time.Second, tick)
	require.NoError(t, etcd.Resume())
	discoverPut(t, etcd.Client(), servers[1], 1)
	channel.awaitReach(t, afterTrouble, servers...)
	requireNoneFailed()
}

func TestResolver_EtcdDownWhenTheChannelIsMade(t *testing.T) {
	etcd := localetcd.StartProcess(t)
	server := startPolicyServer(t)
	discoverPut(t, etcd.Client(), server, 1)
	require.NoError(t, etcd.Kill())
	channel := dialHeard(t, newHeard(discoverClient(t, etcd.Addr())), discoverService, stockPickFirst)

	began := time.Now()
	_, err := channel.call(300 * time.Millisecond)
	require.Equal(t, codes.DeadlineExceeded, status.Code(err), "a call keeps its deadline")
	require.Less(t, time.Since(began), 400*time.Millisecond)
	_, err = channel.call(10 * time.Second)
	require.Less(t, time.Since(began), time.Second)
	require.Equal(t, codes.Unavailable, status.Code(err))
	require.ErrorContains(t, err, "etcd:///payments: no list of payments/ from etcd at ["+etcd.Addr()+"] yet: ")
	require.ErrorContains(t, err, "connection refused")

	waiting := make(chan error, 1)
	go func() {
		_, err := channel.call(20*time.Second, grpc.WaitForReady(true))
		waiting <- err
	}()
	require.NoError(t, etcd.Restart())
	channel.awaitReach(t, afterTrouble, server)
	require.NoError(t, <-waiting, "a call that waits for ready is not failed")
}

func TestResolver_CloseWaitsForNothing(t *testing.T) {
	for name, start := range map[string]func(t *testing.T) string{
		"refusing":   func(*testing.T) string { return "127.0.0.1:1" },
		"blackholed": func(t *testing.T) string { t.Helper(); return blackhole(t) },
		"well":       func(t *testing.T) string { t.Helper(); return localetcd.Start(t).Addr() },
		"hanging": func(t *testing.T) string {
			t.Helper()
			etcd := localetcd.StartProcess(t)
			require.NoError(t, etcd.Suspend())
			t.Cleanup(func() { require.NoError(t, etcd.Kill()) })
			return etcd.Addr()
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHeard(discoverClient(t, start(t)))
			for _, after := range []time.Duration{0, 300 * time.Millisecond, 1200 * time.Millisecond} {
				channel := dialHeard(t, h, discoverService, stockRoundRobin)
				channel.Connect()
				<-time.After(after)
				began := time.Now()
				require.NoError(t, channel.Close())
				require.Less(t, time.Since(began), noWait, "after %v", after)
			}
		})
	}
}

func TestResolver_WakesFromIdleWithEtcdDown(t *testing.T) {
	etcd := localetcd.StartProcess(t)
	server := startPolicyServer(t)
	discoverPut(t, etcd.Client(), server, 1)
	channel := dialHeard(t, newHeard(discoverClient(t, etcd.Addr())), discoverService, stockRoundRobin, grpc.WithIdleTimeout(200*time.Millisecond))
	channel.awaitReach(t, 2*time.Second, server)
	require.NoError(t, etcd.Kill())

	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	for state := channel.GetState(); state != connectivity.Idle; state = channel.GetState() {
		require.True(t, channel.WaitForStateChange(ctx, state))
	}
	began := time.Now()
	addr, err := channel.call(5 * time.Second)
	require.NoError(t, err)
	require.Equal(t, server.addr, addr)
	require.Less(t, time.Since(began), noWait)
}

func TestResolver_CompactionInPeaceIsNotNoticed(t *testing.T) {
	client := localetcd.Start(t).Client()
	servers := startPolicyServers(t, 2)
	discoverPut(t, client, servers[0], 1)
	h := newHeard(client)
	channel := dialHeard(t, h, discoverService, stockRoundRobin)
	channel.awaitReach(t, 2*time.Second, servers[0])
	requireNoneFailed := channel.steadyCalls(t)
	discoverPut(t, client, servers[0], 2)
	h.awaitList(t, inPeace, servers[0].addr+"=2") // the watch is there
	degraded := len(h.logged("degraded"))
	for range 3 {
		discoverPut(t, client, servers[0], 1)
		discoverCompact(t, client)
	}
	discoverPut(t, client, servers[1], 1)
	channel.awaitReach(t, inPeace, servers...)
	requireNoneFailed()
	require.Len(t, h.logged("degraded"), degraded)
}
