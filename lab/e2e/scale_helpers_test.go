package e2e

import (
	"context"
	"encoding/json"
	"flag"
	"log/slog"
	"net/url"
	"reflect"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/naming/endpoints"
	naming "go.etcd.io/etcd/client/v3/naming/resolver"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/serviceconfig"

	"github.com/steelyard-go/steelyard/etcdresolver"
	"github.com/steelyard-go/steelyard/lab/internal/child"
	"github.com/steelyard-go/steelyard/lab/localetcd"
)

var scaleFull = flag.Bool("scale.full", false, "the benchmarks of scale in full size, some ten minutes each time")

// scaleLimit is when waiting is given up.
const scaleLimit = 2 * time.Minute

// scaleResolvers are compared.
var scaleResolvers = [...]struct {
	name string
	new  func(*clientv3.Client) (resolver.Builder, error)
}{
	{"ours", func(client *clientv3.Client) (resolver.Builder, error) { return newScaleBuilder(client), nil }},
	{"official", naming.NewBuilder},
}

func newScaleBuilder(client *clientv3.Client, opts ...etcdresolver.Option) *etcdresolver.Builder {
	return etcdresolver.NewBuilder(client, append(opts, etcdresolver.WithLogger(slog.New(slog.DiscardHandler)))...)
}

// scaleEtcd is an etcd with one large service in it, and who writes there, each a
// process of its own.
type scaleEtcd struct {
	*localetcd.Process
	writer *child.Process
	size   int
}

func startScale(tb testing.TB, size int) *scaleEtcd {
	tb.Helper()
	e := &scaleEtcd{Process: localetcd.StartProcess(tb), size: size}
	ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
	defer cancel()
	var err error
	e.writer, err = child.Start(ctx, scaleWriterChild, e.Addr())
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = e.writer.Kill() })
	e.write(tb, scaleCommand{Fill: size})
	_, err = e.Client().Get(ctx, "any") // connects
	require.NoError(tb, err)
	return e
}

// write has the writer do c and returns when it has.
func (e *scaleEtcd) write(tb testing.TB, c scaleCommand) {
	tb.Helper()
	text, err := json.Marshal(c)
	require.NoError(tb, err)
	ctx, cancel := context.WithTimeout(context.Background(), scaleLimit)
	defer cancel()
	require.NoError(tb, e.writer.Do(ctx, string(text)))
}

// forEachResolver measures each of the two.
func (e *scaleEtcd) forEachResolver(b *testing.B, measure func(b *testing.B, builder resolver.Builder)) {
	b.Helper()
	for _, r := range scaleResolvers {
		b.Run("resolver="+r.name, func(b *testing.B) {
			builder, err := r.new(e.Client())
			require.NoError(b, err)
			measure(b, builder)
			b.ReportMetric(0, "ns/op") // of preparations too
		})
	}
}

// scaleCC is what a resolver has of a gRPC channel: nothing but the last list, or a
// real channel behind it.
type scaleCC struct {
	resolver.ClientConn
	resolver resolver.Resolver

	mu      sync.Mutex
	state   resolver.State
	updates int
	changed chan struct{} // closed at the next update
}

// Close implements resolver.Resolver. The official one leaves a goroutine behind that waits for
// ever to hand over what came last: it is taken off its hands.
func (c *scaleCC) Close() {
	c.resolver.Close()
	if official := reflect.ValueOf(c.resolver).Elem().FieldByName("wch"); official.IsValid() {
		for range *(*endpoints.WatchChannel)(official.Addr().UnsafePointer()) {
		}
	}
}

func newScaleCC(inner resolver.ClientConn) *scaleCC {
	return &scaleCC{ClientConn: inner, changed: make(chan struct{})}
}

// buildScale builds a resolver for a channel without anything above.
func buildScale(tb testing.TB, builder resolver.Builder) *scaleCC {
	tb.Helper()
	c := newScaleCC(nil)
	var err error
	c.resolver, err = builder.Build(resolver.Target{URL: url.URL{Scheme: "etcd", Path: "/" + scaleService}}, c, resolver.BuildOptions{})
	require.NoError(tb, err)
	return c
}

func (c *scaleCC) UpdateState(s resolver.State) error {
	var err error
	if c.ClientConn != nil {
		err = c.ClientConn.UpdateState(s)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state = s
	c.updates++
	close(c.changed)
	c.changed = make(chan struct{})
	return err
}

func (c *scaleCC) ReportError(err error) {
	if c.ClientConn != nil {
		c.ClientConn.ReportError(err)
	}
}

func (c *scaleCC) ParseServiceConfig(text string) *serviceconfig.ParseResult {
	if c.ClientConn != nil {
		return c.ClientConn.ParseServiceConfig(text)
	}
	return nil
}

// ResolveNow implements resolver.Resolver.
func (c *scaleCC) ResolveNow(o resolver.ResolveNowOptions) { c.resolver.ResolveNow(o) }

// count returns how many updates there have been.
func (c *scaleCC) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.updates
}

// await waits for a list of n endpoints and tells whether it came in time.
func (c *scaleCC) await(n int, within time.Duration) bool {
	timeout := time.NewTimer(within)
	defer timeout.Stop()
	for {
		c.mu.Lock()
		size, changed := len(c.state.Endpoints), c.changed
		c.mu.Unlock()
		if size == n {
			return true
		}
		select {
		case <-changed:
		case <-timeout.C:
			return false
		}
	}
}

func (c *scaleCC) requireList(tb testing.TB, n int) {
	tb.Helper()
	require.True(tb, c.await(n, scaleLimit), "a list of %d endpoints within %v", n, scaleLimit)
}

// scaleHeap returns what is in use.
func scaleHeap() float64 {
	runtime.GC()
	runtime.GC() // what finalizers and pools had kept
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// scaleAllocated returns what was ever allocated.
func scaleAllocated() float64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.TotalAlloc)
}

func scaleMillis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
