package balancertest_test

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/resolver"
)

func TestChannel_StatesTakeTheWayOfARealConnection(t *testing.T) {
	boom := errors.New("boom")
	p := &probe{onState: func(_ *probe, sc balancer.SubConn, s balancer.SubConnState) {
		if s.ConnectivityState == connectivity.Idle {
			sc.Connect()
		}
	}}
	c, f := host(t, p)
	require.NoError(t, c.Update(endpoints("a")...))
	require.Equal(t, []string{"a CONNECTING"}, p.heard)
	for _, step := range []struct {
		name  string
		drive func()
		hears []string
	}{
		{"ready", func() { c.Ready("a") }, []string{"a READY"}},
		{"ready again", func() { c.Ready("a") }, nil},
		{"fail from ready", func() { c.Fail(boom, "a") }, []string{"a IDLE", "a CONNECTING", "a TRANSIENT_FAILURE"}},
		{"fail again", func() { c.Fail(boom, "a") }, []string{"a IDLE", "a CONNECTING", "a TRANSIENT_FAILURE"}},
		{"ready from failure", func() { c.Ready("a") }, []string{"a IDLE", "a CONNECTING", "a READY"}},
		{"idle", func() { c.Idle("a") }, []string{"a IDLE", "a CONNECTING"}},
		{"fail", func() { c.Fail(nil, "a") }, []string{"a TRANSIENT_FAILURE"}},
	} {
		t.Run(step.name, func(t *testing.T) {
			p.heard = nil
			step.drive()
			require.Equal(t, step.hears, p.heard)
		})
	}
	require.Empty(t, f.all())
}

func TestChannel_NothingIsHeardBeforeConnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the fake waits a while for the Connect
		p := &probe{onUpdate: func(p *probe, s balancer.ClientConnState) error {
			p.dial(s.ResolverState.Endpoints[0].Addresses[0])
			return nil
		}}
		c, f := host(t, p)
		require.NoError(t, c.Update(endpoints("a")...))
		require.Equal(t, connectivity.Idle, c.SubConn("a").State())
		c.Idle("a")
		c.Ready("a")
		require.Empty(t, p.heard)
		require.Equal(t, []string{"balancertest: a cannot become READY: the policy does not Connect it"}, f.all())
	})
}

func TestChannel_ReadyWaitsForAConnectThatComesLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &probe{onUpdate: func(p *probe, s balancer.ClientConnState) error {
			time.AfterFunc(time.Second, p.dial(s.ResolverState.Endpoints[0].Addresses[0]).Connect)
			return nil
		}}
		c, f := host(t, p)
		require.NoError(t, c.Update(endpoints("a")...))
		c.Ready("a")
		require.Equal(t, []string{"a CONNECTING", "a READY"}, p.heard)
		require.Empty(t, f.all())
	})
}

func TestChannel_ShutdownIsHeardOnceAndLast(t *testing.T) {
	p := &probe{}
	c, f := host(t, p)
	require.NoError(t, c.Update(endpoints("a")...))
	sc := c.SubConn("a")
	sc.Ready()
	p.heard = nil
	sc.Shutdown()
	sc.Shutdown()
	sc.Ready()
	sc.Idle()
	sc.Fail(nil)
	sc.SetHealth(connectivity.TransientFailure, nil)
	require.Equal(t, []string{"a SHUTDOWN"}, p.heard)
	require.Nil(t, c.SubConn("a"))
	require.Equal(t, 1, c.Created())
	require.Equal(t, 1, c.ShutDown())
	require.Empty(t, f.all())
}

func TestChannel_CallsFromTheListenerDoNotDeadlock(t *testing.T) {
	var mu sync.Mutex // as a policy's own, held whenever gRPC calls it and whenever it calls gRPC
	p := &probe{}
	p.onState = func(p *probe, sc balancer.SubConn, s balancer.SubConnState) {
		mu.Lock()
		defer mu.Unlock()
		p.cc.UpdateState(always(sc))
		p.cc.ResolveNow(resolver.ResolveNowOptions{})
		if s.ConnectivityState == connectivity.Ready {
			p.dial(resolver.Address{Addr: "another"}).Connect()
			sc.Shutdown()
		}
	}
	c, f := host(t, p)
	require.NoError(t, c.Update(endpoints("a", "b")...))
	c.Ready("a")
	require.Equal(t, []string{
		"a CONNECTING", "b CONNECTING", "a READY", "another CONNECTING", "a SHUTDOWN",
	}, p.heard)
	require.Equal(t, 5, c.Updates())
	require.Equal(t, 5, c.ResolveNows())
	require.Empty(t, f.all())
}

func TestChannel_ConnectFromATimerDoesNotRunTheListenerInline(t *testing.T) {
	var mu sync.Mutex
	heard := make(chan connectivity.State, 1)
	p := &probe{onUpdate: func(p *probe, _ balancer.ClientConnState) error {
		p.dial(resolver.Address{Addr: "a"})
		return nil
	}}
	p.onState = func(_ *probe, _ balancer.SubConn, s balancer.SubConnState) {
		mu.Lock()
		defer mu.Unlock()
		heard <- s.ConnectivityState
	}
	c, _ := host(t, p)
	require.NoError(t, c.Update(endpoints("a")...))
	mu.Lock()
	c.SubConn("a").Connect()
	mu.Unlock()
	require.Equal(t, connectivity.Connecting, <-heard)
}

func TestChannel_CloseIsTheLastThingAPolicyHears(t *testing.T) {
	p := &probe{}
	c, f := host(t, p)
	require.NoError(t, c.Update(endpoints("a")...))
	sc := c.SubConn("a")
	c.ResolverError(errors.New("gone"))
	c.ExitIdle()
	c.Close()
	c.Close()
	c.ExitIdle()
	sc.Shutdown()
	require.NoError(t, c.Update(endpoints("b")...))
	_, err := p.cc.NewSubConn([]resolver.Address{{Addr: "b"}}, balancer.NewSubConnOptions{})
	require.ErrorContains(t, err, "closed")
	require.Equal(t, []string{"a CONNECTING", "resolver error: gone", "exit idle", "close"}, p.heard)
	require.Empty(t, f.all())
}

func TestChannel_ListenerLessConnectionsSpeakThroughUpdateSubConnState(t *testing.T) {
	heard := make(map[string]connectivity.State)
	p := &probe{onUpdate: func(p *probe, s balancer.ClientConnState) error {
		sc, err := p.cc.NewSubConn(s.ResolverState.Endpoints[0].Addresses, balancer.NewSubConnOptions{})
		sc.Connect()
		return err
	}}
	p.Balancer = oldPolicy(heard)
	c, _ := host(t, p)
	require.NoError(t, c.Update(endpoints("a")...))
	c.Ready("a")
	require.Equal(t, map[string]connectivity.State{"a": connectivity.Ready}, heard)
}

// oldPolicy notes the states it hears by UpdateSubConnState.
type oldPolicy map[string]connectivity.State

func (p oldPolicy) UpdateSubConnState(sc balancer.SubConn, s balancer.SubConnState) {
	p[fmt.Sprint(sc)] = s.ConnectivityState
}
func (oldPolicy) UpdateClientConnState(balancer.ClientConnState) error { return nil }
func (oldPolicy) ResolverError(error)                                  {}
func (oldPolicy) Close()                                               {}
func (oldPolicy) ExitIdle()                                            {}

func TestChannel_BeforeTheFirstPickerCallsWait(t *testing.T) {
	c, _ := host(t, &probe{})
	require.Equal(t, connectivity.Connecting, c.State())
	_, err := c.Pick(t.Context())
	require.ErrorIs(t, err, balancer.ErrNoSubConnAvailable)
}

func TestChannel_APolicyThatEndsTheTestHangsNothing(t *testing.T) {
	var mu sync.Mutex // left locked
	p := &probe{onUpdate: func(*probe, balancer.ClientConnState) error {
		mu.Lock()
		runtime.Goexit() // as FailNow does
		return nil
	}}
	c, _ := host(t, p)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = c.Update(endpoints("a")...)
	}()
	<-ended
	c.ExitIdle()
	c.Close()
	require.Empty(t, p.heard, "it may hold a lock, so it is left alone")
}
