package balancers_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/serviceconfig"

	"github.com/steelyard-go/steelyard/balancers"
	"github.com/steelyard-go/steelyard/balancertest"
)

func TestFrame_ConfigIsReadOverTheDefaults(t *testing.T) {
	for _, tc := range []struct {
		text string
		want testConfig
	}{
		{"", testDefaults}, // no config at all, as by "loadBalancingPolicy" under some parents
		{"null", testDefaults},
		{"{}", testDefaults},
		{" {} ", testDefaults},
		{`{"unknown":[1,{"x":null}]}`, testDefaults},
		{`{"choices":null}`, testDefaults},
		{`{"choices":10}`, testConfig{Choices: 10, Load: "latency"}},
		{`{"load":"requests","factor":1.5,"strict":true}`, testConfig{Choices: 2, Load: "requests", Factor: 1.5, Strict: true}},
		{`{"slowStart":"1m30s"}`, testConfig{Choices: 2, Load: "latency", SlowStart: balancers.Duration(90 * time.Second)}},
		{`{"slowStart":"0s"}`, testDefaults},
	} {
		t.Run(tc.text, func(t *testing.T) {
			r := register()
			c := balancertest.NewChannel(t, testPolicy, tc.text)
			require.NoError(t, c.Update(plain("a")...))
			c.Ready("a")
			require.Equal(t, tc.want, r.last().cfg)
		})
	}
}

func TestFrame_BadConfigIsAnErrorThatSaysWhere(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		want       []string
	}{
		{"below the range", `{"choices":1}`, []string{"steelyard_test: choices: got 1, want 2 to 10"}},
		{"above the range", `{"choices":11}`, []string{"steelyard_test: choices: got 11, want 2 to 10"}},
		{"string for a number", `{"choices":"two"}`, []string{"steelyard_test: ", "choices", "string"}},
		{"fraction for a whole number", `{"choices":2.5}`, []string{"steelyard_test: ", "choices", "2.5"}},
		{"number for a duration", `{"slowStart":30}`, []string{"steelyard_test: slowStart: got 30, want a duration in quotes, such as \"30s\""}},
		{"no unit in a duration", `{"slowStart":"30"}`, []string{"steelyard_test: slowStart: got \"30\", want a duration"}},
		{"negative window", `{"slowStart":"-1s"}`, []string{`steelyard_test: slowStart: got "-1s", want "100ms" to "1h0m0s"`}},
		{"window too short", `{"slowStart":"30ms"}`, []string{`steelyard_test: slowStart: got "30ms", want "100ms" to`}},
		{"window too long", `{"slowStart":"61m"}`, []string{`steelyard_test: slowStart: got "1h1m0s", want`}},
		{"number for a string", `{"load":7}`, []string{"steelyard_test: ", "load", "number", "string"}},
		{"string for a bool", `{"strict":"yes"}`, []string{"steelyard_test: ", "strict", "string", "bool"}},
		{"object for a number", `{"factor":{}}`, []string{"steelyard_test: ", "factor", "object", "number"}},
		{"overflow", `{"choices":1e30}`, []string{"steelyard_test: ", "choices"}},
		{"array", `[]`, []string{"steelyard_test: ", "array", "object"}},
		{"number", `7`, []string{"steelyard_test: ", "number", "object"}},
		{"cut off", `{"choices":`, []string{"steelyard_test: ", "JSON"}},
		{"no JSON", `choices=2`, []string{"steelyard_test: ", "JSON"}},
		{"trailing text", `{} {}`, []string{"steelyard_test: ", "JSON"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, r := host(t)
			err := c.Configure(tc.text)
			for _, part := range tc.want {
				require.ErrorContains(t, err, part)
			}
			require.NotContains(t, err.Error(), "\n")
			require.NoError(t, c.Update(plain("a")...))
			c.Ready("a")
			require.Equal(t, testDefaults, r.last().cfg, "a refused config leaves the old one")
		})
	}
}

func TestFrame_ConfigChangesTheNextPickerAndKeepsAllElse(t *testing.T) {
	for _, n := range []int{2, 100} {
		bubble(t, func(t *testing.T) {
			c, r := host(t)
			addrs := names(n)
			require.NoError(t, c.Update(plain(addrs...)...))
			c.Ready(addrs...)
			pass(soon)
			load := r.member(addrs[0]).Load
			defer load.Begin()(balancer.DoneInfo{})
			require.NoError(t, c.Configure(`{"choices":7}`))
			require.Equal(t, 7, r.last().cfg.Choices)
			require.Equal(t, addrs, serving(c))
			require.Same(t, load, r.member(addrs[0]).Load)
			require.EqualValues(t, 1, load.InFlight())
			require.NoError(t, c.Configure(""))
			require.Equal(t, testDefaults, r.last().cfg, "a channel that lost its config is back on the defaults")
			require.Equal(t, 1, r.channels, "the policy keeps its memory")
			require.Equal(t, n, c.Created())
		})
	}
}

// strangeConfig is no policy's config.
type strangeConfig struct {
	serviceconfig.LoadBalancingConfig
}

func TestFrame_AnotherPolicysConfigIsAnErrorAndNoPanic(t *testing.T) {
	c, r := host(t)
	list := balancer.ClientConnState{ResolverState: resolver.State{Endpoints: plain("a")}}
	require.NoError(t, c.UpdateClientConnState(list))
	c.Ready("a")

	// The same type, from a sister policy.
	balancers.Register("steelyard_test_sister", testDefaults, func(testConfig, []balancers.Backend) balancer.Picker { return nil })
	sister, err := balancer.Get("steelyard_test_sister").(balancer.ConfigParser).ParseConfig([]byte(`{"choices":9}`))
	require.NoError(t, err)
	for _, foreign := range []serviceconfig.LoadBalancingConfig{strangeConfig{}, &strangeConfig{}, sister} {
		list.BalancerConfig = foreign
		require.ErrorContains(t, c.UpdateClientConnState(list), "steelyard_test: ")
		require.Equal(t, []string{"a"}, serving(c), "what was good before goes on")
		require.Equal(t, testDefaults, r.last().cfg)
	}
}

func TestFrame_AnotherPolicysConfigAtTheStartFailsCallsWithTheReason(t *testing.T) {
	c, _ := host(t)
	err := c.UpdateClientConnState(balancer.ClientConnState{
		ResolverState:  resolver.State{Endpoints: plain("a")},
		BalancerConfig: strangeConfig{},
	})
	require.Error(t, err)
	require.Equal(t, connectivity.TransientFailure, c.State())
	_, err = c.Pick(t.Context())
	require.ErrorContains(t, err, "config of another policy")
}

func TestServiceConfig_RendersWhatGRPCReads(t *testing.T) {
	register()
	require.JSONEq(t, `{"loadBalancingConfig":[{"steelyard_test":{"choices":3}}]}`,
		balancers.ServiceConfig(testPolicy, testConfig{Choices: 3}))
	require.JSONEq(t, `{"loadBalancingConfig":[{"steelyard_test":{}}]}`,
		balancers.ServiceConfig(testPolicy, testConfig{}))
}

func TestRegister_TenLinesMakeAPolicy(t *testing.T) {
	type none struct{}
	balancers.Register("steelyard_test_first", none{}, func(_ none, backends []balancers.Backend) balancer.Picker {
		return &rotation{backends: backends[:1]}
	})
	c := balancertest.NewChannel(t, "steelyard_test_first", "{}")
	require.NoError(t, c.Update(plain("b", "a", "c")...))
	c.Ready("b")
	require.Equal(t, []string{"b"}, serving(c))
	c.Ready("c", "a")
	require.Equal(t, []string{"a"}, serving(c))
	c.Fail(errors.New("refused"), "a")
	require.Equal(t, []string{"b"}, serving(c))
}

func FuzzFrame_ConfigNeverPanics(f *testing.F) {
	for _, seed := range []string{"", "null", "{}", `{"choices":3}`, `{"choices":1}`, `{"load":7}`, `[]`, `{"factor":1e999}`, "{\"load\":\"\xff\"}"} {
		f.Add([]byte(seed))
	}
	register()
	parser := balancer.Get(testPolicy).(balancer.ConfigParser)
	f.Fuzz(func(t *testing.T, text []byte) {
		cfg, err := parser.ParseConfig(text)
		if (err == nil) != (cfg != nil) {
			t.Fatalf("ParseConfig(%q): got %v and %v, want one of them", text, cfg, err)
		}
		if err != nil {
			require.ErrorContains(t, err, "steelyard_test: ")
		}
	})
}
