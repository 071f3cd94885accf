package e2e

import (
	"context"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"

	"github.com/steelyard-go/steelyard/etcdresolver"
	"github.com/steelyard-go/steelyard/lab/localetcd"
)

var downFaults = []fault{
	{row: 5, name: "etcd down when the channel is made", limit: afterTrouble, play: playDownAtStart},
	{row: 6, name: "Close with etcd refusing", limit: noWait, play: func(s *scene) {
		playClose(s, func(etcd *localetcd.Process, _ *localetcd.Proxy) error { return etcd.Kill() })
	}},
	{row: 6, name: "Close with etcd blackholed", limit: noWait, play: func(s *scene) {
		playClose(s, func(_ *localetcd.Process, network *localetcd.Proxy) error { network.Blackhole(); return nil })
	}},
	{row: 6, name: "Close with etcd hanging", limit: noWait, play: func(s *scene) {
		playClose(s, func(etcd *localetcd.Process, _ *localetcd.Proxy) error { return etcd.Suspend() })
	}},
	{row: 7, name: "awake from idle with etcd down", limit: noWait, play: playIdle},
}

func playDownAtStart(s *scene) {
	etcd := localetcd.StartProcess(s)
	s.etcd, s.policy = etcd.Client(), stockPickFirst
	a := startPolicyServer(s)
	s.put(a)
	require.NoError(s, etcd.Kill())
	s.dial(s.connect(clientv3.Config{Endpoints: []string{etcd.Addr()}}))

	s.within(300*time.Millisecond, "a call's deadline", func() {
		_, err := s.channel.call(300 * time.Millisecond)
		s.errs(err, codes.DeadlineExceeded, "")
	})
	s.within(700*time.Millisecond, "a call's error", func() {
		_, err := s.channel.call(10 * time.Second)
		s.errs(err, codes.Unavailable, "etcd:///payments: no list of payments/ from etcd at ["+etcd.Addr()+"] yet: ")
		s.errs(err, codes.Unavailable, "connection refused")
	})
	s.is(etcdresolver.Init, true)
	s.report.converged = 0 // that was before the trouble's end
	waiting := make(chan error, 1)
	go func() {
		_, err := s.channel.call(20*time.Second, grpc.WaitForReady(true))
		waiting <- err
	}()
	require.NoError(s, etcd.Restart())
	s.reach(s.limit, a)
	if err := <-waiting; s.under.asserted {
		require.NoError(s, err, "a call that waits for ready is not failed")
	}
}

// playClose closes channels that never had a list, and one that has.
func playClose(s *scene, fail func(*localetcd.Process, *localetcd.Proxy) error) {
	etcd := localetcd.StartProcess(s)
	network := localetcd.StartProxy(s, etcd.Addr())
	s.etcd = etcd.Client()
	a := startPolicyServer(s)
	s.put(a)
	s.start([]string{network.Addr()}, a)
	s.end()
	require.NoError(s, fail(etcd, network))

	fresh := s.resolver(s.client)
	for _, after := range []time.Duration{0, 300 * time.Millisecond, 1200 * time.Millisecond} {
		channel := s.open(fresh, discoverService)
		go channel.Connect() // with the official resolver it blocks
		<-time.After(after)
		s.within(s.limit, "Close of a channel without a list", func() { _ = channel.Close() })
	}
	s.within(s.limit, "Close of a channel with a list", func() { _ = s.channel.Close() })
}

func playIdle(s *scene) {
	etcd := localetcd.StartProcess(s)
	s.etcd, s.channelOpts = etcd.Client(), []grpc.DialOption{grpc.WithIdleTimeout(200 * time.Millisecond)}
	a, b := startPolicyServer(s), startPolicyServer(s)
	s.put(a, b)
	s.start([]string{etcd.Addr()}, a, b)
	s.end()
	require.NoError(s, etcd.Kill())

	ctx, cancel := context.WithTimeout(s.Context(), setup)
	defer cancel()
	for state := s.channel.GetState(); state != connectivity.Idle; state = s.channel.GetState() {
		require.True(s, s.channel.WaitForStateChange(ctx, state))
	}
	s.is(etcdresolver.Idle, true)
	s.within(s.limit, "the first call", func() {
		_, err := s.channel.call(callTimeout)
		s.errs(err, codes.OK, "")
	})
	s.reach(s.limit, a, b)
	s.keeps(2*time.Second, a, b)
}

// errs requires of our resolver that a call failed with that code and text.
func (s *scene) errs(err error, code codes.Code, text string) {
	s.Helper()
	if !s.under.asserted {
		s.Logf("%s: %v", s.under.name, err)
		return
	}
	assert.Equal(s, code, status.Code(err), "%v", err)
	if text != "" {
		assert.ErrorContains(s, err, text)
	}
}
