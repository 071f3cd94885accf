package e2e

import (
	"path/filepath"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/steelyard-go/steelyard/lab/localetcd"
)

// What the client knew is so many revisions ahead of the past. Those that follow it
// unseen are more.
const (
	lostRevisions   = 50
	unseenRevisions = 2 * lostRevisions
)

// playRestored puts etcd back to the past, and adds some revisions before the client
// sees it again. What was changed in between is undone.
func playRestored(s *scene, unseen int) {
	etcd := localetcd.StartProcess(s)
	network := localetcd.StartProxy(s, etcd.Addr())
	s.etcd = etcd.Client()
	relay := startRelay(s)
	past, backup := relay.registered(), filepath.Join(s.TempDir(), "backup")
	require.NoError(s, etcd.Snapshot(backup))
	advance(s, lostRevisions)
	s.start([]string{network.Addr()}, past...)
	relay.pass()
	s.reach(s.limit, relay.registered()...)

	network.Cut()
	require.NoError(s, etcd.Restore(backup))
	advance(s, unseen)
	network.Mend()
	s.reach(s.limit, past...)
	s.put(relay.servers...)
	s.reach(s.limit, relay.servers...)
}

// advance makes so many revisions that do not concern the service.
func advance(s *scene, revisions int) {
	s.Helper()
	for range revisions {
		discoverPutValue(s, s.etcd, "something/else", "")
	}
}

// playReplaced gives the address to an etcd that knows nothing. The last list serves
// until servers register there.
func playReplaced(s *scene, unseen int) {
	etcd := localetcd.StartProcess(s)
	network := localetcd.StartProxy(s, etcd.Addr())
	s.etcd = etcd.Client()
	relay := startRelay(s)
	advance(s, lostRevisions)
	s.start([]string{network.Addr()}, relay.registered()...)

	network.Cut()
	require.NoError(s, etcd.Replace())
	advance(s, unseen)
	network.Mend()
	s.keeps(5*time.Second, relay.registered()...)
	s.put(relay.servers...)
	s.reach(s.limit, relay.servers...)
	s.remove(relay.servers[0])
	s.reach(s.limit, relay.servers[1:]...)
}
