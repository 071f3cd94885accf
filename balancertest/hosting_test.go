package balancertest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/balancer"
	_ "google.golang.org/grpc/balancer/leastrequest" // hosted below
	_ "google.golang.org/grpc/balancer/roundrobin"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/serviceconfig"

	"github.com/steelyard-go/steelyard/balancertest"
)

// configured is a policy with a config, which is any JSON but false.
type configured struct {
	probeBuilder
}

type config struct {
	serviceconfig.LoadBalancingConfig
	text string
}

func (configured) Name() string { return "balancertest_configured" }

func (configured) ParseConfig(text json.RawMessage) (serviceconfig.LoadBalancingConfig, error) {
	if string(text) == "false" {
		return nil, errors.New("false is no config")
	}
	return config{text: string(text)}, nil
}

func TestChannel_ConfigComesWithTheListAndListsKeepIt(t *testing.T) {
	var seen []string
	p := &probe{onUpdate: func(_ *probe, s balancer.ClientConnState) error {
		text := "none"
		if cfg, ok := s.BalancerConfig.(config); ok {
			text = cfg.text
		}
		seen = append(seen, fmt.Sprint(text, len(s.ResolverState.Endpoints)))
		return nil
	}}
	balancer.Register(configuredBuilder(p))
	c := balancertest.NewChannel(t, "balancertest_configured", "")
	require.NoError(t, c.Configure(`{}`))
	require.Empty(t, seen, "no list yet")
	require.NoError(t, c.Update(endpoints("a")...))
	require.NoError(t, c.Update(endpoints("a", "b")...))
	require.NoError(t, c.Configure(`null`))
	require.ErrorContains(t, c.Configure(`false`), "false is no config")
	require.NoError(t, c.Configure(""))
	require.NoError(t, c.UpdateClientConnState(balancer.ClientConnState{BalancerConfig: config{text: "odd"}}))
	require.Equal(t, []string{"{}1", "{}2", "null2", "none2", "odd0"}, seen)
}

func configuredBuilder(p *probe) balancer.Builder { return configured{probeBuilder{p}} }

func TestChannel_HostsStockPolicies(t *testing.T) {
	for _, tc := range []struct{ policy, config string }{
		{"round_robin", ""},
		{"least_request_experimental", "{}"},
	} {
		t.Run(tc.policy, func(t *testing.T) {
			c := balancertest.NewChannel(t, tc.policy, tc.config, balancertest.WithQueuedHealth())
			require.NoError(t, c.Update(endpoints("a", "b", "c")...))
			c.Ready("a", "b", "c")
			require.Equal(t, connectivity.Ready, c.State())
			require.Len(t, c.Count(t.Context(), 100), 3)
			c.SubConn("a").SetHealth(connectivity.TransientFailure, errors.New("sick"))
			require.NotContains(t, c.Count(t.Context(), 100), "a")
			c.Fail(errors.New("boom"), "b")
			require.Equal(t, map[string]int{"c": 10}, c.Count(t.Context(), 10))
		})
	}
}

func TestChannel_ManyAtOnce(t *testing.T) {
	c := balancertest.NewChannel(t, "round_robin", "", balancertest.WithQueuedHealth())
	require.NoError(t, c.Update(endpoints("a", "b", "c")...))
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	var wg sync.WaitGroup
	repeat := func(act func(i int)) {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				act(i)
			}
		})
	}
	for _, addr := range []string{"a", "b", "a"} {
		repeat(func(int) { c.SubConn(addr).Ready() })
		repeat(func(int) { c.SubConn(addr).Fail(nil) })
	}
	repeat(func(i int) { c.SubConn("b").SetHealth(connectivity.State(1+i%3), nil) })
	repeat(func(i int) {
		if err := c.Update(endpoints([]string{"a", "b", "c"}[:2+i%2]...)...); err != nil {
			t.Errorf("update: %v", err)
		}
	})
	repeat(func(int) {
		if result, err := c.Pick(ctx); err == nil && result.Done != nil {
			result.Done(balancer.DoneInfo{})
		}
	})
	wg.Wait()
}
