package balancers_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/balancer/base"
	"google.golang.org/grpc/resolver"

	"github.com/steelyard-go/steelyard/attrs"
	"github.com/steelyard-go/steelyard/balancers"
	"github.com/steelyard-go/steelyard/balancertest"
)

// builderOf adapts a policy that notes its builds.
func builderOf(cfg testConfig, builds *[]build) base.PickerBuilder {
	return balancers.NewPickerBuilder(testPolicy, cfg, testDefaults, func() balancers.Policy[testConfig] {
		return func(cfg testConfig, s balancers.Snapshot) balancer.Picker {
			*builds = append(*builds, build{cfg, s})
			return &rotation{backends: s.Backends}
		}
	})
}

// readySet is what base hands to a picker builder.
func readySet(at map[string]attrs.Attrs) base.PickerBuildInfo {
	info := base.PickerBuildInfo{ReadySCs: make(map[balancer.SubConn]base.SubConnInfo)}
	for addr, a := range at {
		info.ReadySCs[balancertest.NewSubConn(addr)] = base.SubConnInfo{Address: attrs.SetAddress(resolver.Address{Addr: addr}, a)}
	}
	return info
}

func TestNewPickerBuilder_BuildsFromFakeConnections(t *testing.T) {
	var builds []build
	picker := builderOf(testConfig{Factor: 2}, &builds).Build(readySet(map[string]attrs.Attrs{
		"c": {}, "a": {Weight: 4, Zone: "eu-1a"}, "b": {Draining: true},
	}))
	got := builds[0]
	require.Equal(t, testConfig{Choices: 2, Load: "latency", Factor: 2}, got.cfg, "fields at zero take their defaults")
	require.Len(t, got.Backends, 2, "b drains")
	require.Equal(t, "a c", got.Backends[0].Address.Addr+" "+got.Backends[1].Address.Addr)
	require.Equal(t, attrs.Attrs{Weight: 4, Zone: "eu-1a"}, got.Backends[0].Attrs)
	require.EqualValues(t, 1, got.Backends[1].Attrs.Weight)
	require.Len(t, got.Members, 3)

	picked, err := picker.Pick(balancer.PickInfo{})
	require.NoError(t, err)
	require.Contains(t, []string{"a", "c"}, fmt.Sprint(picked.SubConn))
	picked.Done(balancer.DoneInfo{})
}

// Others may write a connection's fields meanwhile: not even an order among equal
// addresses is worth a look at them.
func TestNewPickerBuilder_DoesNotLookIntoConnections(t *testing.T) {
	info := base.PickerBuildInfo{ReadySCs: make(map[balancer.SubConn]base.SubConnInfo)}
	for range 10 {
		info.ReadySCs[&shySubConn{t: t}] = base.SubConnInfo{Address: resolver.Address{Addr: "a"}}
	}
	var builds []build
	builderOf(testConfig{}, &builds).Build(info)
	require.Len(t, builds[0].Backends, 10)
	require.Zero(t, builds[0].Backends[0].Session, "base does not tell")
}

// shySubConn fails the test that prints it.
type shySubConn struct {
	balancer.SubConn
	t *testing.T
}

func (s *shySubConn) String() string {
	s.t.Error("the connection was printed")
	return ""
}

func TestNewPickerBuilder_ARefusedConfigFailsThePicks(t *testing.T) {
	var builds []build
	_, err := builderOf(testConfig{Choices: 11}, &builds).Build(readySet(map[string]attrs.Attrs{"a": {}})).Pick(balancer.PickInfo{})
	require.EqualError(t, err, "steelyard_test: choices: got 11, want 2 to 10")
	require.Empty(t, builds)
}

func TestNewPickerBuilder_NothingReadyLetsCallsWait(t *testing.T) {
	var builds []build
	_, err := builderOf(testConfig{}, &builds).Build(base.PickerBuildInfo{}).Pick(balancer.PickInfo{})
	require.ErrorIs(t, err, balancer.ErrNoSubConnAvailable)
	require.Empty(t, builds)
}

func TestNewPickerBuilder_ServesUnderStockBase(t *testing.T) {
	var builds []build
	balancer.Register(base.NewBalancerBuilder("steelyard_test_base", builderOf(testConfig{}, &builds), base.Config{}))
	c := balancertest.NewChannel(t, "steelyard_test_base", "")
	require.NoError(t, c.UpdateState(resolver.State{Addresses: []resolver.Address{{Addr: "a"}, {Addr: "b"}}}))
	c.Ready("a", "b")
	require.Equal(t, []string{"a", "b"}, serving(c))
}
