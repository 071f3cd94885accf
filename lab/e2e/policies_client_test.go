package e2e

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/steelyard-go/steelyard/attrs"
	_ "github.com/steelyard-go/steelyard/balancers/all"
)

// Waiting for something is given up after waitLimit.
const (
	waitLimit    = 30 * time.Second
	pollInterval = 5 * time.Millisecond
)

// keyHeader is the header by whose value steelyard_consistent_hash maps the
// calls of these tests.
const keyHeader = "x-key"

// underTest is one policy as these tests configure it.
type underTest struct {
	name   string // of the policy
	config string
	// slack is by how many calls a backend's count may differ from its share
	// by weight, or from an even share if the policy is unweighted. Without it
	// nothing is promised but that every backend gets some.
	slack      func(share float64) float64
	unweighted bool
	// serial policies go by the calls in flight: their shares are the weights
	// while there is one call at a time.
	serial bool
}

var (
	roundRobin     = underTest{name: "steelyard_round_robin", config: `{}`, slack: exactly(1), unweighted: true}
	weightedRandom = underTest{name: "steelyard_weighted", config: `{"schedule":"random"}`, slack: roughly(0)}
	weightedSmooth = underTest{name: "steelyard_weighted", config: `{"schedule":"smooth"}`, slack: exactly(2)}
	p2cRequests    = underTest{name: "steelyard_p2c", config: `{"load":"requests"}`, slack: roughly(0.15), serial: true}
	consistentHash = underTest{
		name: "steelyard_consistent_hash", config: `{"requestHashHeader":"` + keyHeader + `"}`,
		slack: roughly(0.3), // the keys are not shared out by chance, and addresses differ from run to run
	}

	// p2cLatency goes by latencies as they happen to be on a busy machine.
	p2cLatency = underTest{name: "steelyard_p2c", config: `{}`}
)

func exactly(calls float64) func(float64) float64 {
	return func(float64) float64 { return calls }
}

// roughly allows for five standard deviations of a draw, which chance exceeds
// once in millions, and for a systematic error on top.
func roughly(systematic float64) func(float64) float64 {
	return func(share float64) float64 { return systematic*share + 5*math.Sqrt(share) }
}

// lb is the policy's entry in a loadBalancingConfig or childPolicy list.
func (p underTest) lb() string { return fmt.Sprintf(`{%q:%s}`, p.name, p.config) }

func (p underTest) serviceConfig() string {
	return `{"loadBalancingConfig":[` + p.lb() + `]}`
}

// forEachPolicy runs test under each policy, in its variants, if it has any.
func forEachPolicy(t *testing.T, test func(t *testing.T, p underTest)) {
	t.Helper()
	forEach(t, []underTest{roundRobin, weightedRandom, weightedSmooth, p2cLatency, p2cRequests, consistentHash}, test)
}

func forEach(t *testing.T, policies []underTest, test func(t *testing.T, p underTest)) {
	t.Helper()
	for _, p := range policies {
		t.Run(p.lb(), func(t *testing.T) {
			t.Parallel() // most of the time they wait
			test(t, p)
		})
	}
}

// policyClient is a channel to the test service. Every call has another key.
type policyClient struct {
	conn *grpc.ClientConn
	keys atomic.Int64
}

// dialPolicy makes a channel that reconnects fast and is closed with the test.
func dialPolicy(tb testing.TB, target, serviceConfig string, opts ...grpc.DialOption) *policyClient {
	tb.Helper()
	conn, err := grpc.NewClient(target, append([]grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(serviceConfig),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1.5, MaxDelay: 100 * time.Millisecond},
			MinConnectTimeout: 5 * time.Second,
		}),
	}, opts...)...)
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = conn.Close() })
	conn.Connect()
	return &policyClient{conn: conn}
}

// dialManual is dialPolicy with a resolver that starts with the given state.
func dialManual(tb testing.TB, state resolver.State, serviceConfig string, opts ...grpc.DialOption) (*policyClient, *manual.Resolver) {
	tb.Helper()
	r := manual.NewBuilderWithScheme("manual")
	r.InitialState(state)
	return dialPolicy(tb, r.Scheme()+":///test", serviceConfig, append(opts, grpc.WithResolvers(r))...), r
}

// endpointsOf lists servers with the attributes given for them, none for those
// at the end that have none.
func endpointsOf(servers []*policyServer, at ...attrs.Attrs) resolver.State {
	list := make([]resolver.Endpoint, len(servers))
	for i, s := range servers {
		list[i].Addresses = []resolver.Address{{Addr: s.addr}}
		if i < len(at) {
			list[i] = attrs.Set(list[i], at[i])
		}
	}
	return resolver.State{Endpoints: list}
}

// callLimit bounds what any one call may wait, on however busy a machine.
const callLimit = 2 * time.Minute

// policyContext ends with the test or after callLimit.
func policyContext(tb testing.TB) context.Context {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), callLimit)
	tb.Cleanup(cancel)
	return ctx
}

// call makes one unary call, with a key that no other call of c has, and
// returns the address of the server that answered.
func (c *policyClient) call(ctx context.Context, opts ...grpc.CallOption) (addr string, err error) {
	return c.callKey(ctx, strconv.FormatInt(c.keys.Add(1), 36), opts...)
}

func (c *policyClient) callKey(ctx context.Context, key string, opts ...grpc.CallOption) (addr string, err error) {
	var reply wrapperspb.StringValue
	err = c.conn.Invoke(metadata.AppendToOutgoingContext(ctx, keyHeader, key), whoMethod, new(emptypb.Empty), &reply, opts...)
	return reply.GetValue(), err
}

// fewWorkers is how many calls are made at a time where it does not matter.
const fewWorkers = 10

// spread makes calls, a few at a time, and counts the answers of each server.
func (c *policyClient) spread(tb testing.TB, calls int) map[string]int {
	tb.Helper()
	return c.spreadParallel(tb, calls, fewWorkers)
}

// spreadParallel is spread with calls by so many workers, in equal parts.
func (c *policyClient) spreadParallel(tb testing.TB, calls, workers int) map[string]int {
	tb.Helper()
	var (
		ctx     = policyContext(tb)
		mu      sync.Mutex
		counts  = make(map[string]int)
		failure error
		running sync.WaitGroup
	)
	for range workers {
		running.Go(func() {
			own := make(map[string]int)
			var err error
			for range calls / workers {
				var addr string
				if addr, err = c.call(ctx); err != nil {
					break
				}
				own[addr]++
			}
			mu.Lock()
			defer mu.Unlock()
			for addr, n := range own {
				counts[addr] += n
			}
			if err != nil {
				failure = err
			}
		})
	}
	running.Wait()
	require.NoError(tb, failure)
	return counts
}

// awaitAll calls until each of the servers has answered: then the policy has
// connected to all of them.
func (c *policyClient) awaitAll(tb testing.TB, servers []*policyServer) {
	tb.Helper()
	missing := make(map[string]bool)
	for _, s := range servers {
		missing[s.addr] = true
	}
	require.Eventuallyf(tb, func() bool {
		for addr := range c.spread(tb, 2*fewWorkers) {
			delete(missing, addr)
		}
		return len(missing) == 0
	}, waitLimit, pollInterval, "no answer from %v", missing)
}

// awaitNone calls until quiet successful calls in a row were not answered by
// server. Calls that fail, as they may while trouble is being noticed, count
// as answered by it.
func (c *policyClient) awaitNone(tb testing.TB, server *policyServer, quiet int) {
	tb.Helper()
	ctx := policyContext(tb)
	deadline := time.Now().Add(waitLimit)
	for inRow := 0; inRow < quiet; inRow++ {
		if addr, err := c.call(ctx); err != nil || addr == server.addr {
			inRow = 0
		}
		require.Truef(tb, time.Now().Before(deadline), "%s still gets calls", server.addr)
	}
}
