package etcdregistry

import (
	"sync"
	"time"
)

// Stats says how a registration fares, or all of a [Registrar] together. The counts
// begin with it and only grow.
type Stats struct {
	// Registrations counts those that are not closed.
	Registrations int
	// State is "registering", "registered", "suspect", "reregistering", "draining" or
	// "closed". Of several registrations it is the worst. Suspect is one whose key
	// still stood when seen last, but etcd does not answer or the key is another
	// owner's.
	State string
	// RenewalAge is the time since etcd last confirmed the lease, 0 without a lease.
	// All registrations of a Registrar share the lease.
	RenewalAge time.Duration
	// Puts counts the writes of the key that etcd confirmed.
	Puts int
	// LeasesLost, KeysLost and KeysTakenBack count what made it register again, by
	// cause: the lease ended, was silent for too long, or was replaced because a put
	// under it that etcd never answered could still come; the key was deleted, or put
	// under no lease; an older owner had written the key.
	LeasesLost, KeysLost, KeysTakenBack int
	// Conflicts counts how often another owner was found on the key.
	Conflicts int
}

// tally is what Stats are made of. The zero value works.
type tally struct {
	mu     sync.Mutex
	state  state
	counts Stats
}

func (t *tally) note(change func(*Stats)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	change(&t.counts)
}

func (t *tally) become(next state) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.state = next
}

func (t *tally) stateNow() state {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.state
}

// addTo adds the counts to sum. It returns the worse of the two states.
func (t *tally) addTo(sum *Stats, other state) state {
	t.mu.Lock()
	defer t.mu.Unlock()
	sum.Puts += t.counts.Puts
	sum.LeasesLost += t.counts.LeasesLost
	sum.KeysLost += t.counts.KeysLost
	sum.KeysTakenBack += t.counts.KeysTakenBack
	sum.Conflicts += t.counts.Conflicts
	if t.state != closed {
		sum.Registrations++
	}
	return max(other, t.state)
}

// stats adds the keys to sum.
func (k *keeper) stats(sum Stats, keys ...*key) Stats {
	worst := closed
	for _, key := range keys {
		worst = key.tally.addTo(&sum, worst)
	}
	sum.State = worst.String()
	if renewed := k.renewedAt.Load(); renewed != nil {
		sum.RenewalAge = time.Since(*renewed)
	}
	return sum
}
