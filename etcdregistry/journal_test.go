package etcdregistry

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/steelyard-go/steelyard/attrs"
)

func TestJournal_LastLineOfAKeyIsItsState(t *testing.T) {
	var log logBuffer
	j := journal{logger: slog.New(slog.NewTextHandler(&log, nil))}
	one, other := &key{name: "payments/one"}, &key{name: "payments/other"}
	for _, key := range []*key{one, other} {
		j.become(key, registered, "")
	}
	j.become(one, suspect, "refused")
	j.become(one, registered, "")
	j.flush()
	lines := log.lines()
	require.Len(t, lines, 3)
	require.Contains(t, lines[0], "state=registered key=payments/one revision=0 others=1")
	require.Contains(t, lines[1], "state=suspect")
	require.Contains(t, lines[2], "state=registered key=payments/one")
	require.NotContains(t, lines[2], "others")
}

// The keep-alive hangs at a member for long, and the lease is renewed by other means.
func TestJournal_LeaseRenewedByOtherMeansIsSaidOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		var log logBuffer
		mustRegister(t, &s, Instance{}, WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		s.setFault(failing(errRefused, "renew"))
		pass(10 * time.Minute)
		s.setFault(nil)
		require.Len(t, log.lines(), 3, "registered, suspect, registered")
	})
}

func TestJournal_TroubleThatComesAndGoesIsNoStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const minutes = 2
		var s fakeStore
		var log logBuffer
		r := mustRegister(t, &s, Instance{}, WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		var puts atomic.Int32
		s.setFault(func(_ context.Context, call string) error {
			if call == "swap" && puts.Add(1)%2 == 0 {
				return errRefused
			}
			return nil
		})
		for i := range uint32(minutes * 600) {
			require.NoError(t, r.Update(t.Context(), attrs.Attrs{Weight: 1 + i}))
			pass(100 * time.Millisecond)
		}
		s.setFault(nil)
		require.LessOrEqual(t, len(log.lines()), 2*minutes*60/30*2)
		require.GreaterOrEqual(t, len(log.lines()), 2*minutes*60/30)
	})
}

func TestJournal_LogsCauseAndRevisionButNoStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		var log logBuffer
		r := mustRegister(t, &s, Instance{}, WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		synctest.Wait()
		s.setFault(down(errRefused))
		s.silence(s.key(testKey).lease)
		pass(10 * time.Minute)
		s.setFault(nil)
		pass(mostPause)
		mustClose(t, r)

		lines := log.lines()
		require.Less(t, len(lines), 30)
		require.Contains(t, lines[0], `level=INFO msg="etcd registration" state=registered key=payments/10.0.0.7:8080 revision=1 lease=0000000000001001`)
		require.Contains(t, lines[1], `level=WARN msg="etcd registration" state=reregistering`)
		require.Contains(t, lines[1], `cause="lost the lease: its keep-alive ended"`)
		require.Contains(t, lines[2], `cause="grant a lease: connection refused"`)
		require.Contains(t, lines[len(lines)-3], "registered")
		require.Contains(t, lines[len(lines)-2], "draining")
		require.Contains(t, lines[len(lines)-1], "closed")
	})
}
