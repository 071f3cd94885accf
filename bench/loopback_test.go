package bench

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
)

// How BenchmarkLoopback is run.
const (
	loopbackServers = 10
	loopbackCallers = 10
	loopbackKeys    = 1_000 // of policies that map calls by key
	loopbackRounds  = 200
	loopbackCalls   = 250 // of each policy in a round
)

// yardstick is the policy that the others are held against.
const yardstick = "stock_round_robin"

// BenchmarkLoopback makes real calls over real connections to servers in this
// process: small ones, from a few callers without a pause, so that the
// processors are busy all the time. What a policy takes is little beside that,
// and less than what a machine's speed changes from one second to the next. So the
// policies take turns, in short rounds: each metric is a median of all rounds, and
// those named "/stock" are medians of the ratio to stock round_robin in the same
// round. To run one policy is to run all. The weights are equal: several calls on
// one connection share its writes, so that uneven shares alone are quicker.
func BenchmarkLoopback(b *testing.B) {
	channels := openLoopback(b, only(distinct))
	var counts []map[string]metrics // one for each -count
	for _, c := range channels {
		count := 0
		report(b, "policy="+c.of.label, func(b *testing.B) metrics {
			if count == len(counts) {
				counts = append(counts, takeTurns(b, channels))
			}
			count++
			return counts[count-1][c.of.label]
		})
	}
}

// takeTurns returns the metrics of each policy. The order is another in each
// round, so that nobody always follows the same one.
func takeTurns(b *testing.B, channels []*loopback) map[string]metrics {
	rounds := loopbackRounds
	if onlyTried() {
		rounds = 3
	}
	turns, random := make(map[string][]metrics), rand.New(rand.NewPCG(1, 2))
	for range rounds {
		for _, i := range random.Perm(len(channels)) {
			c := channels[i]
			turn, err := c.turn(loopbackCalls)
			if err != nil {
				b.Fatalf("%s: %v", c.of.label, err)
			}
			turns[c.of.label] = append(turns[c.of.label], turn)
		}
	}
	all := make(map[string]metrics)
	for label, own := range turns {
		all[label] = against(turns[yardstick], own)
	}
	return all
}

// against sums turns up, beside those of the yardstick in the same rounds.
func against(stock, turns []metrics) metrics {
	all := make(metrics)
	for unit, name := range map[string]string{"calls/s": "calls", "p99-µs": "p99", "cpu-ns/call": "cpu"} {
		values, ratios := make([]float64, len(turns)), make([]float64, len(turns))
		for i := range turns {
			values[i] = turns[i][unit]
			ratios[i] = values[i] / stock[i][unit]
		}
		all[unit], all[name+"/stock"], all[name+"±%"] = median(values), median(ratios), 100*unsure(ratios)
	}
	return all
}

// unsure returns by how much the median may be off the true one: half the width
// of its 95% confidence interval by order statistics, whatever the values'
// distribution is.
func unsure(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := float64(len(sorted))
	reach := 0.98 * math.Sqrt(n) // 1.96 standard deviations of how many are below the median
	least, most := max(0, int(n/2-reach)), min(len(sorted)-1, int(n/2+reach))
	return (sorted[most] - sorted[least]) / 2
}

func TestLoopback_HoldsTurnsAgainstThoseOfTheSameRound(t *testing.T) {
	var stock, turns []metrics
	for i := range 99 {
		speed := float64(1 + i%7) // of the machine
		stock = append(stock, metrics{"calls/s": 1000 * speed, "p99-µs": 100 / speed, "cpu-ns/call": 10})
		if i%3 == 0 { // something else ran as well
			speed /= 2
		}
		turns = append(turns, metrics{"calls/s": 900 * speed, "p99-µs": 120 / speed, "cpu-ns/call": float64(i)})
	}
	got := against(stock, turns)
	require.InDelta(t, 0.9, got["calls/stock"], 1e-9)
	require.InDelta(t, 1.2, got["p99/stock"], 1e-9)
	require.InDelta(t, 0, got["calls±%"], 1e-9)
	require.InDelta(t, 4.9, got["cpu/stock"], 1e-9)
	// 99 values a tenth apart, and 0.98·√99 = 9.75 of them to each side.
	require.InDelta(t, 97.5, got["cpu±%"], 5)
	require.InDelta(t, 49, got["cpu-ns/call"], 1e-9)
}

// loopback is a channel of one policy to all servers.
type loopback struct {
	of       policy
	health   healthpb.HealthClient
	contexts []context.Context // of calls, in turn
}

// openLoopback starts servers and connects a channel of each policy to them.
func openLoopback(b *testing.B, policies []policy) []*loopback {
	list := make([]resolver.Endpoint, loopbackServers)
	for i := range list {
		list[i] = endpoint(startLoopback(b), 1)
	}
	channels := make([]*loopback, len(policies))
	for i, p := range policies {
		channels[i] = dialLoopback(b, p, list)
		channels[i].reachAll(b)
	}
	return channels
}

func startLoopback(b *testing.B) (addr string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server := grpc.NewServer()
	healthpb.RegisterHealthServer(server, health.NewServer())
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(l) }) // Stop is how it ends
	b.Cleanup(func() {
		server.Stop()
		serving.Wait()
	})
	return l.Addr().String()
}

func dialLoopback(b *testing.B, p policy, list []resolver.Endpoint) *loopback {
	r := manual.NewBuilderWithScheme("bench")
	r.InitialState(resolver.State{Endpoints: list})
	config := p.config
	if config == "" {
		config = "{}"
	}
	conn, err := grpc.NewClient(r.Scheme()+":///service",
		grpc.WithResolvers(r),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(fmt.Sprintf(`{"loadBalancingConfig":[{%q:%s}]}`, p.lb, config)))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	c := &loopback{of: p, health: healthpb.NewHealthClient(conn), contexts: []context.Context{context.Background()}}
	if p.keyed() {
		c.contexts = make([]context.Context, loopbackKeys)
		for i := range c.contexts {
			c.contexts[i] = p.context("user-" + strconv.Itoa(i))
		}
	}
	return c
}

// reachAll calls until every server has answered: then all are connected, also
// with a policy that connects when a key asks for it.
func (c *loopback) reachAll(b *testing.B) {
	seen, deadline := make(map[string]bool), time.Now().Add(30*time.Second)
	for i := 0; len(seen) < loopbackServers; i++ {
		var at peer.Peer
		if _, err := c.health.Check(c.contexts[i%len(c.contexts)], &healthpb.HealthCheckRequest{}, grpc.Peer(&at)); err != nil {
			b.Fatalf("%s: %v", c.of.label, err)
		}
		seen[at.Addr.String()] = true
		if time.Now().After(deadline) {
			b.Fatalf("%s: %d of %d servers answered", c.of.label, len(seen), loopbackServers)
		}
	}
}

// turn makes so many calls. The processor time has the servers' part in it.
func (c *loopback) turn(calls int) (metrics, error) {
	var (
		took    = make([]time.Duration, calls)
		next    atomic.Int64
		failed  atomic.Pointer[error]
		callers sync.WaitGroup
	)
	cpu, start := cpuTime(), time.Now()
	for range loopbackCallers {
		callers.Go(func() {
			for i := int(next.Add(1)) - 1; i < calls; i = int(next.Add(1)) - 1 {
				begun := time.Now()
				if _, err := c.health.Check(c.contexts[i%len(c.contexts)], &healthpb.HealthCheckRequest{}); err != nil {
					failed.Store(&err)
					return
				}
				took[i] = time.Since(begun)
			}
		})
	}
	callers.Wait()
	lasted, worked := time.Since(start), cpuTime()-cpu
	if err := failed.Load(); err != nil {
		return nil, *err
	}
	slices.Sort(took)
	return metrics{
		"calls/s":     float64(calls) / lasted.Seconds(),
		"p99-µs":      float64(took[calls*99/100].Nanoseconds()) / 1000,
		"cpu-ns/call": float64(worked.Nanoseconds()) / float64(calls),
	}, nil
}
