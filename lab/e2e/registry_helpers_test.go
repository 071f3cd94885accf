package e2e

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/steelyard-go/steelyard/etcdregistry"
)

const (
	registryService = "payments"
	registryAddr    = "10.0.0.7:8080"
	registryKey     = registryService + "/" + registryAddr
)

// registryClient gives a client of its own, as a server process would have.
func registryClient(t *testing.T, endpoints ...string) *clientv3.Client {
	t.Helper()
	client, err := clientv3.New(clientv3.Config{
		Endpoints:            endpoints,
		DialKeepAliveTime:    10 * time.Second,
		DialKeepAliveTimeout: 3 * time.Second,
		Logger:               zap.NewNop(),
	})
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func registryContext(t *testing.T, limit time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	return ctx
}

func registryQuiet(ttl time.Duration) []etcdregistry.Option {
	return []etcdregistry.Option{
		etcdregistry.WithTTL(ttl),
		etcdregistry.WithDrainDelay(100 * time.Millisecond),
		etcdregistry.WithLogger(slog.New(slog.DiscardHandler)),
	}
}

// mustRegister registers an instance until the end of the test.
func mustRegister(t *testing.T, client *clientv3.Client, ttl time.Duration, inst etcdregistry.Instance) *etcdregistry.Registration {
	t.Helper()
	r, err := etcdregistry.Register(registryContext(t, 20*time.Second), client, registryService, inst, registryQuiet(ttl)...)
	require.NoError(t, err)
	t.Cleanup(func() { _ = r.Close(context.Background()) })
	return r
}

func mustRegistrar(t *testing.T, client *clientv3.Client, opts ...etcdregistry.Option) *etcdregistry.Registrar {
	t.Helper()
	g, err := etcdregistry.NewRegistrar(client, opts...)
	require.NoError(t, err)
	t.Cleanup(func() { _ = g.Close(context.Background()) })
	return g
}

// mustJoin registers one more instance with a registrar, which closes it.
func mustJoin(t *testing.T, g *etcdregistry.Registrar, addr string) *etcdregistry.Registration {
	t.Helper()
	r, err := g.Register(registryContext(t, 20*time.Second), registryService, etcdregistry.Instance{Addr: addr})
	require.NoError(t, err)
	return r
}

// keyCount counts the instances of the service. It is -1 when etcd does not answer.
func keyCount(client *clientv3.Client) int {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	got, err := client.Get(ctx, etcdregistry.Key(registryService, ""), clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		return -1
	}
	return int(got.Count)
}

// registryEntry is what stands under a key.
type registryEntry struct {
	inst  etcdregistry.Instance
	lease clientv3.LeaseID
}

var errNoEntry = errors.New("there is no such key")

// lookup returns what stands under key, or errNoEntry.
func lookup(client *clientv3.Client, key string) (registryEntry, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	got, err := client.Get(ctx, key)
	if err != nil {
		return registryEntry{}, err
	}
	if len(got.Kvs) == 0 {
		return registryEntry{}, errNoEntry
	}
	inst, err := etcdregistry.Decode(key, got.Kvs[0].Value)
	return registryEntry{inst: inst, lease: clientv3.LeaseID(got.Kvs[0].Lease)}, err
}

func requireEntry(t *testing.T, client *clientv3.Client, key string) registryEntry {
	t.Helper()
	entry, err := lookup(client, key)
	require.NoError(t, err)
	return entry
}

func requireNoEntry(t *testing.T, client *clientv3.Client, key string) {
	t.Helper()
	_, err := lookup(client, key)
	require.ErrorIs(t, err, errNoEntry)
}

// requireSteady fails if the key is away or under another lease at any moment of the given time.
func requireSteady(t *testing.T, client *clientv3.Client, key string, lease clientv3.LeaseID, during time.Duration) {
	t.Helper()
	require.Never(t, func() bool {
		entry, err := lookup(client, key)
		return err != nil || entry.lease != lease
	}, during, 100*time.Millisecond)
}

// leaseCount is -1 when etcd does not answer.
func leaseCount(client *clientv3.Client) int {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	leases, err := client.Leases(ctx)
	if err != nil {
		return -1
	}
	return len(leases.Leases)
}

// keyHistory is all that happens to a key from now on.
type keyHistory struct {
	mu     sync.Mutex
	events []*clientv3.Event
}

func watchKey(t *testing.T, client *clientv3.Client, key string, opts ...clientv3.OpOption) *keyHistory {
	t.Helper()
	h := &keyHistory{}
	ctx, cancel := context.WithCancel(context.Background())
	watch := client.Watch(ctx, key, append(opts, clientv3.WithCreatedNotify())...)
	<-watch
	done := make(chan struct{})
	go func() {
		defer close(done)
		for response := range watch {
			h.mu.Lock()
			h.events = append(h.events, response.Events...)
			h.mu.Unlock()
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return h
}

// count tells how often the key was put and how often it was deleted.
func (h *keyHistory) count() (puts, deletes int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, event := range h.events {
		if event.Type == clientv3.EventTypeDelete {
			deletes++
		} else {
			puts++
		}
	}
	return puts, deletes
}

// first returns the value that the first event wrote.
func (h *keyHistory) first() []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.events[0].Kv.Value
}
