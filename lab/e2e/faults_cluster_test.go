package e2e

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/steelyard-go/steelyard/lab/localetcd"
)

var clusterFaults = []fault{
	{row: 11, name: "etcd down 120 s", limit: 5 * time.Second, long: true, play: playDownForLong},
	{row: 12, name: "one of two etcd endpoints blackholed", limit: 15 * time.Second, play: func(s *scene) {
		playBlackholedEndpoint(s, s.connect)
	}},
	{row: 12, name: "one of two etcd endpoints blackholed, a client without keep-alive", limit: 15 * time.Second, play: func(s *scene) {
		playBlackholedEndpoint(s, s.connectOnly)
	}},
	{row: 13, name: "each of three members hangs in turn", limit: 15 * time.Second, play: playHangingMembers},
	{row: 14, name: "leader killed three times", limit: 10 * time.Second, play: func(s *scene) { playKilledLeaders(s, 3) }},
	{row: 14, name: "leader killed ten times", limit: 10 * time.Second, long: true, play: func(s *scene) { playKilledLeaders(s, 10) }},
	{row: 15, name: "client of one member, in the minority", limit: 10 * time.Second, play: playMinorityAlone},
	{row: 15, name: "each of the client's members in the minority in turn", limit: 10 * time.Second, play: playMinorityAmongOthers},
	{row: 16, name: "quorum killed for 30 s, a client starts meanwhile", limit: 10 * time.Second, play: func(s *scene) {
		playQuorumLost(s, (*localetcd.Process).Kill, (*localetcd.Process).Restart)
	}},
	{row: 16, name: "quorum hangs for 30 s, a client starts meanwhile", limit: 10 * time.Second, play: func(s *scene) {
		playQuorumLost(s, (*localetcd.Process).Suspend, (*localetcd.Process).Resume)
	}},
	{row: 17, name: "restored to an older revision", limit: 15 * time.Second, play: func(s *scene) { playRestored(s, 0) }},
	{row: 17, name: "restored to an older revision, and past the old one unseen", limit: 15 * time.Second, play: func(s *scene) { playRestored(s, unseenRevisions) }},
	{row: 17, name: "replaced by a new cluster", limit: 15 * time.Second, play: func(s *scene) { playReplaced(s, 0) }},
	{row: 17, name: "replaced by a new cluster, and past the old revision unseen", limit: 15 * time.Second, play: func(s *scene) { playReplaced(s, unseenRevisions) }},
}

// relay is three servers of which two are registered, the first ones.
type relay struct {
	scene   *scene
	servers []*policyServer
}

// startRelay registers two of its servers; the scene has its etcd.
func startRelay(s *scene) *relay {
	r := &relay{scene: s, servers: startPolicyServers(s, 3)}
	s.put(r.registered()...)
	return r
}

func (r *relay) registered() []*policyServer { return r.servers[:2] }

// pass registers the one that was out in place of the first.
func (r *relay) pass() {
	r.scene.Helper()
	r.scene.put(r.servers[2])
	r.scene.remove(r.servers[0])
	r.servers = []*policyServer{r.servers[1], r.servers[2], r.servers[0]}
}

// startCluster gives the scene a cluster, with a relay in it.
func startCluster(s *scene) (*localetcd.Cluster, *relay) {
	cluster := localetcd.StartCluster(s)
	s.etcd = cluster.Client()
	return cluster, startRelay(s)
}

// passWithout passes the relay on by way of a leader that is not the member in
// trouble.
func (r *relay) passWithout(member *localetcd.Process, cluster *localetcd.Cluster) {
	r.scene.Helper()
	r.scene.etcd = leaderWithout(member, r.scene, cluster).Client()
	r.pass()
}

// leaderWithout waits until another than member leads: for a while the others go on
// naming a leader that was cut off from them.
func leaderWithout(member *localetcd.Process, s *scene, cluster *localetcd.Cluster) *localetcd.Process {
	s.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for {
		leader, err := cluster.Leader(ctx)
		require.NoError(s, err)
		if leader != member {
			return leader
		}
		<-time.After(tick)
	}
}

func playDownForLong(s *scene) {
	etcd := localetcd.StartProcess(s)
	s.etcd = etcd.Client()
	relay := startRelay(s)
	s.start([]string{etcd.Addr()}, relay.registered()...)

	require.NoError(s, etcd.Kill())
	s.keeps(120*time.Second, relay.registered()...)
	require.NoError(s, etcd.Restart())
	s.etcd = s.connectOnly(clientv3.Config{Endpoints: []string{etcd.Addr()}}) // the old one pauses for long by now
	relay.pass()
	s.reach(s.limit, relay.registered()...)
}

// The client's watch is at one of the two.
func playBlackholedEndpoint(s *scene, connect func(clientv3.Config) *clientv3.Client) {
	etcd := localetcd.Start(s)
	s.etcd = etcd.Client()
	proxies := []*localetcd.Proxy{localetcd.StartProxy(s, etcd.Addr()), localetcd.StartProxy(s, etcd.Addr())}
	relay := startRelay(s)
	s.dial(connect(clientv3.Config{Endpoints: proxyAddrs(proxies)}))
	s.flow(relay.registered()...)

	for _, proxy := range proxies {
		proxy.Blackhole()
		relay.pass()
		s.reach(s.limit, relay.registered()...)
		proxy.Mend()
	}
}

// connectOnly gives a client that trusts its connection.
func (s *scene) connectOnly(config clientv3.Config) *clientv3.Client {
	s.Helper()
	config.Logger = zap.NewNop()
	client, err := clientv3.New(config)
	require.NoError(s, err)
	s.Cleanup(func() { _ = client.Close() })
	return client
}

func playHangingMembers(s *scene) {
	cluster, relay := startCluster(s)
	s.start(cluster.Endpoints(), relay.registered()...)

	for _, member := range cluster.Members() {
		require.NoError(s, member.Suspend())
		relay.passWithout(member, cluster)
		s.reach(s.limit, relay.registered()...)
		require.NoError(s, member.Resume())
	}
}

func playKilledLeaders(s *scene, times int) {
	cluster, relay := startCluster(s)
	s.start(cluster.Endpoints(), relay.registered()...)

	for range times {
		leader := leaderWithout(nil, s, cluster)
		require.NoError(s, leader.Kill())
		relay.passWithout(leader, cluster)
		s.reach(s.limit, relay.registered()...)
		require.NoError(s, leader.Restart())
	}
}

// A member that was cut off as a follower and one that led notice in different ways.
func playMinorityAlone(s *scene) {
	cluster, relay := startCluster(s)
	member := cluster.Members()[0]
	s.start([]string{member.Addr()}, relay.registered()...)

	for range 2 {
		old := relay.registered()
		require.NoError(s, cluster.Isolate(member))
		relay.passWithout(member, cluster)
		s.keeps(5*time.Second, old...)
		require.NoError(s, cluster.Heal())
		s.reach(s.limit, relay.registered()...)
		lead(s, cluster, member)
	}
}

// lead has the member lead.
func lead(s *scene, cluster *localetcd.Cluster, member *localetcd.Process) {
	s.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	status, err := member.Client().Status(ctx, member.Addr())
	require.NoError(s, err)
	leader := leaderWithout(nil, s, cluster)
	_, err = leader.Client().MoveLeader(ctx, status.Header.MemberId)
	require.NoError(s, err)
}

// The client's watch is at one of them.
func playMinorityAmongOthers(s *scene) {
	cluster, relay := startCluster(s)
	s.start(cluster.Endpoints(), relay.registered()...)

	for _, member := range cluster.Members() {
		require.NoError(s, cluster.Isolate(member))
		relay.passWithout(member, cluster)
		s.reach(s.limit, relay.registered()...)
		require.NoError(s, cluster.Heal())
	}
}

func playQuorumLost(s *scene, lose, restore func(*localetcd.Process) error) {
	cluster, relay := startCluster(s)
	s.start(cluster.Endpoints(), relay.registered()...)

	lost := cluster.Members()[1:]
	require.NoError(s, together(lost, lose))
	late := s.another()
	late.start(cluster.Endpoints(), relay.registered()...)
	late.keeps(15*time.Second, relay.registered()...)
	s.keeps(15*time.Second, relay.registered()...)
	require.NoError(s, together(lost, restore))
	relay.passWithout(nil, cluster)
	mended := time.Now()
	s.reach(s.limit, relay.registered()...)
	waited := time.Since(mended)
	late.reach(s.limit-waited, relay.registered()...)
	late.report.converged += waited
	late.end()
	s.report = s.report.and(late.report)
}

// another gives a client that comes later, to be ended before the scene.
func (s *scene) another() *scene {
	return &scene{T: s.T, fault: s.fault, under: s.under, options: s.options, etcd: s.etcd}
}

// and gives the report of both.
func (r report) and(o report) report {
	return report{
		converged: max(r.converged, o.converged),
		never:     r.never || o.never,
		lapses:    r.lapses + o.lapses,
		calls:     r.calls + o.calls,
		failed:    r.failed + o.failed,
	}
}

// together acts on all members at once: of two that restart neither serves without
// the other.
func together(members []*localetcd.Process, act func(*localetcd.Process) error) error {
	errs := make([]error, len(members))
	var all sync.WaitGroup
	for i, member := range members {
		all.Go(func() { errs[i] = act(member) })
	}
	all.Wait()
	return errors.Join(errs...)
}
