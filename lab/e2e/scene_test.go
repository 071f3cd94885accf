package e2e

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	officialresolver "go.etcd.io/etcd/client/v3/naming/resolver"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/resolver"

	"github.com/steelyard-go/steelyard/etcdresolver"
)

// fault is one row of the faults that discovery survives. It is data, so that
// the same fault is played against both resolvers.
type fault struct {
	row   int // of the contract's table
	name  string
	limit time.Duration // from the end of the trouble until calls reach exactly who they should
	long  bool          // only in the long suite
	alone bool          // too much work to be done beside others
	play  func(s *scene)
}

const (
	// slack is what a busy machine and the race detector may add to every limit.
	slack = time.Second
	// patience is how long the recorded resolver is waited for beyond a limit.
	patience = 20 * time.Second
	// setup is how long the first list may take, before any trouble.
	setup = 5 * time.Second
)

// subject is a resolver under test.
type subject struct {
	name string
	// asserted: what it fails to do fails the test. Otherwise it is written down.
	asserted bool
	build    func(client *clientv3.Client, opts []etcdresolver.Option) (resolver.Builder, error)
}

var (
	ours = subject{"steelyard", true, func(client *clientv3.Client, opts []etcdresolver.Option) (resolver.Builder, error) {
		return etcdresolver.NewBuilder(client, opts...), nil
	}}
	official = subject{"etcd's own", false, func(client *clientv3.Client, _ []etcdresolver.Option) (resolver.Builder, error) {
		return officialresolver.NewBuilder(client)
	}}
)

// scene is a fault being played: real servers, a real channel that finds them
// through the resolver under test, and steady traffic on it.
type scene struct {
	*testing.T
	fault
	under subject

	policy      string // service config of the channels, round_robin unless set
	channelOpts []grpc.DialOption
	options     []etcdresolver.Option // of ours

	etcd    *clientv3.Client // the operator's, who sees etcd as it is; set first
	client  *clientv3.Client // that of the resolver under test
	heard   *heard
	channel *heardChannel
	traffic *steadyTraffic // nil before the first list
	report  report
}

// report is how a subject came through a fault.
type report struct {
	converged time.Duration // the slowest of all reaches
	never     bool          // one did not come about
	lapses    int           // times when calls did not go on as they should have
	calls     int
	failed    int // of those
}

// run plays the fault. It is not over before all that it started has ended.
func (f fault) run(t *testing.T, under subject) report {
	t.Helper()
	s := newScene(t)
	s.fault, s.under = f, under
	f.play(s)
	s.end()
	t.Logf("%s: %+v", under.name, s.report)
	return s.report
}

// newScene is for tests of our resolver that are no fault.
func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{T: t, under: ours}
	t.Cleanup(s.end)
	return s
}

// start has a channel to discoverService find its servers through etcd at addrs. It
// returns when calls reach exactly these servers; from then on there is traffic.
func (s *scene) start(addrs []string, servers ...*policyServer) {
	s.Helper()
	s.dial(s.connect(clientv3.Config{Endpoints: addrs}))
	s.flow(servers...)
}

// connect gives a client that looks after its connection, as the resolver's
// documentation has it.
func (s *scene) connect(config clientv3.Config) *clientv3.Client {
	s.Helper()
	config.DialTimeout = 5 * time.Second
	config.DialKeepAliveTime, config.DialKeepAliveTimeout = 10*time.Second, 3*time.Second
	config.Logger = zap.NewNop()
	client, err := clientv3.New(config)
	require.NoError(s, err)
	s.Cleanup(func() { _ = client.Close() })
	return client
}

// dial makes the resolver under test and a channel with it.
func (s *scene) dial(client *clientv3.Client, opts ...etcdresolver.Option) {
	s.Helper()
	s.client = client
	s.heard = s.resolver(client, opts...)
	s.channel = s.open(s.heard, discoverService)
}

// resolver makes one of the kind under test. The official one knows no options.
func (s *scene) resolver(client *clientv3.Client, opts ...etcdresolver.Option) *heard {
	s.Helper()
	h := &heard{}
	builder, err := s.under.build(client, slices.Concat([]etcdresolver.Option{h.log()}, s.options, opts))
	require.NoError(s, err)
	h.Builder = builder
	return h
}

// open makes another channel.
func (s *scene) open(h *heard, service string) *heardChannel {
	s.Helper()
	channel := dialHeard(s, h, service, cmp.Or(s.policy, stockRoundRobin), s.channelOpts...)
	if !s.under.asserted {
		s.Cleanup(func() { _ = s.client.Close() }) // the official resolver may block Close until then
	}
	return channel
}

func (f fault) title() string { return fmt.Sprintf("%02d %s", f.row, f.name) }

func addrsOf(servers []*policyServer) []string {
	addrs := make([]string, len(servers))
	for i, server := range servers {
		addrs[i] = server.addr
	}
	slices.Sort(addrs)
	return addrs
}
