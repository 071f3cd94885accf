package etcdresolver

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/steelyard-go/steelyard/attrs"
	"github.com/steelyard-go/steelyard/etcdregistry"
)

// table turns keys and values into the list of a service, one member per
// address, sorted by address. A change costs work for the keys it names; only
// [table.refresh] copies the list.
type table struct {
	prefix    string
	decode    Decoder
	refused   func(refusal)
	good      map[string]*member               // by key, of its last good value
	bad       map[string]error                 // by key, why its value was refused
	overrides map[string]etcdregistry.Override // by id or address
	byAddr    map[string]*member               // the one to go by
	others    map[string][]*member             // the others with that address, which almost none has
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

// newTable returns a table of values that decode reads, or etcdregistry.Decode if it is nil.
func newTable(prefix string, decode Decoder, refused func(refusal)) *table {
	t := &table{
		prefix:    prefix,
		decode:    decode,
		refused:   refused,
		good:      make(map[string]*member),
		bad:       make(map[string]error),
		overrides: make(map[string]etcdregistry.Override),
		byAddr:    make(map[string]*member),
		others:    make(map[string][]*member),
		deleted:   make(map[string]*member),
		latest:    &member{},
	}
	if decode == nil {
		t.decode = t.decodeLike
	}
	return t
}

// decodeLike is etcdregistry.Decode. Decoding is most of what a list costs, and most
// of that would be labels that newMember finds to be those of the member before.
func (t *table) decodeLike(key string, value []byte) (etcdregistry.Instance, error) {
	return etcdregistry.DecodeLike(key, value, t.latest.attrs)
}

// expect makes room for a list, if it is the first.
func (t *table) expect(keys int) {
	if len(t.good) == 0 {
		t.good, t.byAddr = make(map[string]*member, keys), make(map[string]*member, keys)
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
	good := t.good[key]
	inst, err := t.decode(key, kv.Value)
	if err == nil && inst.Addr == "" {
		err = fmt.Errorf("etcd key %s: the decoder returned an instance without an address", quoteUpTo(key, maxShownKey))
	}
	if err == nil {
		t.good[key] = t.swap(good, t.newMember(key, kv.CreateRevision, inst.Addr, inst.Attrs))
		delete(t.bad, key)
		return
	}
	t.bad[key] = err
	t.refused(refusal{key: key, revision: kv.ModRevision, kept: good != nil, why: err})
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
	if old != nil {
		t.drop(old)
	}
	t.add(fresh)
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
	return t.good[t.prefix+id] != nil || t.byAddr[id] != nil
}

// override sets the override of an id or address; the zero one lifts it.
func (t *table) override(id string, o etcdregistry.Override) {
	if o == (etcdregistry.Override{}) {
		delete(t.overrides, id)
	} else {
		t.overrides[id] = o
	}
	t.touched = append(t.touched, id) // it may name one that is not listed any more, but held
	t.reconsider(t.good[t.prefix+id])
	for _, m := range append(slices.Clone(t.others[id]), t.byAddr[id]) {
		t.reconsider(m)
	}
}

// reconsider applies the overrides to m anew, if there is one.
func (t *table) reconsider(m *member) {
	if m != nil {
		t.good[m.key] = t.swap(m, t.newMember(m.key, m.created, m.addr, m.registered()))
	}
}

// delete forgets a key.
func (t *table) delete(key string) {
	if m := t.good[key]; m != nil {
		delete(t.good, key)
		t.drop(m)
		t.deleted[m.addr] = m
	}
	delete(t.bad, key)
}

// add has m stand for its address, or wait behind who does.
func (t *table) add(m *member) {
	t.touched = append(t.touched, m.addr)
	first := t.byAddr[m.addr]
	if first == nil || bySpeaker(m, first) < 0 {
		t.byAddr[m.addr] = m
		m = first
	}
	if m != nil {
		t.others[m.addr] = append(t.others[m.addr], m)
	}
}

// drop undoes add.
func (t *table) drop(m *member) {
	t.touched = append(t.touched, m.addr)
	others := t.others[m.addr]
	if t.byAddr[m.addr] == m {
		if len(others) == 0 {
			delete(t.byAddr, m.addr)
			return
		}
		m = slices.MinFunc(others, bySpeaker)
		t.byAddr[m.addr] = m
	}
	if others = slices.DeleteFunc(others, func(o *member) bool { return o == m }); len(others) == 0 {
		delete(t.others, m.addr)
	} else {
		t.others[m.addr] = others
	}
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
		if m := t.byAddr[addr]; m != nil {
			next = append(next, m)
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
	for key, err := range t.bad {
		if t.good[key] != nil {
			continue
		}
		if count == 0 || key < first {
			first, why = key, err
		}
		count++
	}
	return count, why
}
