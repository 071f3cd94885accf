package e2e

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/client/v3/naming/endpoints"
	naming "go.etcd.io/etcd/client/v3/naming/resolver"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/resolver"

	"github.com/steelyard-go/steelyard/attrs"
	"github.com/steelyard-go/steelyard/lab/localetcd"
)

// Weights 1:2:4, by server.
var weights124 = []attrs.Attrs{{Weight: 1}, {Weight: 2}, {Weight: 4}}

// requireShares makes calls and checks that they were shared out by weight, or
// evenly by a policy that does not know weights.
func (p underTest) requireShares(tb testing.TB, c *policyClient, servers []*policyServer, at []attrs.Attrs, calls int) {
	tb.Helper()
	workers := fewWorkers
	if p.serial {
		workers = 1
	}
	counts := c.spreadParallel(tb, calls, workers)
	total := 0.0
	for _, a := range at {
		total += float64(a.Weight)
	}
	for i, s := range servers {
		share := float64(calls) * float64(at[i].Weight) / total
		if p.unweighted {
			share = float64(calls) / float64(len(servers))
		}
		require.Positive(tb, counts[s.addr])
		if p.slack != nil {
			require.InDeltaf(tb, share, counts[s.addr], p.slack(share), "%s, weights %v: calls at weight %d", p.lb(), at, at[i].Weight)
		}
	}
}

func TestPolicies_WorkWithTheOfficialEtcdResolver(t *testing.T) {
	etcd := localetcd.Start(t)
	servers := startPolicyServers(t, 3)
	manager, err := endpoints.NewManager(etcd.Client(), "official")
	require.NoError(t, err)
	for _, s := range servers {
		require.NoError(t, manager.AddEndpoint(policyContext(t), "official/"+s.addr, endpoints.Endpoint{Addr: s.addr}))
	}
	builder, err := naming.NewBuilder(etcd.Client())
	require.NoError(t, err)
	t.Run("policies", func(t *testing.T) { // before etcd ends
		forEachPolicy(t, func(t *testing.T, p underTest) {
			c := dialPolicy(t, "etcd:///official", p.serviceConfig(), grpc.WithResolvers(builder))
			c.awaitAll(t, servers)
			p.requireShares(t, c, servers, []attrs.Attrs{{Weight: 1}, {Weight: 1}, {Weight: 1}}, 300)
		})
	})
}

func TestPolicies_HonourWeightsOnAddresses(t *testing.T) {
	forEachPolicy(t, func(t *testing.T, p underTest) {
		servers := startPolicyServers(t, 3)
		var state resolver.State
		for i, s := range servers {
			state.Addresses = append(state.Addresses, attrs.SetAddress(resolver.Address{Addr: s.addr}, weights124[i]))
		}
		c, _ := dialManual(t, state, p.serviceConfig())
		c.awaitAll(t, servers)
		p.requireShares(t, c, servers, weights124, 700)
	})
}

func TestPolicies_HonourWeightsOnEndpoints(t *testing.T) {
	forEachPolicy(t, func(t *testing.T, p underTest) {
		servers := startPolicyServers(t, 3)
		c, _ := dialManual(t, endpointsOf(servers, weights124...), p.serviceConfig())
		c.awaitAll(t, servers)
		p.requireShares(t, c, servers, weights124, 700)
	})
}

func TestPolicies_ChosenByNameAloneRunOnDefaults(t *testing.T) {
	unkeyed := consistentHash // by default calls without a key go anywhere, by weight
	unkeyed.slack = weightedRandom.slack
	forEach(t, []underTest{roundRobin, weightedRandom, p2cLatency, unkeyed}, func(t *testing.T, p underTest) {
		servers := startPolicyServers(t, 3)
		c, _ := dialManual(t, endpointsOf(servers, weights124...), fmt.Sprintf(`{"loadBalancingPolicy":%q}`, p.name))
		c.awaitAll(t, servers)
		p.requireShares(t, c, servers, weights124, 700)
	})
}

func TestPolicies_InvalidConfigIsRefusedByNewClient(t *testing.T) {
	for config, want := range map[string]string{
		`{"steelyard_round_robin":[]}`:                                                                         "steelyard_round_robin: config: got array, want a JSON object",
		`{"steelyard_weighted":{"schedule":"rough"}}`:                                                          `steelyard_weighted: schedule: got "rough", want "random" or "smooth"`,
		`{"steelyard_p2c":{"choices":1}}`:                                                                      "steelyard_p2c: choices: got 1, want 2 to 10",
		`{"steelyard_p2c":{"choices":"two"}}`:                                                                  "steelyard_p2c: choices: got string, want a whole number",
		`{"steelyard_consistent_hash":{"requestHashHeader":"id-bin"}}`:                                         `steelyard_consistent_hash: requestHashHeader: got "id-bin"`,
		`{"steelyard_consistent_hash":{"boundedLoadFactor":0.5}}`:                                              "steelyard_consistent_hash: boundedLoadFactor: got 0.5, want 0 for no bound, or 1 to",
		`{"random_subsetting_experimental":{"subsetSize":2,"childPolicy":[{"steelyard_p2c":{"choices":11}}]}}`: "steelyard_p2c: choices: got 11, want 2 to 10",
	} {
		conn, err := grpc.NewClient("passthrough:///unused",
			grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[`+config+`]}`))
		if err == nil {
			_ = conn.Close()
		}
		require.ErrorContainsf(t, err, want, "config %s", config)
	}
}

func TestPolicies_ConsistentHashKeepsEachKeysServer(t *testing.T) {
	servers := startPolicyServers(t, 5)
	ctx := policyContext(t)
	owners := make(map[string]string)
	for range 2 { // two clients agree, whatever the order of their lists
		c, _ := dialManual(t, endpointsOf(servers), consistentHash.serviceConfig())
		c.awaitAll(t, servers)
		for i := range 300 {
			key := fmt.Sprintf("user-%d", i%100)
			addr, err := c.callKey(ctx, key)
			require.NoError(t, err)
			if owner, known := owners[key]; known {
				require.Equalf(t, owner, addr, "key %s", key)
			}
			owners[key] = addr
		}
		servers[0], servers[4] = servers[4], servers[0]
	}
}
