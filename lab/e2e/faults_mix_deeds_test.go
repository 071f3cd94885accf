package e2e

import (
	"context"
	"fmt"
	"time"

	"github.com/stretchr/testify/assert"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/steelyard-go/steelyard/etcdregistry"
	"github.com/steelyard-go/steelyard/lab/localetcd"
)

var clusterDeeds = []deed{
	{"a member is killed", func(m *mix, pick int) func() { return m.kill(m.members(pick, 1)) }},
	{"two members are killed", func(m *mix, pick int) func() { return m.kill(m.members(pick, 2)) }},
	{"all members are killed", func(m *mix, pick int) func() { return m.kill(m.members(pick, 3)) }},
	{"the leader is killed", func(m *mix, pick int) func() { return m.kill(m.leader(pick)) }},
	{"a member hangs", func(m *mix, pick int) func() { return m.suspend(m.members(pick, 1)) }},
	{"two members hang", func(m *mix, pick int) func() { return m.suspend(m.members(pick, 2)) }},
	{"a member is cut off from the others", func(m *mix, pick int) func() { return m.isolate(m.members(pick, 1)[0]) }},
	{"the leader is cut off from the others", func(m *mix, pick int) func() { return m.isolate(m.leader(pick)[0]) }},
	{"compaction", func(m *mix, _ int) func() { m.compact(); return nil }},
}

// members gives some members that follow each other.
func (m *mix) members(pick, count int) []*localetcd.Process {
	all := m.cluster.Members()
	first := pick % len(all)
	return append(all[first:], all[:first]...)[:count]
}

// leader gives the leader, or some member if there is none.
func (m *mix) leader(pick int) []*localetcd.Process {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	leader, err := m.cluster.Leader(ctx)
	if err != nil {
		return m.members(pick, 1)
	}
	return []*localetcd.Process{leader}
}

func (m *mix) kill(members []*localetcd.Process) (undo func()) {
	m.each(members, (*localetcd.Process).Kill)
	return func() { m.each(members, (*localetcd.Process).Restart) }
}

func (m *mix) suspend(members []*localetcd.Process) (undo func()) {
	m.each(members, (*localetcd.Process).Suspend)
	return func() { m.each(members, (*localetcd.Process).Resume) }
}

func (m *mix) isolate(member *localetcd.Process) (undo func()) {
	assert.NoError(m, m.cluster.Isolate(member))
	return func() { assert.NoError(m, m.cluster.Heal()) }
}

func (m *mix) each(members []*localetcd.Process, act func(*localetcd.Process) error) {
	assert.NoError(m, together(members, act))
}

func (m *mix) compact() {
	m.operate(func(ctx context.Context, etcd *clientv3.Client) error {
		got, err := etcd.Get(ctx, "any")
		if err == nil {
			_, err = etcd.Compact(ctx, got.Header.Revision)
		}
		return err
	})
}

func clientNetwork(m *mix) []*localetcd.Proxy    { return m.clientProxies }
func registrarNetwork(m *mix) []*localetcd.Proxy { return m.registrarProxies }

// networkDeeds are what befalls the ways of some to the three members.
func networkDeeds(whose string, network func(*mix) []*localetcd.Proxy) []deed {
	all := func(act func(*localetcd.Proxy)) func(m *mix, pick int) func() {
		return func(m *mix, _ int) func() {
			for _, proxy := range network(m) {
				act(proxy)
			}
			return func() { mend(network(m)) }
		}
	}
	one := func(act func(*localetcd.Proxy)) func(m *mix, pick int) func() {
		return func(m *mix, pick int) func() {
			act(network(m)[pick%len(network(m))])
			return func() { mend(network(m)) }
		}
	}
	return []deed{
		{whose + " connections are cut", all((*localetcd.Proxy).Cut)},
		{whose + " connections are blackholed", all((*localetcd.Proxy).Blackhole)},
		{whose + " connections are slow", all(func(p *localetcd.Proxy) { p.Delay(200 * time.Millisecond) })},
		{"one of " + whose + " connections is cut", one((*localetcd.Proxy).Cut)},
		{"one of " + whose + " connections is blackholed", one((*localetcd.Proxy).Blackhole)},
	}
}

// mend ends whatever befell them.
func mend(proxies []*localetcd.Proxy) {
	for _, proxy := range proxies {
		proxy.Mend()
		proxy.Delay(0)
	}
}

// What servers and clients do.
var comeAndGoDeeds = []deed{
	{"a server comes", func(m *mix, _ int) func() { m.arrive(); return nil }},
	{"a server leaves for good", func(m *mix, pick int) func() { m.leave(pick); return nil }},
	{"a server changes its weight", func(m *mix, pick int) func() { m.reweigh(pick); return nil }},
	{"a client comes", func(m *mix, _ int) func() { m.join(); return nil }},
}

// What the operator does by hand, and fails to do while etcd is in trouble.
var byHandDeeds = []deed{
	{"a server is registered", func(m *mix, pick int) func() { m.putKey(handmadeKey(pick), m.handmade(pick).addr); return nil }},
	{"a server is taken out", func(m *mix, pick int) func() { m.deleteKey(handmadeKey(pick)); return nil }},
	{"a server is taken out and comes back", func(m *mix, pick int) func() {
		m.deleteKey(handmadeKey(pick))
		return func() { m.putKey(handmadeKey(pick), m.handmade(pick).addr) }
	}},
	{"a bad value takes the place of a good one", func(m *mix, pick int) func() {
		m.putKey(handmadeKey(pick), badValues[pick%len(badValues)])
		return func() { m.putKey(handmadeKey(pick), m.handmade(pick).addr) }
	}},
	{"a burst of changes", func(m *mix, pick int) func() {
		m.operate(func(ctx context.Context, etcd *clientv3.Client) (err error) {
			for i := 0; i < 100 && err == nil; i++ {
				_, err = etcd.Put(ctx, handmadeKey(pick), fmt.Sprintf(`{"Addr":%q,"Metadata":{"weight":%d}}`, m.handmade(pick).addr, 1+i))
			}
			return err
		})
		return nil
	}},
	{"a registrar's key is deleted", func(m *mix, pick int) func() { m.deleteKey(m.some(pick).key()); return nil }},
	{"a registrar's lease is revoked", func(m *mix, pick int) func() { m.revokeLease(m.some(pick).key()); return nil }},
	{"a registrar's key is overwritten", func(m *mix, pick int) func() {
		server := m.some(pick)
		m.putKey(server.key(), server.addr)
		return nil
	}},
	{"an instance is overridden", func(m *mix, pick int) func() {
		key := etcdregistry.OverrideKey(discoverService, m.some(pick).addr)
		m.putKey(key, fmt.Sprintf(`{"weight":%d}`, 1+pick%9))
		if pick%3 == 0 {
			return nil
		}
		return func() { m.deleteKey(key) }
	}},
	{"an instance is drained by an override", func(m *mix, pick int) func() {
		key := etcdregistry.OverrideKey(discoverService, m.some(pick).addr)
		m.putKey(key, `{"draining":true}`)
		return func() { m.deleteKey(key) }
	}},
	{"a key never has a good value", func(m *mix, pick int) func() {
		m.putKey(etcdregistry.Key(discoverService, fmt.Sprint("bad", pick%3)), badValues[pick%len(badValues)])
		return nil
	}},
	{"keys of others", func(m *mix, pick int) func() {
		m.putKey(discoverService+"/eu/10.0.0.1:80", "10.0.0.1:80")
		m.putKey(discoverService+"-eu/10.0.0.1:80", "10.0.0.1:80")
		if pick%2 == 0 {
			m.deleteKey(discoverService + "/eu/10.0.0.1:80")
		}
		return nil
	}},
}

var badValues = []string{"{}", "no address", `{"Op":1,"Addr":"10.0.0.1:80"}`, `{"Addr":"10.0.0.1:80","Metadata":{"weight":-1}}`}

func (m *mix) putKey(key, value string) {
	m.operate(func(ctx context.Context, etcd *clientv3.Client) error {
		_, err := etcd.Put(ctx, key, value)
		return err
	})
}

func (m *mix) deleteKey(key string) {
	m.operate(func(ctx context.Context, etcd *clientv3.Client) error {
		_, err := etcd.Delete(ctx, key)
		return err
	})
}

func (m *mix) revokeLease(key string) {
	m.operate(func(ctx context.Context, etcd *clientv3.Client) error {
		got, err := etcd.Get(ctx, key)
		if err == nil && len(got.Kvs) > 0 && got.Kvs[0].Lease != 0 {
			_, err = etcd.Revoke(ctx, clientv3.LeaseID(got.Kvs[0].Lease))
		}
		return err
	})
}

// operate acts on etcd as the operator, who fails while etcd is in trouble: what is
// checked is what etcd has then.
func (m *mix) operate(act func(context.Context, *clientv3.Client) error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := act(ctx, m.etcd); err != nil {
		m.Logf("the operator failed: %v", err)
	}
}
