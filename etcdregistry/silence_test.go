package etcdregistry

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSilence_OfTheKeepAliveIsSuspect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		var log logBuffer
		mustRegister(t, &s, Instance{}, WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		s.setFault(failing(errRefused, "renew", "renewOnce"))
		pass(testTTL / 2)
		lines := log.lines()
		require.Contains(t, lines[len(lines)-1], `msg="etcd registration" state=suspect`)
		require.Contains(t, lines[len(lines)-1], "no keep-alive answer for")
		s.setFault(nil)
		pass(testTTL)
		lines = log.lines()
		require.Contains(t, lines[len(lines)-1], `msg="etcd registration" state=registered`)
	})
}

// The stream of the keep-alive hangs at a member, the others answer: neither lease
// nor key is lost.
func TestSilence_KeepAliveIsRenewedByOtherMeans(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		r := mustRegister(t, &s, Instance{})
		s.setFault(failing(errRefused, "renew"))
		pass(10 * time.Minute)
		require.Empty(t, s.gaps())
		require.Equal(t, 1, s.leaseCount())
		require.Equal(t, "registered", r.Stats().State)
		require.LessOrEqual(t, s.count("renewOnce"), 2*60*10/10, "at most every TTL/2")
		require.Equal(t, 1, s.count("grant"), "the lease was replaced")
		require.Equal(t, 1, s.count("swap"))
		s.setFault(nil)
		pass(testTTL)
		before := s.count("renewOnce")
		pass(10 * time.Minute)
		require.Equal(t, before, s.count("renewOnce"), "the keep-alive was not resumed")

		lease := s.key(testKey).lease
		s.silence(lease)
		pass(spreadPause)
		require.NotEqual(t, lease, s.key(testKey).lease, "the end of the resumed keep-alive is not heard")
	})
}

// Every second of these renewals hangs as well, as at one of two members.
func TestSilence_HungMemberLeavesTimeForAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		mustRegister(t, &s, Instance{})
		var asked atomic.Int32
		s.setFault(func(ctx context.Context, call string) error {
			if call == "renew" || call == "renewOnce" && asked.Add(1)%2 == 1 {
				return hanging(ctx, call)
			}
			return nil
		})
		pass(10 * time.Minute)
		require.Empty(t, s.gaps())
	})
}

func TestSilence_RenewalEndsTheSuspicionAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := fakeStore{raiseTTL: time.Minute} // renewals at 20s, 40s, ...
		r := mustRegister(t, &s, Instance{})
		s.setFault(failing(errRefused, "renew", "renewOnce"))
		pass(30 * time.Second)
		require.Equal(t, "suspect", r.Stats().State)
		s.setFault(nil)
		pass(10 * time.Second)
		require.Equal(t, "registered", r.Stats().State)
	})
}
