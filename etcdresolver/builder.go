package etcdresolver

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/resolver"
)

// scheme is that of the targets: etcd:///service.
const scheme = "etcd"

// NewBuilder returns the resolver.Builder for targets etcd:///service, to be
// handed to grpc.WithResolvers. Make one per etcd client and share it: its
// channels to the same service share one watch, and a channel that wakes from
// idle starts with the list the builder remembers.
//
// The builder uses the client's KV and Watcher as they are when they are
// needed, so a client wrapped with etcd's namespace package works. It never
// closes the client; close that after the channels. With a nil client every
// channel fails with an error that says so.
//
// The builder is safe for concurrent use. It holds no goroutine and no
// connection while no channel uses it.
func NewBuilder(client *clientv3.Client, opts ...Option) resolver.Builder {
	if client == nil {
		return newBuilder(nil, nil, newOptions(opts))
	}
	var link *link
	if conn := client.ActiveConnection(); conn != nil { // nil for a client without a network, as embedded etcd has
		link = newLink(conn)
	}
	return newBuilder(client, link, newOptions(opts))
}

type builder struct {
	store store // nil when the client is
	link  *link // nil when there is no connection to look after
	opts  options

	mu       sync.Mutex
	services map[string]*service // all that were ever asked for: they remember their lists
}

func newBuilder(store store, link *link, opts options) *builder {
	return &builder{store: store, link: link, opts: opts, services: make(map[string]*service)}
}

// Scheme implements resolver.Builder.
func (b *builder) Scheme() string { return scheme }

// Build implements resolver.Builder. gRPC calls it under a lock that every call
// on the channel waits for: it does no I/O, and even the remembered list is
// delivered by a goroutine.
func (b *builder) Build(target resolver.Target, cc resolver.ClientConn, _ resolver.BuildOptions) (resolver.Resolver, error) {
	name, err := serviceName(target)
	if err != nil {
		return nil, fmt.Errorf("etcdresolver: target %q: %w", target.URL.String(), err)
	}
	if b.store == nil {
		return nil, fmt.Errorf("etcdresolver: target %q: the etcd client is nil: give NewBuilder the client to use", target.URL.String())
	}
	c := &channel{service: b.service(name), cc: cc, zone: b.opts.zone}
	c.service.join(c)
	return c, nil
}

func (b *builder) service(name string) *service {
	b.mu.Lock()
	defer b.mu.Unlock()
	s, ok := b.services[name]
	if !ok {
		s = newService(name, b.store, b.link, b.opts)
		b.services[name] = s
	}
	return s
}

// serviceName returns the service that target asks for, or what would be right.
func serviceName(target resolver.Target) (string, error) {
	name := target.Endpoint()
	switch u := target.URL; {
	case u.Host != "" && strings.Trim(name, "/") == "":
		return "", fmt.Errorf("%q stands where an authority would: write three slashes, etcd:///%s", u.Host, u.Host)
	case u.Host != "":
		return "", fmt.Errorf("the authority %q is not used: which etcd to ask is up to the client of NewBuilder; write etcd:///%s", u.Host, name)
	case strings.Trim(name, "/") == "":
		return "", errors.New("the service is empty: write etcd:///service")
	case strings.HasSuffix(name, "/"):
		return "", fmt.Errorf("the service ends with a slash: write etcd:///%s", strings.TrimRight(name, "/"))
	case u.RawQuery != "" || u.Fragment != "":
		return "", fmt.Errorf("a query or fragment is not used: write etcd:///%s", name)
	}
	return name, nil
}
