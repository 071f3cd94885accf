package e2e

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/steelyard-go/steelyard/etcdregistry"
	"github.com/steelyard-go/steelyard/etcdresolver"
	"github.com/steelyard-go/steelyard/lab/localetcd"
)

var cutFaults = []fault{
	{row: 2, name: "cut off 3 s", limit: afterTrouble, play: func(s *scene) {
		playCut(s, 3*time.Second, (*localetcd.Proxy).Cut, false)
	}},
	{row: 2, name: "blackholed 3 s", limit: afterTrouble, play: func(s *scene) {
		playCut(s, 3*time.Second, (*localetcd.Proxy).Blackhole, false)
	}},
	// Until the watchdog strikes, and etcd's client would wait long to dial again.
	{row: 2, name: "cut off 30 s", limit: afterTrouble, play: func(s *scene) {
		playCut(s, 30*time.Second, (*localetcd.Proxy).Cut, false)
	}},
	// Until keep-alive closes the connection too.
	{row: 2, name: "blackholed 15 s", limit: afterTrouble, play: func(s *scene) {
		playCut(s, 15*time.Second, (*localetcd.Proxy).Blackhole, false)
	}},
	{row: 3, name: "cut off 3 s and compaction", limit: afterTrouble, play: func(s *scene) {
		playCut(s, 3*time.Second, (*localetcd.Proxy).Cut, true)
	}},
	{row: 4, name: "compaction between list and watch", limit: 2 * time.Second, play: playCompactionAfterList},
	{row: 4, name: "compaction between pages of a list", limit: 2 * time.Second, play: playCompactionBetweenPages},
}

// playCut makes changes while the client has no connection.
func playCut(s *scene, during time.Duration, fail func(*localetcd.Proxy), compacts bool) {
	etcd := localetcd.Start(s)
	network := localetcd.StartProxy(s, etcd.Addr())
	s.etcd = etcd.Client()
	a, b, c := startPolicyServer(s), startPolicyServer(s), startPolicyServer(s)
	s.put(a, b)
	s.start([]string{network.Addr()}, a, b)

	fail(network)
	s.remove(a)
	s.put(c)
	if compacts {
		discoverCompact(s, s.etcd)
	}
	s.keeps(during, a, b)
	s.is(etcdresolver.Degraded, during > 12*time.Second) // the watchdog's ten, and a list's deadline
	network.Mend()
	s.reach(s.limit, b, c)
	if compacts {
		s.logs(0, 2, "has been compacted") // on the session's end, and on recovery
	}
	s.is(etcdresolver.Synced, true)
	if s.under.asserted {
		stats := s.stats()
		require.Equal(s, []int{1, 2, 0}, []int{stats.Channels, stats.Endpoints, stats.Held})
		require.Zero(s, stats.AuditDifferences)
	}
}

func playCompactionAfterList(s *scene) {
	etcd := localetcd.Start(s)
	network := localetcd.StartProxy(s, etcd.Addr())
	s.etcd = etcd.Client()
	a, b, c := startPolicyServer(s), startPolicyServer(s), startPolicyServer(s)
	s.put(a)
	client := s.connect(clientv3.Config{Endpoints: []string{network.Addr()}})
	lists := intercept(client)
	compacted := lists.after(func(*clientv3.GetResponse) bool {
		s.put(b)
		discoverCompact(s, s.etcd)
		return true
	})
	s.dial(client)
	go s.channel.Connect()
	s.happens(compacted)
	s.reach(s.limit, a, b)
	if !s.under.asserted {
		return // the official resolver makes no other list
	}

	// The list after a compaction is compacted away too, while there are calls.
	compacted = lists.after(func(*clientv3.GetResponse) bool {
		s.put(c)
		s.remove(a)
		discoverCompact(s, s.etcd)
		return true
	})
	network.Cut()
	s.put(b)
	s.remove(b)
	discoverCompact(s, s.etcd)
	network.Mend()
	s.happens(compacted)
	s.reach(s.limit, c)
}

// Each of two servers has keys on the first page, the third one comes after them.
func playCompactionBetweenPages(s *scene) {
	etcd := localetcd.Start(s)
	s.etcd = etcd.Client()
	a, b, c := startPolicyServer(s), startPolicyServer(s), startPolicyServer(s)
	s.putMany(1200, func(i int) (string, etcdregistry.Instance) {
		return fmt.Sprintf("%04d", i), etcdregistry.Instance{Addr: []string{a.addr, b.addr}[i%2]}
	})
	client := s.connect(clientv3.Config{Endpoints: []string{etcd.Addr()}})
	compacted := intercept(client).after(func(page *clientv3.GetResponse) bool {
		if page.More || !s.under.asserted { // the official resolver asks for all at once
			s.put(c)
			discoverCompact(s, s.etcd)
		}
		return page.More || !s.under.asserted
	})
	s.dial(client)
	go s.channel.Connect()
	s.happens(compacted)
	s.reach(s.limit, a, b, c)
}

// interceptedKV is a client's KV into which something can come after a list of instances.
type interceptedKV struct {
	clientv3.KV
	mu sync.Mutex
	do func(*clientv3.GetResponse) (done bool) // nil when there is nothing to do
}

func intercept(client *clientv3.Client) *interceptedKV {
	kv := &interceptedKV{KV: client.KV}
	client.KV = kv
	return kv
}

// after has do called with the pages that come, before they are handed on, until it
// says that it has done what it should. The channel is closed then.
func (kv *interceptedKV) after(do func(*clientv3.GetResponse) bool) <-chan struct{} {
	done := make(chan struct{})
	kv.mu.Lock()
	defer kv.mu.Unlock()
	kv.do = func(page *clientv3.GetResponse) bool {
		if !do(page) {
			return false
		}
		close(done)
		return true
	}
	return done
}

func (kv *interceptedKV) Get(ctx context.Context, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	page, err := kv.KV.Get(ctx, key, opts...)
	if err == nil && strings.HasPrefix(key, discoverService+"/") {
		kv.mu.Lock()
		defer kv.mu.Unlock()
		if kv.do != nil && kv.do(page) {
			kv.do = nil
		}
	}
	return page, err
}
