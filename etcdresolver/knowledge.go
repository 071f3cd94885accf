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

	mu        sync.Mutex
	table     *table
	guards    guards
	config    *configText // nil while there is none
	lines     rations     // of the log
	held      int         // endpoints now
	counts    Stats       // the counters among them
	instances *replica
	overrides *replica
	configs   *replica
}

func newKnowledge(service string, opts options, log *slog.Logger) *knowledge {
	k := &knowledge{
		log:    log,
		guards: guards{shrinkHold: opts.shrinkHold, emptyHold: opts.emptyHold},
		lines:  make(rations),
		counts: Stats{Sessions: make(map[string]int64)},
	}
	k.table = newTable(service+"/", opts.decode, func(r refusal) { k.refuse(k.instances, r) })
	k.instances = newReplica("instances", k.table)
	k.overrides = newReplica("overrides", &overrides{k, etcdregistry.OverridePrefix(service)})
	k.configs = newReplica("config", (*configContent)(k))
	return k
}

// refuse notes that a value of one part cannot be used, once for each revision of a key
// while that is the last: what a channel says of an older config may be said again.
func (k *knowledge) refuse(of *replica, r refusal) {
	if r.revision <= of.refused[r.key] {
		return
	}
	of.refused[r.key] = r.revision
	k.counts.Refused++
	level := k.bounded(slog.LevelWarn, of.name+": value refused")
	k.log.Log(context.Background(), level, "etcdresolver: value refused", "key", shownKey(r.key), "revision", r.revision,
		"last_good_kept", r.kept, "error", r.why, "refused_so_far", k.counts.Refused)
}

// bounded is the level of a log line of a kind that whoever writes to etcd can cause:
// debug after many of them.
func (k *knowledge) bounded(level slog.Level, kind string) slog.Level {
	switch n := k.lines.take(kind); {
	case n <= manyLines:
		return level
	case n == manyLines+1:
		k.log.Warn("etcdresolver: too many log lines, the next go to level debug", "of", kind, "lines", manyLines, "within", lineInterval)
	}
	return slog.LevelDebug
}

// overrides is the content under the prefix of the overrides.
type overrides struct {
	*knowledge
	prefix string
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
		o.refuse(o.overrides, refusal{key: key, revision: kv.ModRevision, kept: kept, why: err})
	} else if override != before {
		o.table.override(id, override)
		o.log.Log(context.Background(), o.level(id), "etcdresolver: override", "id", shownKey(id), "weight", override.Weight, "draining", override.Draining,
			"reason", override.Reason, "revision", kv.ModRevision)
	}
}

func (o *overrides) delete(key string) {
	id, _ := o.id(key)
	if _, ok := o.table.overrides[id]; ok {
		o.table.override(id, etcdregistry.Override{})
		o.log.Log(context.Background(), o.level(id), "etcdresolver: override lifted", "id", shownKey(id))
	}
}

// level is that of log lines about the override of id: aloud if it is in force.
func (o *overrides) level(id string) slog.Level {
	if o.table.names(id) {
		return o.bounded(slog.LevelInfo, "override")
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
	k.refuse(k.configs, refusal{key: c.key, revision: c.revision, kept: kept, why: fmt.Errorf("service config: %w", why)})
}

// configText is a service config as it stands in etcd.
type configText struct {
	key      string
	created  int64 // the revision at which the key came to be
	revision int64
	json     string
}

// follows reports whether c may stand in for o: a key that was deleted and made anew
// has nothing of the old one.
func (c *configText) follows(o *configText) bool {
	return c != nil && o != nil && c.created == o.created
}

func (c *configText) equal(o *configText) bool {
	return c == o || c.follows(o) && c.json == o.json
}

// configContent is the content under the key of the service config.
type configContent knowledge

func (c *configContent) expect(int) {}

func (c *configContent) put(key string, kv *mvccpb.KeyValue) {
	config := &configText{key: key, created: kv.CreateRevision, revision: kv.ModRevision, json: string(kv.Value)}
	if size := len(kv.Value); size > etcdregistry.MaxValueSize {
		(*knowledge)(c).refuse(c.configs, refusal{
			key: key, revision: kv.ModRevision, kept: c.config != nil,
			why: fmt.Errorf("service config: got %d bytes, want at most %d", size, etcdregistry.MaxValueSize),
		})
		return
	}
	c.config = config
}

func (c *configContent) delete(string) { c.config = nil }
