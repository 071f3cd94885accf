package etcdresolver

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// told is a content that notes what it is told, and of which making each key is the
// first it was told of since it was told that there is none.
type told map[string]note

type note struct {
	value   string
	created int64
}

func (c told) expect(int)        {}
func (c told) delete(key string) { delete(c, key) }

func (c told) put(key string, kv *mvccpb.KeyValue) {
	c[key] = note{string(kv.Value), cmp.Or(c[key].created, kv.CreateRevision)}
}

func stateOf(kvs map[string]*mvccpb.KeyValue) told {
	state := make(told)
	for key, kv := range kvs {
		state.put(key, kv)
	}
	return state
}

func TestReplica_AListOfAnotherHistoryContradicts(t *testing.T) {
	r := newReplica("", make(told))
	require.False(t, r.contradicts(snapshot{revision: 3, cluster: 7}), "nothing is known yet")
	r.replace(snapshot{revision: 5, cluster: 7})
	require.False(t, r.contradicts(snapshot{revision: 5, cluster: 7}))
	require.False(t, r.contradicts(snapshot{revision: 6, cluster: 7}))
	require.True(t, r.contradicts(snapshot{revision: 4, cluster: 7}), "restored")
	require.True(t, r.contradicts(snapshot{revision: 6, cluster: 8}), "another cluster")
	r.apply(&clientv3.Event{Type: clientv3.EventTypePut, Kv: kv("a", "1", 9, 9)})
	require.True(t, r.contradicts(snapshot{revision: 8, cluster: 7}), "events are known too")
}

// A restored etcd can have another value under a key of the same revision. An audit
// asks what the watch missed, and a list takes all anew.
func TestReplica_AListTakesNothingForGranted(t *testing.T) {
	content := make(told)
	r := newReplica("", content)
	r.replace(snapshot{kvs: []*mvccpb.KeyValue{kv("a", "1", 2, 2)}, revision: 2})
	r.replace(snapshot{kvs: []*mvccpb.KeyValue{kv("a", "2", 2, 2)}, revision: 2})
	require.Equal(t, told{"a": {"2", 2}}, content)
}

// FuzzReplica plays any sequence of changes, told, told twice or never told, of lists
// and of audits. Content is what it was told of, an audit counts what it was not, and
// after a list or an audit all is as it stands.
func FuzzReplica(f *testing.F) {
	f.Add([]byte{0x00, 0x11, 0x52, 0x63, 0x80, 0xc0, 0xe0, 0x31, 0xf0})
	f.Add([]byte("put and delete, hear of it or not, and look again"))
	f.Add([]byte{0x00, 0x88, 0x80, 0xc0, 0x88, 0x80, 0xe0, 0x88, 0x80, 0x00, 0xf0}) // a key made anew unseen
	f.Fuzz(func(t *testing.T, steps []byte) {
		etcd, heard := make(map[string]*mvccpb.KeyValue), make(map[string]*mvccpb.KeyValue)
		content := make(told)
		r := newReplica("", content)
		revision := int64(1)
		list := func() snapshot {
			return snapshot{kvs: slices.Collect(maps.Values(etcd)), revision: revision, cluster: 7}
		}
		for _, step := range steps[:min(len(steps), 1000)] {
			key := fmt.Sprint("key", step&7)
			event := &clientv3.Event{Type: clientv3.EventTypePut, Kv: kv(key, fmt.Sprint(revision), revision+1, revision+1)}
			if old := etcd[key]; old != nil {
				event.Kv.CreateRevision = old.CreateRevision
			}
			if step&8 != 0 {
				event = &clientv3.Event{Type: clientv3.EventTypeDelete, Kv: kv(key, "", 0, revision+1)}
			}
			switch kind := step >> 4; {
			case kind < 12:
				revision++
				follow(etcd, event)
				if kind < 8 {
					follow(heard, event)
					for range 1 + kind%2 {
						r.apply(event)
					}
				}
			case kind < 14:
				r.replace(list())
				heard = maps.Clone(etcd)
			default:
				require.Equal(t, differences(etcd, heard), r.audit(list()))
				require.Zero(t, r.audit(list()), "mended")
				heard = maps.Clone(etcd)
			}
			require.Equal(t, stateOf(heard), content)
			require.Len(t, r.known, len(content))
			require.LessOrEqual(t, r.revision, revision)
		}
		r.replace(list())
		require.Equal(t, stateOf(etcd), content)
		require.False(t, r.contradicts(list()))
	})
}

func follow(state map[string]*mvccpb.KeyValue, event *clientv3.Event) {
	if event.Type == clientv3.EventTypeDelete {
		delete(state, string(event.Kv.Key))
	} else {
		state[string(event.Kv.Key)] = event.Kv
	}
}

// differences counts the keys that differ.
func differences(a, b map[string]*mvccpb.KeyValue) (count int) {
	for key := range b {
		if a[key] == nil {
			count++
		}
	}
	for key := range a {
		if b[key] != a[key] {
			count++
		}
	}
	return count
}
