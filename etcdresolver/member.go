package etcdresolver

import (
	"cmp"
	"maps"

	"google.golang.org/grpc/resolver"

	"github.com/steelyard-go/steelyard/attrs"
	"github.com/steelyard-go/steelyard/etcdregistry"
)

// member is one registration with a good value. It is immutable.
type member struct {
	key        string
	created    int64 // the revision at which the key came to be
	addr       string
	attrs      attrs.Attrs         // as registered, but for what an operator overrides
	overridden *attrs.Attrs        // as registered, if an operator overrides that
	endpoint   resolver.Endpoint   // made once: every update of every channel uses it
	address    [1]resolver.Address // of endpoint; one object in place of two, because lists can be long
}

// newMember returns the member that registered as a. It shares what it can with like,
// any other member: most instances of a service say nearly the same.
func newMember(key string, created int64, addr string, a attrs.Attrs, override etcdregistry.Override, like *member) *member {
	if a.Zone == like.attrs.Zone {
		a.Zone = like.attrs.Zone
	}
	alike := maps.Equal(a.Labels, like.attrs.Labels)
	if alike {
		a.Labels = like.attrs.Labels
	}
	m := &member{key: key, created: created, addr: addr, attrs: override.Apply(a)}
	if override != (etcdregistry.Override{}) {
		registered := a // so that only here it costs an object
		m.overridden = &registered
	}
	endpoint := like.endpoint
	if like.addr == "" || !alike || !unlabelled(m.attrs).Equal(unlabelled(like.attrs)) {
		endpoint = attrs.Set(resolver.Endpoint{Addresses: m.address[:]}, m.attrs)
	}
	m.address[0] = endpoint.Addresses[0]
	m.address[0].Addr = addr
	m.endpoint = resolver.Endpoint{Addresses: m.address[:], Attributes: endpoint.Attributes}
	return m
}

// unlabelled returns a without its labels, which take longest to compare.
func unlabelled(a attrs.Attrs) attrs.Attrs {
	a.Labels = nil
	return a
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
