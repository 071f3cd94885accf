package e2e

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/steelyard-go/steelyard/etcdregistry"
	"github.com/steelyard-go/steelyard/etcdresolver"
	"github.com/steelyard-go/steelyard/lab/localetcd"
)

// With pick_first all calls reach the first server, with round_robin both.
func TestResolver_OnePutSwitchesThePolicyOfAllChannels(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	etcd := localetcd.Start(s)
	s.etcd = etcd.Client()
	first, second := startPolicyServer(s), startPolicyServer(s)
	if first.addr > second.addr {
		first, second = second, first
	}
	key := etcdregistry.ConfigKey(discoverService)
	s.put(first, second)
	s.dial(s.connect(clientv3.Config{Endpoints: []string{etcd.Addr()}}), etcdresolver.WithServiceConfig(""))
	s.flow(first, second)
	other := s.open(s.heard, discoverService)
	other.awaitReach(s, setup, first, second)

	discoverPutValue(s, s.etcd, key, stockPickFirst)
	s.reach(inPeace, first)
	other.awaitReach(s, inPeace+slack, first)

	for refused, bad := range []string{`{"loadBalancingConfig":[{"nobody_has_this":{}}]}`, `{"loadBalancingConfig":`} {
		discoverPutValue(s, s.etcd, key, bad)
		s.logs(inPeace, refused+1, "service config: ")
		s.logs(0, refused+1, "key="+key)
		s.keeps(300*time.Millisecond, first)
	}
	require.EqualValues(s, 2, s.stats().Refused, "two channels refuse a config once")

	discoverPutValue(s, s.etcd, key, stockRoundRobin)
	s.reach(inPeace, first, second)
	discoverPutValue(s, s.etcd, key, stockPickFirst)
	s.reach(inPeace, first)
	_, err := s.etcd.Delete(s.Context(), key)
	require.NoError(s, err)
	// gRPC knows no way back to a channel's default: that is for those that come later.
	s.keeps(300*time.Millisecond, first)
	s.open(s.heard, discoverService).awaitReach(s, setup, first, second)
}

func TestResolver_ServiceConfigComesWithTheFirstList(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	etcd := localetcd.Start(s)
	s.etcd = etcd.Client()
	servers := startPolicyServers(s, 2)
	s.put(servers...)
	discoverPutValue(s, s.etcd, "policies/any", stockPickFirst)
	s.dial(s.connect(clientv3.Config{Endpoints: []string{etcd.Addr()}}), etcdresolver.WithServiceConfig("policies/any"))
	_, err := s.channel.call(setup)
	require.NoError(s, err)
	require.Equal(s, []int{2}, s.heard.sizes(), "one update")
	require.NotNil(s, s.heard.state().ServiceConfig)
}
