package etcdresolver

import (
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// content is told what stands in etcd, key by key.
type content interface {
	expect(keys int) // a list of so many
	put(key string, kv *mvccpb.KeyValue)
	delete(key string)
}

// replica follows some keys of etcd: it takes in lists and events, in any order
// that etcd may give them, and tells its content the difference.
type replica struct {
	name     string // of this part of the service, for the log
	content  content
	known    map[string]stand
	refused  map[string]int64 // the revision of what was refused last, of known keys
	revision int64            // up to which all is known, 0 before the first list
	cluster  uint64           // whose
}

// stand are the revisions at which a key that stands was made, and given its value.
type stand struct{ created, modified int64 }

// snapshot is a list: all keys as of a revision.
type snapshot struct {
	kvs      []*mvccpb.KeyValue
	revision int64
	cluster  uint64
}

func newReplica(name string, c content) *replica {
	return &replica{name: name, content: c, known: make(map[string]stand), refused: make(map[string]int64)}
}

// contradicts tells whether s is of another history than what is known: etcd was
// restored to its past, or is another cluster. Only a linearizable list can say so:
// a member that lags behind shows the past too.
func (r *replica) contradicts(s snapshot) bool {
	return r.revision != 0 && (s.cluster != r.cluster || s.revision < r.revision)
}

// replace takes in a list. It trusts nothing that it knew: etcd may have been
// restored to a past in which the same revision of a key was another one.
func (r *replica) replace(s snapshot) { r.take(s, false) }

// audit takes in a list of the revision that all is known up to, and returns how
// many keys were wrong.
func (r *replica) audit(s snapshot) (wrong int) { return r.take(s, true) }

// take returns how many keys it told the content of.
func (r *replica) take(s snapshot, trusting bool) (told int) {
	before := r.known
	r.known = make(map[string]stand, len(s.kvs))
	r.content.expect(len(s.kvs))
	for _, kv := range s.kvs {
		key := string(kv.Key)
		if was := before[key]; trusting && was.modified == kv.ModRevision {
			r.known[key] = was
		} else {
			r.put(key, kv, was)
			told++
		}
		delete(before, key)
	}
	for key := range before {
		r.delete(key)
		told++
	}
	r.revision, r.cluster = s.revision, s.cluster
	return told
}

// apply takes in an event, unless it is of a revision that is known already.
func (r *replica) apply(event *clientv3.Event) {
	key := string(event.Kv.Key)
	if event.Type == clientv3.EventTypeDelete {
		r.delete(key)
	} else {
		r.put(key, event.Kv, r.known[key])
	}
	r.revision = max(r.revision, event.Kv.ModRevision)
}

// put tells the content what stands under key, where was stood before, if anything did.
// Of a key that was deleted and made anew unseen nothing counts any more.
func (r *replica) put(key string, kv *mvccpb.KeyValue, was stand) {
	if was != (stand{}) && was.created != kv.CreateRevision {
		r.delete(key)
	}
	if r.refused[key] != kv.ModRevision {
		delete(r.refused, key)
	}
	r.known[key] = stand{kv.CreateRevision, kv.ModRevision}
	r.content.put(key, kv)
}

func (r *replica) delete(key string) {
	delete(r.known, key)
	delete(r.refused, key)
	r.content.delete(key)
}
