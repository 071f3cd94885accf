package e2e

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	"github.com/steelyard-go/steelyard/attrs"
	"github.com/steelyard-go/steelyard/etcdregistry"
	"github.com/steelyard-go/steelyard/etcdresolver"
	"github.com/steelyard-go/steelyard/lab/localetcd"
)

// registerServers puts each server into etcd with weight 1, until the test ends.
func registerServers(t *testing.T, etcd *localetcd.Server, service string, servers []*policyServer) []*etcdregistry.Registration {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	registrations := make([]*etcdregistry.Registration, len(servers))
	for i, s := range servers {
		inst := etcdregistry.Instance{Addr: s.addr, Attrs: attrs.Attrs{Weight: 1}}
		r, err := etcdregistry.Register(policyContext(t), etcd.Client(), service, inst,
			etcdregistry.WithLogger(quiet), etcdregistry.WithDrainDelay(0))
		require.NoError(t, err)
		t.Cleanup(func() { _ = r.Close(t.Context()) })
		registrations[i] = r
	}
	return registrations
}

func dialEtcd(t *testing.T, etcd *localetcd.Server, service string, p underTest) *policyClient {
	t.Helper()
	builder := etcdresolver.NewBuilder(etcd.Client(), etcdresolver.WithLogger(slog.New(slog.DiscardHandler)))
	return dialPolicy(t, "etcd:///"+service, p.serviceConfig(), grpc.WithResolvers(builder))
}

// awaitShare calls until server's share of the last hundred calls has crossed
// the given one, upwards or downwards, and returns how long that took.
func (c *policyClient) awaitShare(t *testing.T, server *policyServer, share float64, upwards bool) time.Duration {
	t.Helper()
	const window = 100
	var (
		ctx   = policyContext(t)
		start = time.Now()
		ring  [window]bool
		hits  int
	)
	for call := 0; ; call++ {
		addr, err := c.call(ctx)
		require.NoError(t, err)
		if ring[call%window] {
			hits--
		}
		ring[call%window] = addr == server.addr
		if ring[call%window] {
			hits++
		}
		if call >= window && (float64(hits)/window > share) == upwards {
			return time.Since(start)
		}
		require.Lessf(t, time.Since(start), waitLimit, "share of the last %d calls: %d%%", window, hits)
	}
}

func TestPolicies_WeightChangeInEtcdMovesSharesWithoutAConnection(t *testing.T) {
	etcd := localetcd.Start(t)
	t.Run("policies", func(t *testing.T) { // before etcd ends
		forEach(t, []underTest{weightedRandom, weightedSmooth, p2cRequests, consistentHash}, func(t *testing.T, p underTest) {
			servers := startPolicyServers(t, 3)
			service := strings.TrimPrefix(servers[0].addr, "127.0.0.1:") // any name that no other test has
			registrations := registerServers(t, etcd, service, servers)
			c := dialEtcd(t, etcd, service, p)
			c.awaitAll(t, servers)
			heavy := servers[1]
			fastest := time.Hour
			for range 3 {
				// 1:1:1 is a share of 0.33, 1:8:1 one of 0.8.
				for _, weight := range []uint32{8, 1} {
					put := time.Now()
					require.NoError(t, registrations[1].Update(policyContext(t), attrs.Attrs{Weight: weight}))
					c.awaitShare(t, heavy, 0.57, weight > 1)
					took := time.Since(put)
					t.Logf("%s: weight %d in etcd, in the shares after %v", p.lb(), weight, took)
					fastest = min(fastest, took)
				}
			}
			require.Less(t, fastest, time.Second, "from the put to a window of calls with the new shares")
			require.NoError(t, registrations[1].Update(policyContext(t), attrs.Attrs{Weight: 8}))
			c.awaitShare(t, heavy, 0.57, true)
			p.requireShares(t, c, servers, []attrs.Attrs{{Weight: 1}, {Weight: 8}, {Weight: 1}}, 500)
			accepted, closed := connections(servers)
			require.Equal(t, []int64{3, 0}, []int64{accepted, closed}, "connections made and closed")
		})
	})
}

// A plain put, as a script would write it, is as good as Registration.Update. That
// the weight has come is told by a drain mark, which etcd keeps in order with it.
func TestPolicies_RoundRobinIgnoresWeightChangeInEtcd(t *testing.T) {
	etcd := localetcd.Start(t)
	servers := startPolicyServers(t, 3)
	for i, s := range servers {
		_, err := etcd.Client().Put(policyContext(t), etcdregistry.Key("plain", []string{"a", "b", "c"}[i]), s.addr)
		require.NoError(t, err)
	}
	c := dialEtcd(t, etcd, "plain", roundRobin)
	c.awaitAll(t, servers)
	for _, put := range [][2]string{ // in this order
		{"plain/a", `{"Op":0,"Addr":"` + servers[0].addr + `","Metadata":{"weight":8}}`},
		{"plain/c", `{"Op":0,"Addr":"` + servers[2].addr + `","Metadata":{"draining":true}}`},
	} {
		_, err := etcd.Client().Put(policyContext(t), put[0], put[1])
		require.NoError(t, err)
	}
	c.awaitNone(t, servers[2], 50)
	counts := c.spread(t, 200)
	require.Equal(t, map[string]int{servers[0].addr: 100, servers[1].addr: 100}, counts)
	accepted, closed := connections(servers)
	require.Equal(t, []int64{3, 0}, []int64{accepted, closed}, "connections made and closed")
}
