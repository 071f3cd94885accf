package etcdregistry

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

// The counts of a registration that closes are not missed while they move to the sum.
func TestStats_OnlyGrow(t *testing.T) {
	var s fakeStore
	g := mustRegistrar(t, &s, WithDrainDelay(0))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 300 {
			r, err := g.Register(t.Context(), testService, Instance{Addr: testAddr})
			if err == nil {
				err = r.Close(t.Context())
			}
			if err != nil {
				t.Error(err)
				return
			}
		}
	}()
	for last := 0; ; {
		puts := g.Stats().Puts
		require.GreaterOrEqual(t, puts, last)
		last = puts
		select {
		case <-done:
			return
		default:
		}
	}
}

func TestStats_AgeOfTheRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		r := mustRegister(t, &s, Instance{})
		s.setFault(failing(errRefused, "renew", "renewOnce"))
		pass(testTTL * 3 / 4)
		require.Equal(t, testTTL*3/4, r.Stats().RenewalAge)
		require.Equal(t, "suspect", r.Stats().State)
		mustClose(t, r)
		require.Zero(t, r.Stats().RenewalAge)
		require.Equal(t, "closed", r.Stats().State)
	})
}
