package e2e

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/steelyard-go/steelyard/etcdregistry"
	"github.com/steelyard-go/steelyard/etcdresolver"
	"github.com/steelyard-go/steelyard/lab/localetcd"
)

func TestTargetBuilder_TwoEtcdsOfOneBuilder(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	near, far := localetcd.Start(s), localetcd.Start(s)
	network := localetcd.StartProxy(s, far.Addr())
	a, b, c := startPolicyServer(s), startPolicyServer(s), startPolicyServer(s)
	discoverPut(s, near.Client(), a, 1)
	discoverPutValue(s, near.Client(), etcdregistry.Key("orders", "a"), a.addr)
	discoverPut(s, far.Client(), b, 1)
	dials := newDialCounter()
	s.heard = &heard{}
	s.heard.Builder = etcdresolver.NewTargetBuilder(clientv3.Config{
		Endpoints:   []string{near.Addr()},
		DialOptions: []grpc.DialOption{grpc.WithContextDialer(dials.dial)},
		Logger:      zap.NewNop(),
	}, s.heard.log())

	inNear := s.open(s.heard, "etcd://"+near.Addr()+"/"+discoverService)
	inNear.awaitReach(s, setup, a)
	byDefault := s.open(s.heard, "orders")
	byDefault.awaitReach(s, setup, a)
	require.Equal(s, 1, dials.count(near.Addr()), "one client for all channels to the same etcd")
	s.channel = s.open(s.heard, "etcd://"+network.Addr()+"/"+discoverService)
	s.flow(b)
	require.Equal(s, 1, dials.count(network.Addr()))

	network.Cut()
	discoverPut(s, far.Client(), c, 1)
	discoverPut(s, near.Client(), c, 1)
	s.keeps(2*time.Second, b)
	inNear.awaitReach(s, setup, a, c)
	network.Mend()
	s.reach(afterTrouble, b, c)

	// The client is closed with its last channel, and made again for the next one.
	require.NoError(s, inNear.Close())
	require.NoError(s, byDefault.Close())
	again := s.open(s.heard, discoverService)
	again.awaitReach(s, setup, a, c)
	require.Eventually(s, func() bool { return dials.count(near.Addr()) == 2 }, setup, tick)
	s.keeps(100*time.Millisecond, b, c)
}

// dialCounter counts connections by address.
type dialCounter struct {
	mu    sync.Mutex
	dials map[string]int
}

func newDialCounter() *dialCounter { return &dialCounter{dials: make(map[string]int)} }

func (d *dialCounter) dial(ctx context.Context, addr string) (net.Conn, error) {
	d.mu.Lock()
	d.dials[addr]++
	d.mu.Unlock()
	return new(net.Dialer).DialContext(ctx, "tcp", addr)
}

func (d *dialCounter) count(addr string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.dials[addr]
}
