package p2c_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/steelyard-go/steelyard/balancers/p2c"
	"github.com/steelyard-go/steelyard/balancertest"
	"github.com/steelyard-go/steelyard/internal/policytest"
)

var canceled = balancer.DoneInfo{BytesSent: true, Err: status.Error(codes.Canceled, "never mind")}

// latest is the picker that a channel has at the moment.
type latest struct{ channel *balancertest.Channel }

func (l latest) Pick(info balancer.PickInfo) (balancer.PickResult, error) {
	return l.channel.Picker().Pick(info)
}

// newLiveTraffic returns traffic of a channel that may change meanwhile. Server
// i is the one at policytest.Addr(i).
func newLiveTraffic(t *testing.T, config string, servers ...*server) (*traffic, *balancertest.Channel) {
	t.Helper()
	c := policytest.Channel(t, p2c.Name, config, policytest.Alike(len(servers))...)
	tr := &traffic{picker: latest{c}, servers: make(map[string]*server), random: rand.New(rand.NewPCG(1, 2))}
	for i, s := range servers {
		tr.servers[policytest.Addr(i)] = s
	}
	return tr, c
}

// alikeServers returns n servers that take 10 ms.
func alikeServers(n int) []*server {
	servers := make([]*server, n)
	for i := range servers {
		servers[i] = &server{took: 10 * time.Millisecond}
	}
	return servers
}

// peek makes n calls that are canceled at once, which teaches nothing, and
// returns how many went where.
func peek(t *testing.T, picker balancer.Picker, n int) map[string]int {
	t.Helper()
	counts := make(map[string]int)
	for range n {
		call := policytest.Begin(t, picker, t.Context())
		counts[call.Addr]++
		call.Done(canceled)
	}
	return counts
}

// holdAt begins calls until one has gone to addr, which it returns; the others
// end as if they had not been.
func holdAt(t *testing.T, c *balancertest.Channel, addr string) policytest.Call {
	t.Helper()
	var others []policytest.Call
	defer func() {
		for _, call := range others {
			call.Done(canceled)
		}
	}()
	for range 1000 {
		call := policytest.Begin(t, c.Picker(), t.Context())
		if call.Addr == addr {
			return call
		}
		others = append(others, call)
	}
	t.Fatalf("no call goes to %s", addr)
	return policytest.Call{}
}
