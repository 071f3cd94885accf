package etcdregistry

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

// do has a worker call etcd, for limit at most, and the loop call finish with what came
// of it. It returns what gives the call up.
func (k *keeper) do(ctx context.Context, limit time.Duration, work func(context.Context) error, finish func(error)) context.CancelFunc {
	ctx, cancel := context.WithTimeout(ctx, limit)
	k.workers++
	go func() {
		err := work(ctx)
		cancel()
		k.results <- func() { finish(err) }
	}()
	return cancel
}

func (k *keeper) take(finish func()) {
	k.workers--
	finish()
}

// longest is how long a call may take, at most.
func (k *keeper) longest() time.Duration {
	return min(lookLimit, max(leastLookLimit, k.options.ttl/4))
}

// answered notes that etcd did.
func (k *keeper) answered() { k.answeredAt, k.notBefore, k.outage = time.Now(), time.Time{}, backoff{} }

// failed notes that a call did, and returns when to try again. If etcd has answered
// nothing since the call began, everything waits: in an outage a thousand keys cost no
// more calls than a few.
func (k *keeper) failed(err error, own *backoff, began time.Time) (retry time.Time) {
	now := time.Now()
	retry = now.Add(own.pause())
	switch {
	case isVerdict(err): // to ask again soon is unlikely to help
		k.answered()
		retry = now.Add(mostPause - rand.N(mostPause/2))
	case errors.Is(err, errContended):
		k.answered()
	case !began.Before(k.answeredAt) && !k.notBefore.After(now):
		k.notBefore = now.Add(k.outage.pause())
	}
	return retry
}

// errand is a call to etcd about leases, made again and again.
type errand struct {
	busy    bool
	due     time.Time // not before
	backoff backoff
	giveUp  context.CancelFunc
}

// send has a worker do the errand.
func (k *keeper) send(ctx context.Context, e *errand, work func(context.Context) error, finish func(error)) {
	began := time.Now()
	e.busy = true
	e.giveUp = k.do(ctx, min(k.longest(), e.backoff.patience()), work, func(err error) {
		e.busy = false
		switch {
		case err == nil || errors.Is(err, rpctypes.ErrLeaseNotFound):
			e.backoff = backoff{}
			k.answered()
		case !errors.Is(err, context.Canceled): // else it was given up
			e.due = k.failed(err, &e.backoff, began)
		}
		finish(err)
	})
}

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
