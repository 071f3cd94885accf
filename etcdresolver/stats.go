package etcdresolver

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

// State is how the list of a service stands to etcd.
type State string

// The states of a service.
const (
	// Init: there is no list yet.
	Init State = "init"
	// Synced: the list is etcd's, and changes follow as etcd tells them.
	Synced State = "synced"
	// Degraded: the last list serves, and etcd is asked again and again.
	Degraded State = "degraded"
	// Idle: no channel uses the service; the last list is remembered.
	Idle State = "idle"
)

// Stats is what a [Builder] can tell of one service. Counters count since the
// builder was made.
type Stats struct {
	Service string
	// Etcd are the endpoints asked.
	Etcd  []string
	State State
	// Channels that use the service now.
	Channels int
	// Endpoints that channels have, and how many of them are only held by a guard.
	Endpoints, Held int
	// Overrides in force.
	Overrides int
	// Refused counts the values that could not be used.
	Refused int64
	// Revision of etcd up to which the instances are known.
	Revision int64
	// LastSynced is when etcd last confirmed that the instances are right; zero for never.
	LastSynced time.Time
	// Lists counts the lists taken in, Sessions why each session ended (such as
	// "compacted", "silent", "unreachable").
	Lists    int64
	Sessions map[string]int64
	// Audits counts the lists compared with what the watch had told, AuditDifferences
	// the keys that differed: each is a bug, please report it.
	Audits, AuditDifferences int64
	// Updates counts the calls of UpdateState on all channels, UpdateDelay sums the
	// time from an event to the return of the call, for EventUpdates of them.
	Updates, EventUpdates     int64
	UpdateDelay, LongestDelay time.Duration
}

// Stats returns what there is to tell, by service and etcd. It is safe for concurrent use.
func (b *Builder) Stats() []Stats {
	b.mu.Lock()
	services := slices.Collect(maps.Values(b.services))
	b.mu.Unlock()
	all := make([]Stats, len(services))
	for i, s := range services {
		all[i] = s.stats()
	}
	slices.SortFunc(all, func(a, b Stats) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), slices.Compare(a.Etcd, b.Etcd))
	})
	return all
}

func (s *service) stats() Stats {
	k := s.known
	k.mu.Lock()
	defer k.mu.Unlock()
	st := k.counts
	st.Sessions = maps.Clone(st.Sessions)
	st.Revision, st.Overrides, st.Held = k.instances.revision, len(k.table.overrides), k.held
	s.deliveries.addTo(&st)

	s.mu.Lock()
	defer s.mu.Unlock()
	st.Service, st.Etcd, st.Channels, st.Endpoints = s.name, s.source.endpoints(), len(s.channels), len(s.latest.list)
	switch r := s.run; {
	case r == nil:
		st.State = Idle
	case r.feeds[0].synced:
		st.State = Synced
	case r.listed:
		st.State = Degraded
	default:
		st.State = Init
	}
	return st
}

// deliveries counts what went to the channels.
type deliveries struct {
	mu                sync.Mutex
	updates, ofEvents int64
	delay, longest    time.Duration
}

// note counts one UpdateState, delay after the first event that it tells of; 0 if it
// tells of none.
func (d *deliveries) note(delay time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.updates++
	if delay > 0 {
		d.ofEvents++
		d.delay += delay
		d.longest = max(d.longest, delay)
	}
}

func (d *deliveries) addTo(s *Stats) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s.Updates, s.EventUpdates, s.UpdateDelay, s.LongestDelay = d.updates, d.ofEvents, d.delay, d.longest
}

var causes = []struct {
	err  error
	name string
}{
	{rpctypes.ErrCompacted, "compacted"},
	{errSilent, "silent"},
	{errReconnected, "reconnected"},
	{errHistory, "history"},
	{errClosed, "closed"},
	{errUnreachable, "unreachable"},
	{rpctypes.ErrNoLeader, "leaderless"},
	{rpctypes.ErrLeaderChanged, "leaderless"},
	{rpctypes.ErrPermissionDenied, "denied"},
	{rpctypes.ErrInvalidAuthToken, "auth"},
	{rpctypes.ErrAuthOldRevision, "auth"},
	{rpctypes.ErrAuthFailed, "auth"},
	{rpctypes.ErrUserEmpty, "auth"},
	{context.DeadlineExceeded, "timeout"},
}

// causeOf names why a session ended, in one word for the counters. Why etcd refused a
// watch reaches us as text only.
func causeOf(err error) string {
	for _, c := range causes {
		if errors.Is(err, c.err) || strings.HasSuffix(err.Error(), c.err.Error()) {
			return c.name
		}
	}
	return "other"
}
