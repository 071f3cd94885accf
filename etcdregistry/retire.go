package etcdregistry

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// closing lets the first of several calls do the work, and the others wait for it.
type closing struct {
	once sync.Once
	done chan struct{}
	err  error // how it went; to be read after done is closed
}

func newClosing() *closing { return &closing{done: make(chan struct{})} }

func (c *closing) do(work func() error) error {
	c.once.Do(func() {
		go func() {
			defer close(c.done)
			c.err = work()
		}()
	})
	<-c.done
	return c.err
}

// retire takes one key out of etcd; the loop does it. The end of ctx cuts the draining
// short. It returns errClosed if the loop ends, or is about to.
func (k *keeper) retire(ctx context.Context, one *key) error {
	limit, cancel := context.WithTimeout(context.Background(), closeLimit)
	defer cancel()
	one.pulse.stop()
	k.drain(ctx, []*key{one})
	gone := one.wish.change(func(d *desire) { d.gone = true })
	defer one.pulse.wait(limit)
	select {
	case <-gone.done:
		return gone.err
	case <-k.done:
		return errClosed
	case <-limit.Done():
		return fmt.Errorf("not deleted yet, to be tried on until the Registrar is closed; last error: %s", one.wish.lastTrouble())
	}
}

// close takes all keys out of etcd, after it has ended the loop.
func (k *keeper) close(ctx context.Context, stop context.CancelFunc) error {
	limit, cancel := context.WithTimeout(context.Background(), closeLimit)
	defer cancel()
	k.mu.Lock()
	k.closed = true
	k.mu.Unlock()
	keys := k.allKeys()
	for _, key := range keys {
		key.pulse.stop()
	}
	k.drain(ctx, keys)
	stop()
	<-k.done
	// A lease takes with it the keys that are still under it, and no other: one that
	// another owner has taken over stays.
	if k.lease.id != 0 {
		k.letGo()
	}
	err, cause := k.revokeAll(limit), ""
	if err != nil {
		err = fmt.Errorf("lease not revoked, the key may stay for up to %v: %w", k.options.ttl, err)
		cause = err.Error()
	}
	for _, key := range k.allKeys() {
		key.timer.Stop()
		key.wish.close()
		key.pulse.wait(limit)
		k.journal.become(key, closed, cause)
	}
	k.journal.flush()
	return err
}

// revokeAll leaves time for a second try: a member may hang while the others answer.
func (k *keeper) revokeAll(limit context.Context) error {
	try, cancel := context.WithTimeout(limit, leastLookLimit)
	defer cancel()
	ended, err := k.revoke(try, k.stale)
	k.dismiss(ended)
	if try.Err() != nil {
		_, err = k.revoke(limit, k.stale)
	}
	return err
}

// drain marks the keys that stand and gives the clients a moment to follow. From then
// on nobody else changes the wishes.
func (k *keeper) drain(ctx context.Context, keys []*key) {
	ctx, cancel := context.WithTimeout(ctx, drainLimit)
	defer cancel()
	marks := make(map[*key]*answer)
	for _, key := range keys {
		if k.mayStand(key) {
			marks[key] = key.wish.leave()
		} else {
			key.wish.close()
		}
	}
	var delay time.Duration // 0 if nothing was marked
	for key, mark := range marks {
		select {
		case <-mark.done:
			if mark.err == nil {
				delay = max(delay, key.drainDelay)
			}
		case <-ctx.Done():
		}
	}
	select {
	case <-time.After(delay):
	case <-ctx.Done():
	}
}

// mayStand tells whether clients may see the key.
func (k *keeper) mayStand(key *key) bool {
	switch key.tally.stateNow() {
	case registered, suspect:
		return true
	case reregistering:
		return time.Now().Before(*k.lasts.Load())
	default:
		return false
	}
}
