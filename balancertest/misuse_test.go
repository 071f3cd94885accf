package balancertest_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/balancer/base"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/resolver"

	"github.com/steelyard-go/steelyard/balancertest"
)

func TestChannel_MisuseFailsTheTest(t *testing.T) {
	address := resolver.Address{Addr: "a"}
	noop := func(balancer.SubConnState) {}
	for _, tc := range []struct {
		name   string
		misuse func(p *probe, c *balancertest.Channel)
		want   string
	}{
		{"no address", func(p *probe, _ *balancertest.Channel) {
			_, err := p.cc.NewSubConn(nil, balancer.NewSubConnOptions{})
			require.Error(t, err)
		}, "balancertest: NewSubConn without an address"},
		{"connect after shutdown", func(p *probe, _ *balancertest.Channel) {
			sc := p.dial(address)
			sc.Shutdown()
			sc.Connect()
		}, "balancertest: Connect on a after its Shutdown"},
		{"update after close", func(p *probe, c *balancertest.Channel) {
			c.Close()
			p.cc.UpdateState(always(nil))
		}, "balancertest: UpdateState(READY) after Close"},
		{"no picker", func(p *probe, _ *balancertest.Channel) {
			p.cc.UpdateState(balancer.State{})
		}, "balancertest: UpdateState(IDLE) without a picker"},
		{"health listener when not ready", func(p *probe, c *balancertest.Channel) {
			p.dial(address).RegisterHealthListener(func(balancer.SubConnState) { t.Error("called") })
			c.SubConn("a").SetHealth(connectivity.Ready, nil)
		}, "balancertest: RegisterHealthListener on a, which is not READY"},
		{"health listener in a health listener", func(p *probe, c *balancertest.Channel) {
			sc := p.dial(address)
			sc.Connect()
			c.Ready("a")
			sc.RegisterHealthListener(func(balancer.SubConnState) { sc.RegisterHealthListener(noop) })
		}, "balancertest: RegisterHealthListener on a from within its health listener"},
		{"foreign connection", func(p *probe, c *balancertest.Channel) {
			p.cc.UpdateState(always(balancertest.NewSubConn("other")))
			_, err := c.Pick(t.Context())
			require.NoError(t, err)
		}, "balancertest: the picker returned other (*balancertest.SubConn), which is no connection of this channel"},
		{"no connection", func(p *probe, c *balancertest.Channel) {
			p.cc.UpdateState(always(nil))
			_, err := c.Pick(t.Context())
			require.NoError(t, err)
		}, "balancertest: the picker returned <nil> (<nil>), which is no connection of this channel"},
		{"remove", func(p *probe, _ *balancertest.Channel) {
			//nolint:staticcheck // deprecated, which is the point
			p.cc.RemoveSubConn(p.dial(address))
		}, "balancertest: RemoveSubConn(a): use SubConn.Shutdown"},
		{"new addresses by the channel", func(p *probe, _ *balancertest.Channel) {
			//nolint:staticcheck // deprecated, which is the point
			p.cc.UpdateAddresses(p.dial(address), nil)
		}, "balancertest: UpdateAddresses(a): make a new SubConn"},
		{"new addresses", func(p *probe, _ *balancertest.Channel) {
			//nolint:staticcheck // deprecated, which is the point
			p.dial(address).UpdateAddresses(nil)
		}, "balancertest: UpdateAddresses on a: make a new SubConn"},
		{"producer", func(p *probe, _ *balancertest.Channel) {
			_, done := p.dial(address).GetOrBuildProducer(nil)
			done()
		}, "balancertest: GetOrBuildProducer on a: a fake connection has no producers"},
		{"driving what is not there", func(_ *probe, c *balancertest.Channel) {
			c.Ready("z")
		}, "balancertest: the policy has no connection to z"},
		{"counting picks that fail", func(p *probe, c *balancertest.Channel) {
			p.cc.UpdateState(balancer.State{Picker: base.NewErrPicker(errors.New("no"))})
			require.Empty(t, c.Count(t.Context(), 3))
		}, "balancertest: pick: no"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := &probe{}
			c, f := host(t, p)
			tc.misuse(p, c)
			require.Equal(t, []string{tc.want}, f.all())
		})
	}
}
