package etcdresolver

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/mvccpb"

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
				newReplica(table).replace(snapshot{kvs: c.kvs})
				list, _ := table.refresh()
				require.Len(t, list, 1)
				require.Equal(t, c.want, list[0].attrs.Weight)
				slices.Reverse(c.kvs) // the order of arrival does not matter
			}
		})
	}
}

func TestTable_TheOtherKeyTakesOver(t *testing.T) {
	table := newTable("s/", bare, ignore)
	put(table, kv("s/a", addrA, 1, 1))
	put(table, kv("s/b", addrA, 2, 2))
	table.delete("s/b")
	require.Equal(t, addrA, addrsOf(refreshed(table)))
	table.delete("s/a")
	require.Empty(t, refreshed(table))
	require.Empty(t, table.byAddr)
	require.Empty(t, table.entries)
}

func TestTable_KeyMadeAnewUnseenForgetsItsGoodValue(t *testing.T) {
	for name, apply := range map[string]func(*table, *mvccpb.KeyValue){
		"by a put":  func(t *table, kv *mvccpb.KeyValue) { put(t, kv) },
		"by a list": func(t *table, kv *mvccpb.KeyValue) { newReplica(t).replace(snapshot{kvs: []*mvccpb.KeyValue{kv}}) },
	} {
		var refused []refusal
		table := newTable("s/", etcdregistry.Decode, func(r refusal) { refused = append(refused, r) })
		put(table, kv("s/a", addrA, 1, 1))
		apply(table, kv("s/a", "{", 1, 2))
		require.Equal(t, addrA, addrsOf(refreshed(table)), name)
		apply(table, kv("s/a", "{", 5, 5))
		require.Empty(t, refreshed(table), name)
		require.Len(t, refused, 2)
		require.True(t, refused[0].kept)
		require.False(t, refused[1].kept)
		require.EqualValues(t, 5, refused[1].revision)
	}
}

func TestTable_RefreshKeepsWhatDidNotChange(t *testing.T) {
	table := newTable("s/", etcdregistry.Decode, ignore)
	for i := range 100 {
		put(table, kv(fmt.Sprintf("s/%d", i), fmt.Sprintf("10.0.0.%d:80", i), 1, 1))
	}
	before := refreshed(table)
	copied := slices.Clone(before)
	put(table, kv("s/50", weighted("10.0.0.50:80", 9), 1, 2))
	table.delete("s/70")
	put(table, kv("s/71", "10.0.0.71:80", 1, 2))
	after := refreshed(table)
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
	require.Same(t, &after[0], &refreshed(table)[0], "nothing touched, nothing copied")
}

func TestTable_AnEqualListIsNoWork(t *testing.T) {
	table := newTable("s/", etcdregistry.Decode, ignore)
	list := []*mvccpb.KeyValue{kv("s/a", addrA, 1, 1), kv("s/b", weighted(addrB, 2), 1, 1)}
	replica := newReplica(table)
	replica.replace(snapshot{kvs: list})
	table.refresh()
	replica.replace(snapshot{kvs: list})
	require.Empty(t, table.touched)
}

func put(t *table, kv *mvccpb.KeyValue) { t.put(string(kv.Key), kv) }

func refreshed(t *table) []*member {
	list, _ := t.refresh()
	return list
}

func texts(list []*member) (texts []string) {
	for _, m := range list {
		texts = append(texts, fmt.Sprint(m.addr, m.attrs))
	}
	return texts
}
