package e2e

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/resolver"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/steelyard-go/steelyard/attrs"
	"github.com/steelyard-go/steelyard/etcdregistry"
	"github.com/steelyard-go/steelyard/etcdresolver"
)

const (
	discoverService = "payments"
	stockRoundRobin = `{"loadBalancingConfig":[{"round_robin":{}}]}`
	// pick_first passes a resolver's errors on, stock round_robin hides their text.
	stockPickFirst = `{"loadBalancingConfig":[{"pick_first":{}}]}`

	inPeace      = 500 * time.Millisecond // a change reaches the calls
	afterTrouble = 5 * time.Second        // it does after trouble of etcd ended
	noWait       = 100 * time.Millisecond // what must not wait for etcd
	tick         = 5 * time.Millisecond
)

// heard is what a resolver under test says to its channels and to the log.
type heard struct {
	resolver.Builder
	mu      sync.Mutex
	last    resolver.State
	lengths []int // of all states
	lines   []string
}

func newHeard(client *clientv3.Client, opts ...etcdresolver.Option) *heard {
	h := &heard{}
	h.Builder = etcdresolver.NewBuilder(client, append([]etcdresolver.Option{h.log()}, opts...)...)
	return h
}

// log has a resolver of ours write its log to h.
func (h *heard) log() etcdresolver.Option {
	return etcdresolver.WithLogger(slog.New(slog.NewTextHandler(h, nil)))
}

func (h *heard) Build(target resolver.Target, cc resolver.ClientConn, opts resolver.BuildOptions) (resolver.Resolver, error) {
	return h.Builder.Build(target, &heardCC{ClientConn: cc, heard: h}, opts)
}

// Write implements io.Writer for the log.
func (h *heard) Write(line []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lines = append(h.lines, string(line))
	return len(line), nil
}

// logged gives the lines that contain text.
func (h *heard) logged(text string) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(h.lines), func(line string) bool { return !strings.Contains(line, text) })
}

// state gives the last update.
func (h *heard) state() resolver.State {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.last
}

// list gives the addresses and weights of the last update, "10.0.0.1:80=5", sorted as they came.
func (h *heard) list() (list []string) {
	for _, e := range h.state().Endpoints {
		list = append(list, fmt.Sprintf("%s=%d", e.Addresses[0].Addr, attrs.FromEndpoint(e).Weight))
	}
	return list
}

// attrsOf gives what the last update says of a server.
func (h *heard) attrsOf(server *policyServer) attrs.Attrs {
	for _, e := range h.state().Endpoints {
		if e.Addresses[0].Addr == server.addr {
			return attrs.FromEndpoint(e)
		}
	}
	return attrs.Attrs{}
}

// sizes gives the number of endpoints in each update so far.
func (h *heard) sizes() []int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.lengths)
}

func (h *heard) awaitList(tb testing.TB, within time.Duration, want ...string) {
	tb.Helper()
	require.Eventually(tb, func() bool { return slices.Equal(want, h.list()) }, within, tick,
		"want %v, got %v; log:\n%s", want, lazy(func() any { return h.list() }), lazy(func() any { return h.logged("") }))
}

type heardCC struct {
	resolver.ClientConn
	heard *heard
}

func (c *heardCC) UpdateState(s resolver.State) error {
	c.heard.mu.Lock()
	c.heard.last = s
	c.heard.lengths = append(c.heard.lengths, len(s.Endpoints))
	c.heard.mu.Unlock()
	return c.ClientConn.UpdateState(s)
}

// lazy is formatted when it is printed.
type lazy func() any

func (l lazy) String() string { return fmt.Sprint(l()) }

// dialHeard gives a channel that finds its servers through h.
func dialHeard(tb testing.TB, h *heard, service, serviceConfig string, opts ...grpc.DialOption) *heardChannel {
	tb.Helper()
	conn, err := newHeardConn(h, service, serviceConfig, opts...)
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = conn.Close() })
	return &heardChannel{ClientConn: conn}
}

// newHeardConn takes a service, or the target with its scheme.
func newHeardConn(h *heard, service, serviceConfig string, opts ...grpc.DialOption) (*grpc.ClientConn, error) {
	target := service
	if !strings.Contains(target, "://") {
		target = "etcd:///" + service
	}
	return grpc.NewClient(target, append([]grpc.DialOption{
		grpc.WithResolvers(h),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(serviceConfig),
	}, opts...)...)
}

type heardChannel struct{ *grpc.ClientConn }

// call returns the address of the server that answered.
func (c *heardChannel) call(limit time.Duration, opts ...grpc.CallOption) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	who := &wrapperspb.StringValue{}
	err := c.Invoke(ctx, whoMethod, &emptypb.Empty{}, who, opts...)
	return who.Value, err
}

// reaches tells which servers answer some calls in a row.
func (c *heardChannel) reaches(servers ...*policyServer) bool {
	met := make(map[string]bool)
	// Enough of them: calls made at the same time take turns, perhaps every second one.
	for range 20 * len(servers) {
		addr, err := c.call(time.Second)
		if err != nil {
			return false
		}
		met[addr] = true
	}
	for _, s := range servers {
		if !met[s.addr] {
			return false
		}
	}
	return len(met) == len(servers)
}

// awaitSomeReach returns when the calls reach these servers and no other.
func (c *heardChannel) awaitSomeReach(servers ...*policyServer) {
	for c.isOpen() && !c.reaches(servers...) {
		<-time.After(tick)
	}
}

// isOpen ends the loops of those who wait for what never comes.
func (c *heardChannel) isOpen() bool { return c.GetState() != connectivity.Shutdown }

// awaitReach waits until the calls reach these servers and no other.
func (c *heardChannel) awaitReach(tb testing.TB, within time.Duration, servers ...*policyServer) {
	tb.Helper()
	require.Eventually(tb, func() bool { return c.reaches(servers...) }, within, tick)
}

// steadyCalls calls until the returned function is called, which requires that
// none failed.
func (c *heardChannel) steadyCalls(tb testing.TB) (requireNoneFailed func()) {
	tb.Helper()
	calls := startSteadyTraffic(c)
	tb.Cleanup(func() { calls.stop() })
	return func() {
		tb.Helper()
		require.True(tb, calls.stop(), "a call ignores its deadline")
		count, failed := calls.count()
		require.Empty(tb, failed)
		require.Positive(tb, count)
	}
}

// discoverClient gives a client of etcd at addr.
func discoverClient(tb testing.TB, addr string, opts ...grpc.DialOption) *clientv3.Client {
	tb.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{addr}, DialOptions: opts, Logger: zap.NewNop()})
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = client.Close() })
	return client
}

func discoverPutValue(tb testing.TB, client *clientv3.Client, key, value string) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_, err := client.Put(ctx, key, value)
	require.NoError(tb, err)
}

// discoverPut registers s without a lease.
func discoverPut(tb testing.TB, client *clientv3.Client, s *policyServer, weight uint32) {
	tb.Helper()
	value, err := etcdregistry.Encode(etcdregistry.Instance{Addr: s.addr, Attrs: attrs.Attrs{Weight: weight}})
	require.NoError(tb, err)
	discoverPutValue(tb, client, etcdregistry.Key(discoverService, s.addr), value)
}

func discoverDelete(tb testing.TB, client *clientv3.Client, s *policyServer) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_, err := client.Delete(ctx, etcdregistry.Key(discoverService, s.addr))
	require.NoError(tb, err)
}

// discoverCompact forgets all revisions before the newest.
func discoverCompact(tb testing.TB, client *clientv3.Client) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	got, err := client.Get(ctx, "any")
	require.NoError(tb, err)
	_, err = client.Compact(ctx, got.Header.Revision)
	require.NoError(tb, err)
}
