package e2e

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/steelyard-go/steelyard/lab/localetcd"
)

var lagFaults = []fault{
	{row: 31, name: "list served by a lagging follower", limit: afterTrouble, play: playLagging},
}

// playLagging has the client ask a member that is a thousand revisions behind: it
// was suspended, and the client's requests wait for it when it is resumed. The
// second resolver makes a list then, and knows better already.
func playLagging(s *scene) {
	cluster := localetcd.StartCluster(s)
	ctx, cancel := context.WithTimeout(context.Background(), etcdTimeout)
	defer cancel()
	leader, err := cluster.Leader(ctx)
	require.NoError(s, err)
	follower := cluster.Members()[0]
	if follower == leader {
		follower = cluster.Members()[1]
	}
	s.etcd = leader.Client()
	a, b, c, d := startPolicyServer(s), startPolicyServer(s), startPolicyServer(s), startPolicyServer(s)
	s.put(a, b)
	network := localetcd.StartProxy(s, leader.Addr())
	s.start([]string{network.Addr()}, a, b)
	lister := s.resolver(s.client)

	require.NoError(s, follower.Suspend())
	s.writeMuch()
	s.remove(a)
	s.put(c)
	s.reach(s.limit, b, c)
	second := s.open(lister, discoverService)
	second.awaitSomeReach(b, c)
	require.NoError(s, second.Close())
	s.client.SetEndpoints(follower.Addr())
	network.Cut() // streams would stay where they are
	s.put(d)
	second = s.open(lister, discoverService)
	go second.Connect()
	s.keeps(200*time.Millisecond, b, c) // the list is asked for
	require.NoError(s, follower.Resume())
	s.reach(s.limit, b, c, d)
	s.within(s.limit, "the second resolver's list", func() { second.awaitSomeReach(b, c, d) })
	s.keeps(time.Second, b, c, d)
	if s.under.asserted {
		require.Empty(s, s.heard.logged("older revision"))
		require.Empty(s, lister.logged("older revision"))
		require.Empty(s, lister.logged("guard"), "nobody left")
	}
}

// writeMuch puts the store a thousand revisions ahead, outside the service.
func (s *scene) writeMuch() {
	s.Helper()
	const revisions, writers = 1000, 20
	value := strings.Repeat("x", 4000)
	var writing sync.WaitGroup
	for first := range writers {
		writing.Go(func() {
			for i := first; i < revisions; i += writers {
				discoverPutValue(s, s.etcd, "other/"+strconv.Itoa(i), value)
			}
		})
	}
	writing.Wait()
}
