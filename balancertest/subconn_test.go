package balancertest_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"

	"github.com/steelyard-go/steelyard/balancertest"
)

func TestNewSubConn_IsReadyAndItsOwn(t *testing.T) {
	a, b := balancertest.NewSubConn("a:1"), balancertest.NewSubConn("a:1")
	require.NotSame(t, a, b)
	require.Equal(t, "a:1", a.String())
	require.Equal(t, "a:1", a.Addresses()[0].Addr)
	require.Equal(t, connectivity.Ready, a.State())
	a.Connect()
	require.Equal(t, connectivity.Ready, a.State())
	a.Idle()
	a.Connect()
	a.Fail(errors.New("boom"))
	require.Equal(t, connectivity.TransientFailure, a.State())
	a.Shutdown()
	a.Connect() // a misuse, and nobody to tell
	require.Equal(t, connectivity.Shutdown, a.State())
}

// healthProbe is a policy that registers a health listener at each READY.
func healthProbe(hears *[]connectivity.State, inCall *bool) *probe {
	return &probe{onState: func(_ *probe, sc balancer.SubConn, s balancer.SubConnState) {
		switch s.ConnectivityState {
		default:
		case connectivity.Idle:
			sc.Connect()
		case connectivity.Ready:
			*inCall = true
			sc.RegisterHealthListener(func(s balancer.SubConnState) {
				if *inCall {
					s.ConnectivityState += 100
				}
				*hears = append(*hears, s.ConnectivityState)
			})
			*inCall = false
		}
	}}
}

func TestSubConn_FirstHealthComesInsideTheRegistration(t *testing.T) {
	var hears []connectivity.State
	c, _ := host(t, healthProbe(&hears, new(bool)))
	require.NoError(t, c.Update(endpoints("a")...))
	c.Ready("a")
	require.Equal(t, []connectivity.State{connectivity.Ready + 100}, hears)
}

func TestSubConn_QueuedHealthComesAfterTheCall(t *testing.T) {
	var hears []connectivity.State
	c, _ := host(t, healthProbe(&hears, new(bool)), balancertest.WithQueuedHealth())
	require.NoError(t, c.Update(endpoints("a")...))
	c.Ready("a")
	require.Equal(t, []connectivity.State{connectivity.Ready}, hears)
}

func TestSubConn_HealthIsForOneConnection(t *testing.T) {
	var hears []connectivity.State
	c, f := host(t, healthProbe(&hears, new(bool)), balancertest.WithQueuedHealth())
	require.NoError(t, c.Update(endpoints("a")...))
	sc := c.SubConn("a")
	sc.SetHealth(connectivity.Connecting, nil)
	require.Empty(t, hears, "not READY, so no listener")
	sc.Ready()
	sc.SetHealth(connectivity.TransientFailure, errors.New("sick"))
	sc.Idle()
	sc.SetHealth(connectivity.Ready, nil)
	require.Equal(t, []connectivity.State{connectivity.Connecting, connectivity.TransientFailure}, hears)
	sc.Ready()
	require.Equal(t, connectivity.Ready, hears[2])
	sc.RegisterHealthListener(nil)
	sc.SetHealth(connectivity.TransientFailure, nil)
	require.Len(t, hears, 3, "a nil listener drops the one before")
	require.Empty(t, f.all())
}

func TestSubConn_ANewHealthListenerTakesThePlaceOfTheOld(t *testing.T) {
	p := &probe{}
	c, _ := host(t, p)
	require.NoError(t, c.Update(endpoints("a")...))
	c.Ready("a")
	var first, second int
	sc := c.SubConn("a")
	sc.RegisterHealthListener(func(balancer.SubConnState) { first++ })
	sc.RegisterHealthListener(func(balancer.SubConnState) { second++ })
	sc.SetHealth(connectivity.Connecting, nil)
	require.Equal(t, [2]int{1, 2}, [2]int{first, second})
}
