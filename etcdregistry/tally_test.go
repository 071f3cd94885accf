package etcdregistry

import (
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestStats_AreTheSumAndTheWorst(t *testing.T) {
	good, bad := &key{}, &key{}
	good.tally = tally{state: registered, counts: Stats{Puts: 1, LeasesLost: 2, KeysLost: 3, KeysTakenBack: 4, Conflicts: 5}}
	bad.tally = tally{state: suspect, counts: Stats{Puts: 10, LeasesLost: 20, KeysLost: 30, KeysTakenBack: 40, Conflicts: 50}}
	past := Stats{Puts: 100, LeasesLost: 200, KeysLost: 300, KeysTakenBack: 400, Conflicts: 500}
	want := Stats{
		Registrations: 2, State: "suspect",
		Puts: 111, LeasesLost: 222, KeysLost: 333, KeysTakenBack: 444, Conflicts: 555,
	}
	var k keeper
	require.Equal(t, want, k.stats(past, good, bad))
	require.Equal(t, want, k.stats(past, bad, good))
	require.Equal(t, "closed", k.stats(past).State)
}

func TestJournal_PeaceIsOneLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fakeStore
		var log logBuffer
		mustRegister(t, &s, Instance{}, WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		pass(time.Hour)
		require.Len(t, log.lines(), 1)
	})
}
