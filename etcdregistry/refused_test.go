package etcdregistry

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

func TestRefused_RegistrationLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		g := mustRegistrar(t, &s)
		s.setFault(failing(rpctypes.ErrPermissionDenied, "holder"))
		for range 2 { // the second is refused for the same reason
			_, err := g.Register(t.Context(), testService, Instance{Addr: testAddr})
			require.ErrorIs(t, err, rpctypes.ErrPermissionDenied)
			asked := s.count("holder")
			pass(time.Hour)
			require.Equal(t, asked, s.count("holder"), "it still asks")
			require.Zero(t, s.leaseCount())
			require.Zero(t, g.Stats().Registrations)
		}
	})
}

// Each key is asked for every few seconds, not whenever another is.
func TestRefused_KeysThatStandAreNoStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const many, minutes = 100, 1
		var s fakeStore
		g := mustRegistrar(t, &s)
		for i := range many {
			mustJoin(t, g, fmt.Sprintf("10.0.0.7:%d", 1+i))
		}
		s.setFault(failing(rpctypes.ErrPermissionDenied, "holder"))
		pass(testTTL)
		before := s.count("holder")
		pass(minutes * time.Minute)
		asked := time.Duration(s.count("holder") - before)
		require.GreaterOrEqual(t, minutes*time.Minute*many/asked, mostPause/2)
		s.setFault(nil)
		pass(mostPause)
		require.Equal(t, "registered", g.Stats().State)
	})
}
