package p2c

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	_ "google.golang.org/grpc/health/grpc_health_v1" // has a stream and a call
)

const (
	aCall   = "/grpc.health.v1.Health/Check"
	aStream = "/grpc.health.v1.Health/Watch"
)

func TestMethods_StreamsAreKnownByTheirDescriptors(t *testing.T) {
	var m methods
	for range 2 {
		for name, stream := range map[string]bool{
			aCall: false, aStream: true,
			"": false, "/": false, "//": false, "Health": false, "/grpc.health.v1.Health": false,
			"/grpc.health.v1.HealthCheckRequest/service": false, "/unknown.Service/Method": false, "/\xff/\x00": false,
		} {
			require.Equalf(t, stream, m.stream(name), "%q", name)
		}
	}
}

func TestMethods_TheNamesOfAProxyDoNotPileUp(t *testing.T) {
	var m methods
	require.True(t, m.stream(aStream))
	for i := range 2 * maxMethods {
		require.False(t, m.stream(fmt.Sprintf("/proxied.Service/Method%d", i)))
	}
	require.LessOrEqual(t, len(*m.known.Load()), maxMethods)
	require.True(t, m.stream(aStream), "what is known stays known")
}

func TestMethods_ManyAtOnce(t *testing.T) {
	var m methods
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for j := range 2000 {
				name, stream := aCall, false
				if (i+j)%2 == 0 {
					name, stream = aStream, true
				}
				if m.stream(name) != stream {
					t.Errorf("%s: want stream %t", name, stream)
				}
			}
		})
	}
	wg.Wait()
}

func TestMethods_KnownOnesAllocateNothing(t *testing.T) {
	var m methods
	m.stream(aStream)
	m.stream(aCall)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		m.stream(aStream)
		m.stream(aCall)
	}))
}
