package etcdresolver

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/steelyard-go/steelyard/attrs"
	"github.com/steelyard-go/steelyard/etcdregistry"
)

// model is the table in its simplest words: it works everything out anew.
type model struct {
	keys      map[string]*modelKey
	overrides map[string]etcdregistry.Override // by id or address
}

type modelKey struct {
	created int64
	good    *etcdregistry.Instance
}

func (m *model) put(kv *mvccpb.KeyValue) {
	key := string(kv.Key)
	if id, ok := strings.CutPrefix(key, "s/"); !ok || id == "" || strings.Contains(id, "/") {
		return
	}
	k := m.keys[key]
	if k == nil || k.created != kv.CreateRevision {
		k = &modelKey{created: kv.CreateRevision}
		m.keys[key] = k
	}
	if inst, err := etcdregistry.Decode(key, kv.Value); err == nil {
		k.good = &inst
	}
}

func (m *model) list() (list []string) {
	type candidate struct {
		key     string
		created int64
		etcdregistry.Instance
	}
	var all []candidate
	for key, k := range m.keys {
		if k.good != nil {
			inst := *k.good
			inst.Attrs = m.overrides[inst.Addr].Apply(inst.Attrs)
			inst.Attrs = m.overrides[strings.TrimPrefix(key, "s/")].Apply(inst.Attrs)
			all = append(all, candidate{key, k.created, inst})
		}
	}
	drains := map[bool]int{true: 1}
	slices.SortFunc(all, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.Addr, b.Addr), cmp.Compare(drains[a.Draining], drains[b.Draining]),
			cmp.Compare(b.created, a.created), cmp.Compare(a.key, b.key))
	})
	for _, c := range slices.CompactFunc(all, func(a, b candidate) bool { return a.Addr == b.Addr }) {
		list = append(list, fmt.Sprint(c.Addr, c.Attrs))
	}
	return list
}

// FuzzTable plays a sequence of puts, deletes, overrides and lists against the model.
// Two bytes are one step.
func FuzzTable(f *testing.F) {
	f.Add([]byte{0, 0, 1, 0, 2, 0})
	f.Add([]byte{0x10, 1, 0x20, 2, 0xf0, 0, 0x13, 7, 0xe1, 1, 0xf1, 0})
	f.Add([]byte("the quick brown fox jumps over the lazy dog"))
	f.Add([]byte{0x70, 1, 0, 0, 1, 0, 0x74, 2, 0x80, 0, 0x70, 0, 0xf0, 0})
	keys := []string{"s/a", "s/b", "s/c", "s/d", "s/", "s/deep/a", "t/a", "s"}
	values := []string{
		addrA, addrB, weighted(addrA, 2), weighted(addrA, 3), weighted(addrB, 1),
		`{"Addr":"10.0.0.1:80","Metadata":{"draining":true}}`, "{}", "", "nonsense",
		`{"Addr":"10.0.0.1:80","Metadata":{"version":"1"}}`, `{"Addr":"10.0.0.2:80","Metadata":{"version":"1"}}`, `{"Addr":"10.0.0.2:80","Metadata":{"version":"2"}}`,
	}
	ids := []string{"a", "b", "c", "d", addrA, addrB}
	overrides := []etcdregistry.Override{{}, {Weight: 9}, {Draining: true}, {Weight: 3, Draining: true}}
	f.Fuzz(func(t *testing.T, steps []byte) {
		etcd := make(map[string]*mvccpb.KeyValue) // what stands there
		table := newTable("s/", nil, ignore)
		replica := newReplica("", table)
		reference := &model{keys: make(map[string]*modelKey), overrides: make(map[string]etcdregistry.Override)}
		revision := int64(0)
		change := func(key, value string) {
			revision++
			created := revision
			if old := etcd[key]; old != nil {
				created = old.CreateRevision
			}
			etcd[key] = kv(key, value, created, revision)
		}
		for i := 0; i+1 < len(steps); i += 2 {
			key, value := keys[int(steps[i]&0xf)%len(keys)], values[int(steps[i+1])%len(values)]
			switch kind := steps[i] >> 4; {
			case kind == 7:
				id, override := ids[int(steps[i]&0xf)%len(ids)], overrides[int(steps[i+1])%len(overrides)]
				table.override(id, override)
				reference.overrides[id] = override
				if override == (etcdregistry.Override{}) {
					delete(reference.overrides, id)
				}
			case kind < 8:
				change(key, value)
				replica.apply(&clientv3.Event{Type: clientv3.EventTypePut, Kv: etcd[key]})
				reference.put(etcd[key])
			case kind < 11:
				delete(etcd, key)
				replica.apply(&clientv3.Event{Type: clientv3.EventTypeDelete, Kv: kv(key, "", 0, revision)})
				delete(reference.keys, key)
			case kind < 13: // unseen
				change(key, value)
			case kind < 14: // unseen
				delete(etcd, key)
			default:
				list := slices.Collect(maps.Values(etcd))
				replica.replace(snapshot{kvs: list, revision: revision})
				maps.DeleteFunc(reference.keys, func(key string, _ *modelKey) bool { return etcd[key] == nil })
				for _, kv := range list {
					reference.put(kv)
				}
			}
			if steps[i+1]&0x80 == 0 {
				compare(t, reference, table)
			}
		}
		compare(t, reference, table)

		// Whatever came before, after a list of good values nothing else counts.
		maps.DeleteFunc(etcd, func(key string, kv *mvccpb.KeyValue) bool {
			_, err := etcdregistry.Decode(key, kv.Value)
			return err != nil
		})
		list := slices.Collect(maps.Values(etcd))
		replica.replace(snapshot{kvs: list})
		fresh := newTable("s/", nil, ignore)
		for id, override := range reference.overrides {
			fresh.override(id, override)
		}
		newReplica("", fresh).replace(snapshot{kvs: list})
		require.Equal(t, texts(refreshed(fresh)), texts(refreshed(table)))
	})
}

// compare checks what the table says, and that what it hands to gRPC says so too.
func compare(t *testing.T, reference *model, table *table) {
	t.Helper()
	before := table.list
	list := refreshed(table)
	require.Equal(t, reference.list(), texts(list))
	for _, m := range list {
		require.Equal(t, m.addr, m.endpoint.Addresses[0].Addr)
		require.Equal(t, texts([]*member{m}), texts([]*member{{addr: m.addr, attrs: attrs.FromAddress(m.endpoint.Addresses[0])}}))
		require.Equal(t, max(m.attrs.Weight, 1), attrs.FromEndpoint(m.endpoint).Weight)
	}
	same := (&outcome{list: before}).equal(&outcome{list: list})
	require.Equal(t, slices.Equal(texts(before), texts(list)), same)
}
