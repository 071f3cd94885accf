package e2e

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/steelyard-go/steelyard/etcdresolver"
)

// flow waits until calls reach exactly these servers. From then on there is traffic.
func (s *scene) flow(servers ...*policyServer) {
	s.Helper()
	_, ok := s.await(setup, servers)
	s.report.never = s.report.never || !ok
}

// reach requires that within limit calls reach exactly these servers, and measures
// the time until they do. If there is no traffic yet, there is from then on.
func (s *scene) reach(limit time.Duration, servers ...*policyServer) {
	s.Helper()
	took, ok := s.await(limit, servers)
	s.note(limit, took, ok, "reached")
}

func (s *scene) await(limit time.Duration, servers []*policyServer) (took time.Duration, ok bool) {
	s.Helper()
	begun, first := time.Now(), s.traffic == nil
	if first {
		s.traffic = startSteadyTraffic(s.channel)
		traffic := s.traffic
		s.Cleanup(func() { traffic.stop() })
	}
	at, ok := s.traffic.awaitReach(begun, s.wait(limit), servers)
	if first {
		s.traffic.counts(at)
	}
	if s.under.asserted {
		require.True(s, ok, "not reached within %v: want %v, got %v; log:\n%s",
			limit, addrsOf(servers), s.traffic.last(rounds*len(servers)), s.log())
	}
	return at.Sub(begun), ok
}

// within requires that f returns within limit, and measures it.
func (s *scene) within(limit time.Duration, what string, f func()) {
	s.Helper()
	begun, done := time.Now(), make(chan struct{})
	go func() { defer close(done); f() }()
	ok := true
	select {
	case <-done:
	case <-time.After(s.wait(limit)):
		ok = false
	}
	s.note(limit, time.Since(begun), ok, what)
	if s.under.asserted {
		require.True(s, ok, "%s: not within %v; log:\n%s", what, limit, s.log())
	}
}

// wait is how long to wait for what should be within limit.
func (s *scene) wait(limit time.Duration) time.Duration {
	if s.under.asserted {
		return limit + slack
	}
	return limit + patience
}

func (s *scene) note(limit, took time.Duration, ok bool, what string) {
	s.Helper()
	s.Logf("%s: %s after %v (%t), limit %v", s.under.name, what, took.Round(time.Millisecond), ok, limit)
	s.report.converged = max(s.report.converged, took)
	s.report.never = s.report.never || !ok
}

// keeps requires that for a time calls go on reaching exactly these servers.
func (s *scene) keeps(during time.Duration, servers ...*policyServer) {
	s.Helper()
	why := s.traffic.keeps(during, servers)
	if s.under.asserted {
		require.Empty(s, why, "log:\n%s", lazy(s.log))
	}
	if why != "" {
		s.Logf("%s: did not keep: %s", s.under.name, why)
		s.report.lapses++
	}
}

// end ends the traffic, unless there is none: what calls do from then on does not
// count. It requires that none failed.
func (s *scene) end() {
	s.Helper()
	if s.traffic == nil {
		return
	}
	stopped := s.traffic.stop()
	calls, failed := s.traffic.count()
	s.report.calls += calls
	s.report.failed += len(failed)
	s.traffic = nil
	if s.under.asserted {
		require.True(s, stopped, "a call ignores its deadline")
		require.Empty(s, failed, "log:\n%s", lazy(s.log))
		require.Positive(s, calls)
	}
}

// logs waits until the log has count lines with text. The official resolver has no log.
func (s *scene) logs(within time.Duration, count int, text string) {
	s.Helper()
	if s.under.asserted {
		require.Eventually(s, func() bool { return len(s.heard.logged(text)) >= count }, within+slack, tick,
			"want %d times %q; log:\n%s", count, text, lazy(s.log))
	}
}

// is waits until our resolver says that it is in a state, if it should.
func (s *scene) is(state etcdresolver.State, should bool) {
	s.Helper()
	if should && s.under.asserted {
		require.Eventually(s, func() bool { return s.stats().State == state }, setup, tick,
			"want %v, got %+v; log:\n%s", state, lazy(func() any { return s.stats() }), lazy(s.log))
	}
}

// lists waits until the list that the resolver gave says these servers have these
// weights, and no more. The official one drops them.
func (s *scene) lists(within time.Duration, weights map[*policyServer]int) {
	s.Helper()
	var want []string
	for server, weight := range weights {
		want = append(want, fmt.Sprintf("%s=%d", server.addr, weight))
	}
	slices.Sort(want)
	if s.under.asserted {
		s.heard.awaitList(s, within+slack, want...)
	}
}

// happens waits for what the play itself brings about.
func (s *scene) happens(done <-chan struct{}) {
	s.Helper()
	select {
	case <-done:
	case <-time.After(setup):
		require.FailNow(s, "it did not come about", "log:\n%s", s.log())
	}
}

// log is for messages.
func (s *scene) log() any { return strings.Join(s.heard.logged(""), "") }

// stats tells what our resolver says of the service.
func (s *scene) stats() etcdresolver.Stats {
	s.Helper()
	builder, ok := s.heard.Builder.(*etcdresolver.Builder)
	require.True(s, ok, "only %s has statistics", ours.name)
	all := builder.Stats()
	require.Len(s, all, 1)
	return all[0]
}
