package balancers_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/resolver"

	"github.com/steelyard-go/steelyard/attrs"
	"github.com/steelyard-go/steelyard/balancers"
	"github.com/steelyard-go/steelyard/balancertest"
)

// These tests see the frame from outside: small policies run on it, on fake
// channels. Most run in a synctest bubble, where time passes at once and "soon"
// is exact.

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testPolicy is the name under which the tests register their policy.
const testPolicy = "steelyard_test"

// soon is how long an addition to a long list may take to reach the picker. A
// departure may take no time at all.
const soon = 20 * time.Millisecond

// testConfig has a field of each kind.
type testConfig struct {
	Choices int     `json:"choices,omitempty"`
	Load    string  `json:"load,omitempty"`
	Factor  float64 `json:"factor,omitempty"`
	Strict  bool    `json:"strict,omitempty"`

	SlowStart balancers.Duration `json:"slowStart,omitempty"`
}

func (c testConfig) SlowStartWindow() time.Duration { return time.Duration(c.SlowStart) }

var testDefaults = testConfig{Choices: 2, Load: "latency"}

func (c testConfig) Validate() error {
	if c.Choices < 2 || c.Choices > 10 {
		return fmt.Errorf("choices: got %d, want 2 to 10", c.Choices)
	}
	return nil
}

// build is what the policy was given once.
type build struct {
	cfg testConfig
	balancers.Snapshot
}

// recorder notes what the frame asks of the test policy.
type recorder struct {
	mu       sync.Mutex
	channels int // times newPolicy was called
	builds   []build
	backends int // sum of the backends over all builds, the cost of building
}

func (r *recorder) last() build {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.builds[len(r.builds)-1]
}

func (r *recorder) count() (builds, backends int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.builds), r.backends
}

// member returns the latest view of the endpoint addr.
func (r *recorder) member(addr string) balancers.Backend {
	for _, b := range r.last().Members {
		if b.Address.Addr == addr {
			return b
		}
	}
	return balancers.Backend{}
}

// rotation is the test policy's picker: every backend in turn, each call counted.
type rotation struct {
	backends []balancers.Backend
	next     atomic.Uint64
}

func (p *rotation) Pick(balancer.PickInfo) (balancer.PickResult, error) {
	b := p.backends[p.next.Add(1)%uint64(len(p.backends))]
	return balancer.PickResult{SubConn: b.SubConn, Done: b.Load.Begin()}, nil
}

// register makes the test policy available anew and returns what it notes.
func register() *recorder {
	r := &recorder{}
	balancers.RegisterPolicy(testPolicy, testDefaults, func() balancers.Policy[testConfig] {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.channels++
		return func(cfg testConfig, s balancers.Snapshot) balancer.Picker {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.builds = append(r.builds, build{cfg, s})
			r.backends += len(s.Backends)
			return &rotation{backends: s.Backends}
		}
	})
	return r
}

// host returns a channel with the test policy and without a config.
func host(t *testing.T, opts ...balancertest.Option) (*balancertest.Channel, *recorder) {
	t.Helper()
	r := register()
	return balancertest.NewChannel(t, testPolicy, "", opts...), r
}

// bubble runs test where time is fake.
func bubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, test)
}

// pass lets d go by, and all that happens within.
func pass(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // only used in a bubble, where time is fake
	synctest.Wait()
}

func endpoint(a attrs.Attrs, addrs ...string) resolver.Endpoint {
	e := resolver.Endpoint{}
	for _, addr := range addrs {
		e.Addresses = append(e.Addresses, resolver.Address{Addr: addr})
	}
	return attrs.Set(e, a)
}

// plain returns an endpoint without attributes for each address.
func plain(addrs ...string) []resolver.Endpoint {
	list := make([]resolver.Endpoint, len(addrs))
	for i, addr := range addrs {
		list[i] = endpoint(attrs.Attrs{}, addr)
	}
	return list
}

// names returns n addresses in ascending order.
func names(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("b%05d", i)
	}
	return list
}

// serving returns the addresses that calls go to now, sorted; nil when calls
// wait or fail. The test's lists have at most 100 backends where this is used.
func serving(c *balancertest.Channel) []string {
	seen := make(map[string]bool)
	for range 200 {
		picked, err := c.Pick(context.Background())
		if err != nil {
			return nil
		}
		seen[fmt.Sprint(picked.SubConn)] = true
		picked.Done(balancer.DoneInfo{})
	}
	return slices.Sorted(maps.Keys(seen))
}
