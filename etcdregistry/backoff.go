package etcdregistry

import (
	"math/rand/v2"
	"time"
)

// backoff counts the failures in a row. The zero value has none.
type backoff struct{ failures int }

// pause counts one more, and returns how long to wait: full jitter below a ceiling that
// doubles with each.
func (b *backoff) pause() time.Duration {
	ceiling := min(leastPause<<min(b.failures, 10), mostPause)
	b.failures++
	return rand.N(ceiling)
}

// patience is how long to wait for a call while somebody waits for what comes of it.
func (b backoff) patience() time.Duration { return min(leastLookLimit<<min(b.failures, 10), lookLimit) }
