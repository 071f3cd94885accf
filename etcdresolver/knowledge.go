package etcdresolver

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/steelyard-go/steelyard/etcdregistry"
)

// knowledge is what a service knows of itself: its instances, what overrides them,
// its service config, and which of those that left are held back. It outlives the
// runs, which fill it by way of the replicas. The lock guards it all, and is held
// while values are decoded: nothing that gRPC waits for takes it.
type knowledge struct {
	log *slog.Logger

	mu            sync.Mutex
	table         *table
	guards        guards
	config        *configText // nil while there is none
	refusedConfig int64       // the revision of the last one refused
	held          int         // endpoints now
	counts        Stats       // the counters among them
	instances     *replica
	overrides     *replica
	configs       *replica
}

func newKnowledge(service string, opts options, log *slog.Logger) *knowledge {
	k := &knowledge{log: log, counts: Stats{Sessions: make(map[string]int64)}, guards: guards{shrinkHold: opts.shrinkHold, emptyHold: opts.emptyHold}}
	k.table = newTable(service+"/", opts.decode, k.refuse)
	k.instances = newReplica(k.table)
	k.overrides = newReplica(&overrides{knowledge: k, prefix: etcdregistry.OverridePrefix(service)})
	k.configs = newReplica((*configContent)(k))
	return k
}

// refuse notes that a value cannot be used. It is called once for each revision of a key.
func (k *knowledge) refuse(r refusal) {
	k.counts.Refused++
	k.log.Warn("etcdresolver: value refused", "key", shownKey(r.key), "revision", r.revision,
		"last_good_kept", r.kept, "error", r.why, "refused_so_far", k.counts.Refused)
}

// overrides is the content under the prefix of the overrides.
type overrides struct {
	*knowledge
	prefix  string
	refused map[string]int64 // the revision of the last value refused of a key
}

func (o *overrides) expect(int) {}

func (o *overrides) put(key string, kv *mvccpb.KeyValue) {
	id, ok := o.id(key)
	if !ok {
		return
	}
	override, err := etcdregistry.DecodeOverride(key, kv.Value)
	before, kept := o.table.overrides[id]
	if err != nil {
		if o.refused[id] != kv.ModRevision {
			if o.refused == nil {
				o.refused = make(map[string]int64)
			}
			o.refused[id] = kv.ModRevision
			o.refuse(refusal{key: key, revision: kv.ModRevision, kept: kept, why: err})
		}
		return
	}
	delete(o.refused, id)
	if override != before {
		o.table.override(id, override)
		o.log.Log(context.Background(), o.level(id), "etcdresolver: override", "id", shownKey(id), "weight", override.Weight, "draining", override.Draining,
			"reason", override.Reason, "revision", kv.ModRevision)
	}
}

func (o *overrides) delete(key string) {
	id, ok := o.id(key)
	if !ok {
		return
	}
	delete(o.refused, id)
	if _, ok := o.table.overrides[id]; ok {
		o.table.override(id, etcdregistry.Override{})
		o.log.Log(context.Background(), o.level(id), "etcdresolver: override lifted", "id", shownKey(id))
	}
}

// level is that of log lines about the override of id: aloud if it is in force.
func (o *overrides) level(id string) slog.Level {
	if o.table.names(id) {
		return slog.LevelInfo
	}
	return slog.LevelDebug
}

func (o *overrides) id(key string) (id string, ok bool) {
	id, ok = strings.CutPrefix(key, o.prefix)
	return id, ok && id != "" && !strings.Contains(id, "/")
}

// refuseConfig notes that a channel cannot use a service config. What one channel
// says of it the others do too.
func (k *knowledge) refuseConfig(c *configText, why error, kept bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.refusedConfig != c.revision {
		k.refusedConfig = c.revision
		k.refuse(refusal{key: c.key, revision: c.revision, kept: kept, why: fmt.Errorf("service config: %w", why)})
	}
}

// configText is a service config as it stands in etcd.
type configText struct {
	key      string
	revision int64
	json     string
}

func (c *configText) equal(o *configText) bool {
	return c == o || c != nil && o != nil && c.json == o.json
}

// configContent is the content under the key of the service config.
type configContent knowledge

func (c *configContent) expect(int) {}

func (c *configContent) put(key string, kv *mvccpb.KeyValue) {
	if len(kv.Value) > etcdregistry.MaxValueSize {
		if c.refusedConfig != kv.ModRevision {
			c.refusedConfig = kv.ModRevision
			(*knowledge)(c).refuse(refusal{
				key: string(kv.Key), revision: kv.ModRevision, kept: c.config != nil,
				why: fmt.Errorf("service config: got %d bytes, want at most %d", len(kv.Value), etcdregistry.MaxValueSize),
			})
		}
		return
	}
	c.config = &configText{key: key, revision: kv.ModRevision, json: string(kv.Value)}
}

func (c *configContent) delete(string) { c.config = nil }
