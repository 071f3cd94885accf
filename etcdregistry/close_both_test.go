package etcdregistry

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

func TestCloseOfOne_AfterAFailedCloseOfAllSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		g := mustRegistrar(t, &s)
		r := mustJoin(t, g, testAddr)
		s.setFault(failing(errRefused, "revoke"))
		require.ErrorIs(t, g.Close(t.Context()), errRefused)
		require.NotZero(t, s.key(testKey).lease, "the key stands")
		require.ErrorIs(t, r.Close(t.Context()), errRefused)
		pass(2 * testTTL) // the lease runs out in the bubble's time
	})
}

func TestCloseOfOne_BesideCloseOfAllWaitsUntilTheKeyIsGone(t *testing.T) {
	for _, later := range []time.Duration{0, defaultDrainDelay / 2, defaultDrainDelay + time.Second/2} { // at once, in the drain, in the revoke
		synctest.Test(t, func(t *testing.T) {
			var s fakeStore
			g := mustRegistrar(t, &s)
			r := mustJoin(t, g, testAddr)
			s.setFault(func(_ context.Context, call string) error {
				if call == "revoke" {
					<-time.After(time.Second)
				}
				return nil
			})
			go func() { _ = g.Close(context.Background()) }()
			pass(later)
			mustClose(t, r)
			require.Zero(t, s.key(testKey), "Close returned nil while the key stood")
		})
	}
}

// The key was deleted, and that is what counts.
func TestCloseOfOne_HungRevokeIsNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		r := mustJoin(t, mustRegistrar(t, &s, WithTTL(20*time.Second)), testAddr)
		s.setFault(func(ctx context.Context, call string) error {
			if call == "revoke" {
				return hanging(ctx, call)
			}
			return nil
		})
		mustClose(t, r)
		require.Zero(t, s.key(testKey))
	})
}

// The choice between the answer and the end of the limit would be a matter of luck.
func TestCloseOfOne_DeafHealthServiceIsNoFailure(t *testing.T) {
	for range 10 {
		synctest.Test(t, func(t *testing.T) {
			var s fakeStore
			end := make(chan struct{})
			server := watchFunc(func(stream healthpb.Health_WatchServer) error {
				_ = stream.Send(&healthpb.HealthCheckResponse{Status: serving})
				<-end // and ignores its context
				return errors.New("ended")
			})
			r := mustJoin(t, mustRegistrar(t, &s), testAddr, WithHealth(server, ""))
			err := r.Close(t.Context())
			close(end)
			require.NoError(t, err)
		})
	}
}

// The mark of the second would come after the key is gone.
func TestCloseOfAll_BesideTheRemovalOfOneDoesNotWaitForAMark(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		g := mustRegistrar(t, &s, WithDrainDelay(0))
		r := mustJoin(t, g, testAddr)
		synctest.Wait()
		removing := make(chan struct{})
		var asked atomic.Int32
		s.setFault(func(_ context.Context, call string) error {
			switch {
			case call != "remove":
			case asked.Add(1) == 1:
				return errRefused
			default:
				close(removing)
				<-time.After(leastPause / 5)
			}
			return nil
		})
		go func() { _ = r.Close(context.Background()) }()
		<-removing
		begin := time.Now()
		require.NoError(t, g.Close(t.Context()))
		require.Less(t, time.Since(begin), leastPause)
	})
}
