package etcdresolver

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

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
				newReplica("", table).replace(snapshot{kvs: c.kvs})
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
	require.Empty(t, table.others)
	require.Empty(t, table.good)
}

func TestTable_TheNextOfSeveralKeysTakesOver(t *testing.T) {
	table := newTable("s/", nil, ignore)
	put(table, kv("s/b", weighted(addrA, 2), 2, 2))
	put(table, kv("s/c", weighted(addrA, 3), 3, 3))
	put(table, kv("s/a", weighted(addrA, 1), 1, 1))
	put(table, kv("s/d", weighted(addrA, 4), 4, 4))
	weight := func() uint32 {
		list := refreshed(table)
		require.Len(t, list, 1)
		return list[0].attrs.Weight
	}
	require.EqualValues(t, 4, weight())
	table.delete("s/b")
	require.EqualValues(t, 4, weight(), "who waits may leave")
	put(table, kv("s/c", weighted(addrA, 9), 3, 5))
	require.EqualValues(t, 4, weight(), "or change")
	table.delete("s/d")
	require.EqualValues(t, 9, weight(), "the newest that is left")
	put(table, kv("s/c", weighted(addrB, 3), 3, 6))
	require.Equal(t, addrA+" "+addrB, addrsOf(refreshed(table)), "one that moved away")
	require.Empty(t, table.others)
}

func TestTable_AnOverrideReachesAllKeysOfAnAddress(t *testing.T) {
	table := newTable("s/", nil, ignore)
	put(table, kv("s/a", weighted(addrA, 1), 1, 1))
	put(table, kv("s/b", weighted(addrA, 2), 2, 2))
	table.override(addrA, etcdregistry.Override{Draining: true})
	require.True(t, refreshed(table)[0].attrs.Draining)
	table.delete("s/b")
	require.True(t, refreshed(table)[0].attrs.Draining)
	table.override(addrA, etcdregistry.Override{})
	require.False(t, refreshed(table)[0].attrs.Draining)
}

func TestTable_RefusalsAreThoseWithoutAGoodValue(t *testing.T) {
	table := newTable("s/", nil, ignore)
	requireRefusals := func(want int, says string) {
		t.Helper()
		count, why := table.refusals()
		require.Equal(t, want, count)
		if want > 0 {
			require.ErrorContains(t, why, says)
		}
	}
	put(table, kv("s/a", addrA, 1, 1))
	put(table, kv("s/a", "{", 1, 2))
	requireRefusals(0, "")
	put(table, kv("s/c", "{", 3, 3))
	put(table, kv("s/b", "{", 4, 4))
	requireRefusals(2, "s/b")
	put(table, kv("s/b", addrB, 4, 5))
	requireRefusals(1, "s/c")
	table.delete("s/c")
	requireRefusals(0, "")
	put(table, kv("s/a", addrA, 1, 6))
	require.Empty(t, table.bad)
}

// What members share must be what both say.
func TestTable_EndpointsSayWhatTheirMembersDo(t *testing.T) {
	table := newTable("s/", nil, ignore)
	var want []attrs.Attrs
	for i, metadata := range []string{
		`"weight":1,"zone":"a","version":"1"`, `"weight":1,"zone":"a","version":"1"`, `"weight":2,"zone":"a","version":"1"`, `"weight":2,"zone":"b","version":"1"`,
		`"weight":2,"zone":"b","version":"2"`, `"weight":2,"zone":"b","vision":"2"`, `"weight":2,"zone":"b"`, `"weight":2,"zone":"b","draining":true`,
	} {
		value := fmt.Sprintf(`{"Addr":"10.0.0.%d:80","Metadata":{%s}}`, i, metadata)
		put(table, kv(fmt.Sprintf("s/%d", i), value, 1, 1))
		inst, err := etcdregistry.Decode("", []byte(value))
		require.NoError(t, err)
		want = append(want, inst.Attrs)
	}
	for i, m := range refreshed(table) {
		require.Equal(t, want[i], m.attrs)
		require.Equal(t, want[i], attrs.FromEndpoint(m.endpoint))
		require.Equal(t, want[i], attrs.FromAddress(m.endpoint.Addresses[0]))
	}
}

func TestTable_KeyMadeAnewUnseenForgetsItsGoodValue(t *testing.T) {
	for name, tell := range map[string]func(*replica, *mvccpb.KeyValue){
		"by an event": func(r *replica, kv *mvccpb.KeyValue) { r.apply(&clientv3.Event{Kv: kv}) },
		"by a list":   func(r *replica, kv *mvccpb.KeyValue) { r.replace(snapshot{kvs: []*mvccpb.KeyValue{kv}}) },
		"by an audit": func(r *replica, kv *mvccpb.KeyValue) { r.audit(snapshot{kvs: []*mvccpb.KeyValue{kv}}) },
	} {
		var refused []refusal
		table := newTable("s/", etcdregistry.Decode, func(r refusal) { refused = append(refused, r) })
		replica := newReplica("", table)
		tell(replica, kv("s/a", addrA, 1, 1))
		tell(replica, kv("s/a", "{", 1, 2))
		require.Equal(t, addrA, addrsOf(refreshed(table)), name)
		tell(replica, kv("s/a", "{", 5, 5))
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
	replica := newReplica("", table)
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

// BenchmarkTable_FirstList is what the first list of a large service costs once it is
// there.
func BenchmarkTable_FirstList(b *testing.B) {
	const size = 20_000
	kvs := make([]*mvccpb.KeyValue, size)
	for i := range kvs {
		addr := fmt.Sprintf("10.0.%d.%d:8080", i>>8, i&255)
		value, err := etcdregistry.Encode(etcdregistry.Instance{Addr: addr, Attrs: attrs.Attrs{
			Weight: 1, Zone: "eu-1a", Labels: map[string]string{"version": "1.4.2"},
		}})
		require.NoError(b, err)
		kvs[i] = kv("s/"+addr, value, 1, 1)
	}
	slices.SortFunc(kvs, func(a, b *mvccpb.KeyValue) int { return bytes.Compare(a.Key, b.Key) }) // as etcd does
	b.ReportAllocs()
	for b.Loop() {
		table := newTable("s/", nil, ignore)
		newReplica("", table).replace(snapshot{kvs: kvs})
		require.Len(b, refreshed(table), size)
	}
}
