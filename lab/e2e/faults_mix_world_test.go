package e2e

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/steelyard-go/steelyard/attrs"
	"github.com/steelyard-go/steelyard/etcdregistry"
	"github.com/steelyard-go/steelyard/etcdresolver"
	"github.com/steelyard-go/steelyard/lab/localetcd"
)

const (
	fewestServers, mostServers = 6, 9 // that register themselves
	handmadeServers            = 4
	mostLateClients            = 3
	// registerLimit is longer than any trouble of etcd's lasts here.
	registerLimit = time.Minute
)

// mix is a scene with servers that register themselves, others that are registered
// by hand, clients that come later, and a network for each side.
type mix struct {
	*scene
	cluster          *localetcd.Cluster
	clientProxies    []*localetcd.Proxy // one for each member
	registrarProxies []*localetcd.Proxy
	byHand           []*policyServer // always alive
	underway         sync.WaitGroup  // what servers do in their own time
	late             []*scene        // of the lane that adds them

	mu         sync.Mutex
	registered []*registeredServer
	departed   []*registeredServer
}

type registeredServer struct {
	*policyServer
	client       *clientv3.Client
	registration *etcdregistry.Registration
}

func (s *registeredServer) key() string { return etcdregistry.Key(discoverService, s.addr) }

func startMix(s *scene) *mix {
	m := &mix{scene: s, cluster: localetcd.StartCluster(s), byHand: startPolicyServers(s, handmadeServers)}
	s.etcd = m.cluster.Client()
	// Leases run out by the half when outages add up. What a guard then holds must have
	// gone by the end of a round's limit, to compare the lists.
	s.options = []etcdresolver.Option{etcdresolver.WithShrinkGuard(3 * time.Second)}
	for _, addr := range m.cluster.Endpoints() {
		m.clientProxies = append(m.clientProxies, localetcd.StartProxy(s, addr))
		m.registrarProxies = append(m.registrarProxies, localetcd.StartProxy(s, addr))
	}
	for range fewestServers {
		m.arrive()
	}
	m.underway.Wait()
	s.start(proxyAddrs(m.clientProxies), m.alive()...)
	return m
}

func proxyAddrs(proxies []*localetcd.Proxy) []string {
	addrs := make([]string, len(proxies))
	for i, proxy := range proxies {
		addrs[i] = proxy.Addr()
	}
	return addrs
}

// alive gives those that registered themselves and have not left.
func (m *mix) alive() (alive []*policyServer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, server := range m.registered {
		alive = append(alive, server.policyServer)
	}
	return alive
}

// handmade gives one of those that are registered by hand, under handmadeKey.
func (m *mix) handmade(pick int) *policyServer { return m.byHand[pick%handmadeServers] }

func handmadeKey(pick int) string {
	return etcdregistry.Key(discoverService, fmt.Sprint("handmade", pick%handmadeServers))
}

// some gives one of those that registered themselves.
func (m *mix) some(pick int) *registeredServer {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.registered[pick%len(m.registered)]
}

// arrive starts a server, unless there are enough, and has it register itself.
func (m *mix) arrive() {
	if len(m.alive()) >= mostServers {
		return
	}
	server := &registeredServer{
		policyServer: startPolicyServer(m),
		client:       m.connect(clientv3.Config{Endpoints: proxyAddrs(m.registrarProxies)}),
	}
	m.underway.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), registerLimit)
		defer cancel()
		inst := etcdregistry.Instance{Addr: server.addr, Attrs: attrs.Attrs{Weight: 2}}
		var err error
		server.registration, err = etcdregistry.Register(ctx, server.client, discoverService, inst, registryQuiet(20*time.Second)...)
		if !assert.NoError(m, err) {
			return
		}
		m.Cleanup(func() { _ = server.registration.Close(context.Background()) })
		m.mu.Lock()
		defer m.mu.Unlock()
		m.registered = append(m.registered, server)
	})
}

// leave has a server end in good order, unless there are few.
func (m *mix) leave(pick int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.registered) <= fewestServers {
		return
	}
	i := pick % len(m.registered)
	server := m.registered[i]
	m.registered = slices.Delete(m.registered, i, i+1)
	m.departed = append(m.departed, server)
	m.underway.Go(func() {
		_ = server.registration.Close(context.Background()) // in trouble the key goes with the lease
		server.grpc.GracefulStop()
		_ = server.client.Close()
	})
}

// reweigh does not wait: the registration writes it when it can.
func (m *mix) reweigh(pick int) {
	server := m.some(pick)
	m.underway.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = server.registration.Update(ctx, attrs.Attrs{Weight: uint32(1 + pick%9)})
	})
}

// join has a client come, whatever state etcd is in, unless there are enough.
func (m *mix) join() {
	if len(m.late) == mostLateClients {
		return
	}
	late := m.another()
	late.dial(late.connect(clientv3.Config{Endpoints: proxyAddrs(m.clientProxies)}))
	late.channel.Connect()
	m.late = append(m.late, late)
}

// tidyUp puts right what nobody else does: bad values, whose last good ones only those
// know who saw them, and keys left behind that were the operator's last.
func (m *mix) tidyUp(operator *clientv3.Client) {
	ctx, cancel := context.WithTimeout(context.Background(), m.limit)
	defer cancel()
	for i, server := range m.byHand {
		stands := clientv3.Compare(clientv3.CreateRevision(handmadeKey(i)), ">", 0)
		_, err := operator.Txn(ctx).If(stands).Then(clientv3.OpPut(handmadeKey(i), server.addr)).Commit()
		require.NoError(m, err)
	}
	alive := addrsOf(m.alive())
	for _, server := range m.departed {
		if !slices.Contains(alive, server.addr) { // the system may have given the port to another
			_, err := operator.Delete(ctx, server.key())
			require.NoError(m, err)
		}
	}
	m.departed = nil
}

// described is an endpoint with what policies go by.
func described(addr string, a attrs.Attrs) string {
	return fmt.Sprintf("%s weight %d draining %t", addr, max(1, a.Weight), a.Draining)
}

// told gives the last list that a client was told.
func told(h *heard) (list []string) {
	for _, e := range h.state().Endpoints {
		list = append(list, described(e.Addresses[0].Addr, attrs.FromEndpoint(e)))
	}
	slices.Sort(list)
	return list
}

// truth gives the list as etcd has it, linearizably, and the addresses in it.
func truth(etcd *clientv3.Client) (list, addrs []string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	instances, err := etcd.Get(ctx, discoverService+"/", clientv3.WithPrefix())
	if err != nil {
		return nil, nil, err
	}
	prefix := etcdregistry.OverridePrefix(discoverService)
	standing, err := etcd.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithRev(instances.Header.Revision))
	if err != nil {
		return nil, nil, err
	}
	overrides := make(map[string]etcdregistry.Override)
	for _, kv := range standing.Kvs {
		addr := string(kv.Key[len(prefix):])
		if overrides[addr], err = etcdregistry.DecodeOverride(string(kv.Key), kv.Value); err != nil {
			return nil, nil, err
		}
	}
	for _, kv := range instances.Kvs {
		inst, err := etcdregistry.Decode(string(kv.Key), kv.Value)
		if direct := !slices.Contains(kv.Key[len(discoverService)+1:], '/'); err == nil && direct {
			addrs = append(addrs, inst.Addr)
			list = append(list, described(inst.Addr, overrides[inst.Addr].Apply(inst.Attrs)))
		}
	}
	slices.Sort(list)
	return list, addrs, nil
}
