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

	"github.com/steelyard-go/steelyard/attrs"
	"github.com/steelyard-go/steelyard/etcdregistry"
)

func kv(key, value string, created, modified int64) *mvccpb.KeyValue {
	return &mvccpb.KeyValue{Key: []byte(key), Value: []byte(value), CreateRevision: created, ModRevision: modified}
}

func ignore(refusal) {}

func addrsOf(list []*member) string {
	var addrs []string
	for _, m := range list {
		addrs = append(addrs, m.addr)
	}
	return strings.Join(addrs, " ")
}

func TestTable_DuplicatesCountOnce(t *testing.T) {
	const live, drains = `{"Addr":"10.0.0.1:80","Metadata":{"weight":%d}}`, `{"Addr":"10.0.0.1:80","Metadata":{"weight":%d,"draining":true}}`
	value := func(format string, weight int) string { return fmt.Sprintf(format, weight) }
	for name, c := range map[string]struct {
		kvs  []*mvccpb.KeyValue
		want uint32
	}{
		"the newest key counts":               {[]*mvccpb.KeyValue{kv("s/new", value(live, 1), 9, 9), kv("s/old", value(live, 2), 5, 12)}, 1},
		"a draining one does not":             {[]*mvccpb.KeyValue{kv("s/new", value(drains, 1), 9, 9), kv("s/old", value(live, 2), 5, 12)}, 2},
		"when all drain the newest counts":    {[]*mvccpb.KeyValue{kv("s/new", value(drains, 1), 9, 9), kv("s/old", value(drains, 2), 5, 12)}, 1},
		"of one transaction the first key":    {[]*mvccpb.KeyValue{kv("s/a", value(live, 1), 9, 9), kv("s/b", value(live, 2), 9, 12)}, 1},
		"three, the middle one is the newest": {[]*mvccpb.KeyValue{kv("s/a", value(live, 1), 5, 5), kv("s/b", value(live, 2), 9, 9), kv("s/c", value(live, 3), 7, 7)}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			for range 2 {
				table := newTable("s/", etcdregistry.Decode, ignore)
				table.replace(c.kvs)
				list := table.refresh()
				require.Len(t, list, 1)
				require.Equal(t, c.want, list[0].attrs.Weight)
				slices.Reverse(c.kvs) // the order of arrival does not matter
			}
		})
	}
}

func TestTable_TheOtherKeyTakesOver(t *testing.T) {
	table := newTable("s/", bare, ignore)
	table.put(kv("s/a", addrA, 1, 1))
	table.put(kv("s/b", addrA, 2, 2))
	table.delete("s/b")
	require.Equal(t, addrA, addrsOf(table.refresh()))
	table.delete("s/a")
	require.Empty(t, table.refresh())
	require.Empty(t, table.byAddr)
	require.Empty(t, table.entries)
}

func TestTable_KeyMadeAnewUnseenForgetsItsGoodValue(t *testing.T) {
	for name, apply := range map[string]func(*table, *mvccpb.KeyValue){
		"by a put":  func(t *table, kv *mvccpb.KeyValue) { t.put(kv) },
		"by a list": func(t *table, kv *mvccpb.KeyValue) { t.replace([]*mvccpb.KeyValue{kv}) },
	} {
		var refused []refusal
		table := newTable("s/", etcdregistry.Decode, func(r refusal) { refused = append(refused, r) })
		table.put(kv("s/a", addrA, 1, 1))
		apply(table, kv("s/a", "{", 1, 2))
		require.Equal(t, addrA, addrsOf(table.refresh()), name)
		apply(table, kv("s/a", "{", 5, 5))
		require.Empty(t, table.refresh(), name)
		require.Len(t, refused, 2)
		require.True(t, refused[0].kept)
		require.False(t, refused[1].kept)
		require.EqualValues(t, 5, refused[1].revision)
	}
}

func TestTable_RefreshKeepsWhatDidNotChange(t *testing.T) {
	table := newTable("s/", etcdregistry.Decode, ignore)
	for i := range 100 {
		table.put(kv(fmt.Sprintf("s/%d", i), fmt.Sprintf("10.0.0.%d:80", i), 1, 1))
	}
	before := table.refresh()
	copied := slices.Clone(before)
	table.put(kv("s/50", weighted("10.0.0.50:80", 9), 1, 2))
	table.delete("s/70")
	table.put(kv("s/71", "10.0.0.71:80", 1, 2))
	after := table.refresh()
	require.Equal(t, copied, before, "lists that channels have are never modified")
	require.Len(t, after, 99)
	changed := 0
	for _, m := range after {
		if !slices.Contains(before, m) {
			changed++
			require.Equal(t, "10.0.0.50:80", m.addr)
		}
	}
	require.Equal(t, 1, changed)
	require.Same(t, &after[0], &table.refresh()[0], "nothing touched, nothing copied")
}

func TestTable_AnEqualListIsNoWork(t *testing.T) {
	table := newTable("s/", etcdregistry.Decode, ignore)
	list := []*mvccpb.KeyValue{kv("s/a", addrA, 1, 1), kv("s/b", weighted(addrB, 2), 1, 1)}
	table.replace(list)
	table.refresh()
	table.replace(list)
	require.Empty(t, table.touched)
}

// model is the table in its simplest words: it works everything out anew.
type model struct{ keys map[string]*modelKey }

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
			all = append(all, candidate{key, k.created, *k.good})
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

// FuzzTable plays a sequence of puts, deletes and lists against the model. Two
// bytes are one step.
func FuzzTable(f *testing.F) {
	f.Add([]byte{0, 0, 1, 0, 2, 0})
	f.Add([]byte{0x10, 1, 0x20, 2, 0xf0, 0, 0x13, 7, 0xe1, 1, 0xf1, 0})
	f.Add([]byte("the quick brown fox jumps over the lazy dog"))
	keys := []string{"s/a", "s/b", "s/c", "s/d", "s/", "s/deep/a", "t/a", "s"}
	values := []string{
		addrA, addrB, weighted(addrA, 2), weighted(addrA, 3), weighted(addrB, 1),
		`{"Addr":"10.0.0.1:80","Metadata":{"draining":true}}`, "{}", "", "nonsense",
	}
	f.Fuzz(func(t *testing.T, steps []byte) {
		etcd := make(map[string]*mvccpb.KeyValue) // what stands there
		table := newTable("s/", etcdregistry.Decode, ignore)
		reference := &model{keys: make(map[string]*modelKey)}
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
			case kind < 8:
				change(key, value)
				table.put(etcd[key])
				reference.put(etcd[key])
			case kind < 11:
				delete(etcd, key)
				table.delete(key)
				delete(reference.keys, key)
			case kind < 13: // unseen
				change(key, value)
			case kind < 14: // unseen
				delete(etcd, key)
			default:
				list := slices.Collect(maps.Values(etcd))
				table.replace(list)
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
		table.replace(list)
		fresh := newTable("s/", etcdregistry.Decode, ignore)
		fresh.replace(list)
		require.Equal(t, texts(fresh.refresh()), texts(table.refresh()))
	})
}

func texts(list []*member) (texts []string) {
	for _, m := range list {
		texts = append(texts, fmt.Sprint(m.addr, m.attrs))
	}
	return texts
}

// compare checks what the table says, and that what it hands to gRPC says so too.
func compare(t *testing.T, reference *model, table *table) {
	t.Helper()
	before := table.list
	list := table.refresh()
	require.Equal(t, reference.list(), texts(list))
	changed := len(before) != len(list)
	for i, m := range list {
		require.Equal(t, m.addr, m.endpoint.Addresses[0].Addr)
		require.Equal(t, max(m.attrs.Weight, 1), max(attrs.FromEndpoint(m.endpoint).Weight, 1))
		changed = changed || before[i] != m
	}
	if changed {
		require.NotEqual(t, texts(before), texts(list), "a list that says the same keeps its members")
	}
}
