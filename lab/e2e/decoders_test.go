package e2e

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/steelyard-go/steelyard/attrs"
	"github.com/steelyard-go/steelyard/etcdregistry"
	"github.com/steelyard-go/steelyard/etcdresolver"
	"github.com/steelyard-go/steelyard/lab/localetcd"
)

// framework is what one puts in etcd for a server, with ADDR, WEIGHT and NUMBER for
// what differs.
type framework struct {
	decode     etcdresolver.Decoder
	service    string // what follows etcd:/// in the target
	key, value string
	weightless bool
}

var frameworks = map[string]framework{
	"go-zero v1.10.3": {
		decode:  etcdresolver.DecodeGoZero,
		service: "payments.rpc",
		key:     "payments.rpc/758787948201348045NUMBER", value: "ADDR",
		weightless: true,
	},
	"kratos v2.8.4": {
		decode:  etcdresolver.DecodeKratos,
		service: "/microservices/payments",
		key:     "/microservices/payments/payments-NUMBER",
		value: `{"id":"payments-NUMBER","name":"payments","version":"1.4.2","metadata":{"weight":"WEIGHT"},` +
			`"endpoints":["http://127.0.0.1:18000","grpc://ADDR"]}`,
	},
	"registry-etcd v0.2.6 of kitex": {
		decode:  etcdresolver.DecodeKitex,
		service: "kitex/registry-etcd/payments",
		key:     "kitex/registry-etcd/payments/ADDR",
		value:   `{"network":"tcp","address":"ADDR","weight":WEIGHT,"tags":null}`,
	},
	"registry-etcd v0.2.6 of kitex, NewEtcdRegistryWithAuth": {
		decode:  etcdresolver.DecodeKitex,
		service: "/payments",
		key:     "/payments/ADDR",
		value:   `{"network":"tcp","address":"ADDR","weight":WEIGHT,"tags":null}`,
	},
}

// register puts the server in etcd as f does, and returns the key.
func (f framework) register(tb testing.TB, client *clientv3.Client, s *policyServer, number, weight int) (key string) {
	tb.Helper()
	fill := strings.NewReplacer("ADDR", s.addr, "WEIGHT", strconv.Itoa(weight), "NUMBER", strconv.Itoa(number))
	key = fill.Replace(f.key)
	discoverPutValue(tb, client, key, fill.Replace(f.value))
	return key
}

// listed is what heard.list says of the server.
func (f framework) listed(s *policyServer, weight int) string {
	if f.weightless {
		weight = 1
	}
	return fmt.Sprintf("%s=%d", s.addr, weight)
}

func TestDecoders_ServersOfOtherFrameworksAreReached(t *testing.T) {
	client := localetcd.Start(t).Client()
	for name, f := range frameworks {
		t.Run(name, func(t *testing.T) {
			servers := startPolicyServers(t, 3)
			a, b, c := servers[0], servers[1], servers[2]
			keyA := f.register(t, client, a, 1, 30)
			f.register(t, client, b, 2, 50)
			h := newHeard(client, etcdresolver.WithDecoder(f.decode))
			channel := dialHeard(t, h, f.service, stockRoundRobin)
			channel.awaitReach(t, 2*time.Second, a, b)
			h.requireListed(t, f.listed(a, 30), f.listed(b, 50))
			requireNoneFailed := channel.steadyCalls(t)

			f.register(t, client, c, 3, 70)
			channel.awaitReach(t, inPeace, a, b, c)
			_, err := client.Delete(t.Context(), keyA)
			require.NoError(t, err)
			channel.awaitReach(t, inPeace, b, c)
			h.requireListed(t, f.listed(b, 50), f.listed(c, 70))
			requireNoneFailed()
		})
	}
}

// The clients have moved, now the servers do, one by one and under the same keys.
func TestDecoders_ServersMoveOneByOne(t *testing.T) {
	client := localetcd.Start(t).Client()
	for name, f := range frameworks {
		t.Run(name, func(t *testing.T) {
			servers := startPolicyServers(t, 2)
			stays, moves := servers[0], servers[1]
			f.register(t, client, stays, 1, 30)
			key := f.register(t, client, moves, 2, 50)
			h := newHeard(client, etcdresolver.WithDecoder(f.decode))
			channel := dialHeard(t, h, f.service, stockRoundRobin)
			channel.awaitReach(t, 2*time.Second, stays, moves)
			requireNoneFailed := channel.steadyCalls(t)

			inst := etcdregistry.Instance{ID: "moved", Addr: moves.addr, Attrs: attrs.Attrs{Weight: 7}}
			registration, err := etcdregistry.Register(t.Context(), client, f.service, inst)
			require.NoError(t, err)
			defer func() { require.NoError(t, registration.Close(t.Context())) }()
			_, err = client.Delete(t.Context(), key)
			require.NoError(t, err)
			require.Eventually(t, func() bool {
				return slices.Contains(h.list(), moves.addr+"=7")
			}, inPeace, tick)
			h.requireListed(t, f.listed(stays, 30), moves.addr+"=7")
			require.True(t, channel.reaches(stays, moves))
			require.Empty(t, h.logged("value refused"))
			requireNoneFailed()
		})
	}
}

// requireListed compares the last update with want, in any order.
func (h *heard) requireListed(tb testing.TB, want ...string) {
	tb.Helper()
	require.ElementsMatch(tb, want, h.list())
}
