package etcdresolver

import (
	"fmt"
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/resolver"
)

// scheme is that of the targets: etcd:///service.
const scheme = "etcd"

// Builder is a resolver.Builder for the scheme etcd, to be handed to
// grpc.WithResolvers. Its channels to the same service share one watch, and a
// channel that wakes from idle starts with the list the builder remembers: make
// one per etcd and share it.
//
// A Builder is safe for concurrent use. It holds no goroutine and no connection
// of its own while no channel uses it.
type Builder struct {
	opts options
	// source gives what to ask for a target, and what tells it from others.
	source func(resolver.Target) (key string, etcd source, err error)

	mu       sync.Mutex
	services map[serviceKey]*service // all that were ever asked for: they remember their lists
}

type serviceKey struct{ etcd, name string }

// NewBuilder returns the Builder for targets etcd:///service, which asks the etcd
// of client.
//
// The builder uses the client's KV and Watcher as they are when they are
// needed, so a client wrapped with etcd's namespace package works. It never
// closes the client; close that after the channels. With a nil client every
// channel fails with an error that says so.
func NewBuilder(client *clientv3.Client, opts ...Option) *Builder {
	if client == nil {
		return newBuilder(nil, opts)
	}
	var link *link
	if conn := client.ActiveConnection(); conn != nil { // nil for a client without a network, as embedded etcd has
		link = newLink(conn)
	}
	return newBuilder(&given{store: client, link: link}, opts)
}

// newBuilder asks one etcd, nil if the caller has none.
func newBuilder(etcd source, opts []Option) *Builder {
	return &Builder{
		opts:     newOptions(opts),
		services: make(map[serviceKey]*service),
		source: func(target resolver.Target) (string, source, error) {
			switch host := target.URL.Host; {
			case host != "" && serviceOf(target) == "":
				return "", nil, fmt.Errorf("%q stands where an authority would: write three slashes, etcd:///%s", host, host)
			case host != "":
				return "", nil, fmt.Errorf("the authority %q is not used: which etcd to ask is up to the client of NewBuilder; write etcd:///%s, or use NewTargetBuilder", host, target.Endpoint())
			case etcd == nil:
				return "", nil, errNilClient
			}
			return "", etcd, nil
		},
	}
}

// Scheme implements resolver.Builder.
func (b *Builder) Scheme() string { return scheme }

// Build implements resolver.Builder. gRPC calls it under a lock that every call
// on the channel waits for: it does no I/O, and even the remembered list is
// delivered by a goroutine.
func (b *Builder) Build(target resolver.Target, cc resolver.ClientConn, opts resolver.BuildOptions) (resolver.Resolver, error) {
	key, etcd, err := b.source(target)
	if err == nil {
		err = checkService(target)
	}
	if err != nil {
		return nil, fmt.Errorf("etcdresolver: target %q: %w", target.URL.Redacted(), err)
	}
	s := b.service(serviceKey{key, target.Endpoint()}, etcd)
	c := &channel{service: s, cc: cc, zone: b.opts.zone, meter: newMeter(s, target, opts.MetricsRecorder)}
	s.join(c)
	return c, nil
}

func (b *Builder) service(key serviceKey, etcd source) *service {
	b.mu.Lock()
	defer b.mu.Unlock()
	s, ok := b.services[key]
	if !ok {
		s = newService(key.name, etcd, b.opts)
		b.services[key] = s
	}
	return s
}
