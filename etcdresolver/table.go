package etcdresolver

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc/resolver"

	"github.com/steelyard-go/steelyard/attrs"
	"github.com/steelyard-go/steelyard/etcdregistry"
)

// member is one registration with a good value. It is immutable.
type member struct {
	key        string
	created    int64 // the revision at which the key came to be
	addr       string
	attrs      attrs.Attrs       // as registered, but for what an operator overrides
	overridden *attrs.Attrs      // as registered, if an operator overrides that
	endpoint   resolver.Endpoint // made once: every update of every channel uses it
}

// newMember returns the member that registered as a. It shares what it can with like,
// any other member: most instances of a service say nearly the same.
func newMember(key string, created int64, addr string, a attrs.Attrs, override etcdregistry.Override, like *member) *member {
	if a.Zone == like.attrs.Zone {
		a.Zone = like.attrs.Zone
	}
	if maps.Equal(a.Labels, like.attrs.Labels) {
		a.Labels = like.attrs.Labels
	}
	m := &member{key: key, created: created, addr: addr, attrs: override.Apply(a)}
	if override != (etcdregistry.Override{}) {
		m.overridden = &a
	}
	if like.addr != "" && m.attrs.Equal(like.attrs) {
		address := like.endpoint.Addresses[0]
		address.Addr = addr
		m.endpoint = resolver.Endpoint{Addresses: []resolver.Address{address}, Attributes: like.endpoint.Attributes}
	} else {
		m.endpoint = attrs.Set(resolver.Endpoint{Addresses: []resolver.Address{{Addr: addr}}}, m.attrs)
	}
	return m
}

func (m *member) registered() attrs.Attrs {
	if m.overridden != nil {
		return *m.overridden
	}
	return m.attrs
}

// says reports whether m tells a channel the same as o.
func (m *member) says(o *member) bool {
	return m == o || m.addr == o.addr && m.attrs.Equal(o.attrs)
}

// bySpeaker orders members with one address, the one to go by first: one that
// does not drain, then the newest key, because the older ones are most likely
// left behind by a process that died.
func bySpeaker(a, b *member) int {
	if a.attrs.Draining != b.attrs.Draining {
		if a.attrs.Draining {
			return 1
		}
		return -1
	}
	return cmp.Or(cmp.Compare(b.created, a.created), cmp.Compare(a.key, b.key))
}

// entry is what is known of one key.
type entry struct {
	created int64
	good    *member // of the last good value; nil before there was one
	refused int64   // the revision of the last value refused, 0 when none was
	why     error   // why it was
}

// table turns keys and values into the list of a service, one member per
// address, sorted by address. A change costs work for the keys it names; only
// [table.refresh] copies the list.
type table struct {
	prefix    string
	decode    Decoder
	refused   func(refusal) // called once for each revision of a key that is refused
	entries   map[string]entry
	overrides map[string]etcdregistry.Override // by id or address
	byAddr    map[string][]*member             // the members with that address, one for almost all
	touched   []string                         // addresses to look at in the next refresh
	deleted   map[string]*member               // of those, what was last under a key that went
	list      []*member
	latest    *member // that was made
}

// refusal is a value that the decoder did not take.
type refusal struct {
	key      string
	revision int64
	kept     bool // the last good value of the key stays in force
	why      error
}

func newTable(prefix string, decode Decoder, refused func(refusal)) *table {
	return &table{
		prefix:    prefix,
		decode:    decode,
		refused:   refused,
		entries:   make(map[string]entry),
		overrides: make(map[string]etcdregistry.Override),
		byAddr:    make(map[string][]*member),
		deleted:   make(map[string]*member),
		latest:    &member{},
	}
}

// expect makes room for a list, if it is the first.
func (t *table) expect(keys int) {
	if len(t.entries) == 0 {
		t.entries, t.byAddr = make(map[string]entry, keys), make(map[string][]*member, keys)
		t.touched = slices.Grow(t.touched, keys)
	}
}

// owns reports whether key is a direct child of the service.
func (t *table) owns(key string) bool {
	id, ok := strings.CutPrefix(key, t.prefix)
	return ok && id != "" && !strings.Contains(id, "/")
}

// put takes in what stands under a key. A value that is refused leaves the last
// good value of this key in force.
func (t *table) put(key string, kv *mvccpb.KeyValue) {
	if !t.owns(key) {
		return
	}
	e := t.entries[key]
	if e.created != kv.CreateRevision { // deleted and made anew unseen: nothing of the old key counts
		t.delete(key)
		e = entry{created: kv.CreateRevision}
	}
	inst, err := t.decode(key, kv.Value)
	if err == nil && inst.Addr == "" {
		err = fmt.Errorf("etcd key %s: the decoder returned an instance without an address", quoteUpTo(key, maxShownKey))
	}
	if err != nil {
		if e.refused != kv.ModRevision {
			t.refused(refusal{key: key, revision: kv.ModRevision, kept: e.good != nil, why: err})
		}
		e.refused, e.why = kv.ModRevision, err
	} else {
		e.good = t.swap(e.good, t.newMember(key, e.created, inst.Addr, inst.Attrs))
	}
	t.entries[key] = e
}

func (t *table) newMember(key string, created int64, addr string, registered attrs.Attrs) *member {
	if strings.HasSuffix(key, addr) {
		addr = key[len(key)-len(addr):] // the same memory
	}
	t.latest = newMember(key, created, addr, registered, t.overrideOf(key, addr), t.latest)
	return t.latest
}

// swap has fresh take the place of old and returns it, or old if both say the same.
func (t *table) swap(old, fresh *member) *member {
	if old != nil && old.says(fresh) && old.registered().Equal(fresh.registered()) {
		return old
	}
	t.drop(old)
	t.byAddr[fresh.addr] = append(t.byAddr[fresh.addr], fresh)
	t.touched = append(t.touched, fresh.addr)
	return fresh
}

// overrideOf returns what overrides the instance under key: by its id and, because
// the ids of other frameworks change with each registration, by its address.
func (t *table) overrideOf(key, addr string) etcdregistry.Override {
	byID, byAddr := t.overrides[strings.TrimPrefix(key, t.prefix)], t.overrides[addr]
	return etcdregistry.Override{
		Weight:   cmp.Or(byID.Weight, byAddr.Weight),
		Draining: byID.Draining || byAddr.Draining,
		Reason:   cmp.Or(byID.Reason, byAddr.Reason),
	}
}

// drains reports whether an operator drains m.
func (t *table) drains(m *member) bool { return t.overrideOf(m.key, m.addr).Draining }

// names reports whether id is that, or the address, of an instance.
func (t *table) names(id string) bool {
	return t.entries[t.prefix+id].good != nil || len(t.byAddr[id]) > 0
}

// override sets the override of an id or address; the zero one lifts it.
func (t *table) override(id string, o etcdregistry.Override) {
	if o == (etcdregistry.Override{}) {
		delete(t.overrides, id)
	} else {
		t.overrides[id] = o
	}
	t.touched = append(t.touched, id) // it may name one that is not listed any more, but held
	t.reconsider(t.prefix + id)
	for _, m := range slices.Clone(t.byAddr[id]) {
		t.reconsider(m.key)
	}
}

// reconsider applies the overrides to a key anew.
func (t *table) reconsider(key string) {
	if e := t.entries[key]; e.good != nil {
		m := e.good
		e.good = t.swap(m, t.newMember(key, m.created, m.addr, m.registered()))
		t.entries[key] = e
	}
}

// delete forgets a key.
func (t *table) delete(key string) {
	if e, ok := t.entries[key]; ok {
		delete(t.entries, key)
		t.drop(e.good)
		if e.good != nil {
			t.deleted[e.good.addr] = e.good
		}
	}
}

func (t *table) drop(m *member) {
	if m == nil {
		return
	}
	left := slices.DeleteFunc(t.byAddr[m.addr], func(o *member) bool { return o == m })
	if t.byAddr[m.addr] = left; len(left) == 0 {
		delete(t.byAddr, m.addr)
	}
	t.touched = append(t.touched, m.addr)
}

// refresh returns the list as of now, and those whose keys went since the last call,
// as they were in the end. It does not modify the lists it returned before.
func (t *table) refresh() (list, gone []*member) {
	if len(t.touched) == 0 {
		return t.list, nil
	}
	next := make([]*member, 0, len(t.list)+len(t.touched))
	rest := t.list
	slices.Sort(t.touched)
	for _, addr := range slices.Compact(t.touched) {
		at, found := slices.BinarySearchFunc(rest, addr, func(m *member, addr string) int { return cmp.Compare(m.addr, addr) })
		next = append(next, rest[:at]...)
		rest = rest[at:]
		var before *member
		if found {
			before, rest = rest[0], rest[1:]
		}
		if same := t.byAddr[addr]; len(same) > 0 {
			next = append(next, slices.MinFunc(same, bySpeaker))
		} else if before != nil {
			if last := t.deleted[addr]; last != nil { // else the key has another address
				gone = append(gone, last)
			}
		}
	}
	t.touched = nil
	clear(t.deleted)
	next = append(next, rest...)
	t.list = next
	return next, gone
}

// refusals returns how many keys stand there without a good value, and why the
// first of them does.
func (t *table) refusals() (count int, why error) {
	first := ""
	for key, e := range t.entries {
		if e.good != nil {
			continue
		}
		if count == 0 || key < first {
			first, why = key, e.why
		}
		count++
	}
	return count, why
}
