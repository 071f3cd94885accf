package etcdregistry

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// key is one key that a keeper holds.
type key struct {
	name       string
	wish       *wish
	drainDelay time.Duration
	pulse      *pulse // nil without a health service
	tally      tally

	// What follows belongs to the keeper's loop.
	due       time.Time          // when to look at it
	seen      int                // the version of the wish at the last look
	removed   bool               // that wish was for nothing
	stands    bool               // it was put once
	settled   bool               // it is as it should be, or another's
	yielded   bool               // it is another's
	written   int                // the version of the wish put last
	revision  int64              // of the last put
	unsure    clientv3.LeaseID   // a put under it was not answered, and may come late
	repair    string             // why the last look put it again, "" if it did not
	repaired  time.Time          // when it was put again last
	announced time.Time          // when that was logged last
	logged    time.Time          // when its state was logged last
	unwatch   context.CancelFunc // ends its watch
}

// tenure is the leases a process holds.
type tenure struct {
	current clientv3.LeaseID
	stale   []clientv3.LeaseID // replaced, but maybe still alive
}

func (t tenure) has(id clientv3.LeaseID) bool {
	return id != 0 && (id == t.current || slices.Contains(t.stale, id))
}

// look takes note of the wish.
func (k *key) look() (wanted desire) {
	wanted, k.seen = k.wish.look()
	k.removed, k.repair = wanted.gone, ""
	return wanted
}

// errContended is no fault of etcd's.
var errContended = errors.New("put the key: others keep changing it")

// reconcile compares the key in etcd with what was wanted at the last look and mends the
// difference.
func (k *key) reconcile(ctx context.Context, store store, leases tenure, wanted desire) error {
	const tries = 3 // one is enough unless others write the key at the same moment
	for range tries {
		held, err := store.holder(ctx, k.name)
		if err != nil {
			return fmt.Errorf("read the key: %w", err)
		}
		if done, err := k.mend(ctx, store, leases, held, wanted); done || err != nil {
			return err
		}
	}
	return errContended
}

// mend takes the one step from what is held to what is wanted. It is not done if the
// key has changed meanwhile.
//
// A value that somebody else wrote under our lease is left: that is how an operator
// overrules it until the next Update. But a key under no lease is put back, it would
// outlive us.
func (k *key) mend(ctx context.Context, store store, leases tenure, held holder, wanted desire) (bool, error) {
	by := ownerOf(held.value)
	ours := leases.has(held.lease)
	foreign := held.lease != 0 && !ours && by.id != wanted.owner.id
	switch {
	case wanted.gone && !ours:
		return true, nil
	case wanted.gone:
		done, err := store.remove(ctx, k.name, held.revision)
		if err != nil {
			err = fmt.Errorf("delete the key: %w", err)
		}
		return done, err
	case held.lease == leases.current && k.written == k.seen:
		return true, nil
	case foreign && k.stands && wanted.owner.yieldsTo(by):
		return false, foreignError{lease: held.lease, by: by}
	case foreign && !k.stands:
		wanted.owner = wanted.owner.outrank(by)
		k.wish.adopt(wanted.owner) // before the put, whose answer may get lost
	}
	revision, err := store.swap(ctx, k.name, wanted.text(), leases.current, held.revision)
	if err != nil {
		if !isVerdict(err) {
			k.unsure = leases.current
		}
		return false, fmt.Errorf("put the key: %w", err)
	}
	if revision == 0 {
		return false, nil
	}
	k.wrote(revision, held, by, ours, foreign)
	return true, nil
}

// wrote notes a put, and what made it necessary.
func (k *key) wrote(revision int64, held holder, by owner, ours, foreign bool) {
	cause := func(*Stats) {}
	switch {
	case foreign && !k.stands:
		k.repair = "taken over from " + by.String()
	case foreign:
		k.repair = "taken back from an older owner: " + by.String()
		cause = func(s *Stats) { s.KeysTakenBack++; s.Conflicts++ }
	case k.settled && !k.yielded && held.revision == 0:
		k.repair = "the key was gone"
		cause = func(s *Stats) { s.KeysLost++ }
	case k.settled && held.revision != 0 && !ours: // but maybe one of ours that was forgotten
		k.repair = fmt.Sprintf("the key was under lease %016x, not ours", int64(held.lease))
		cause = func(s *Stats) { s.KeysLost++ }
	}
	if k.repair != "" {
		k.repaired = time.Now()
	}
	k.stands, k.written, k.revision = true, k.seen, revision
	k.tally.note(func(s *Stats) { s.Puts++; cause(s) })
}

// foreignError says that a key is another owner's.
type foreignError struct {
	lease clientv3.LeaseID
	by    owner
}

func (e foreignError) Error() string {
	return fmt.Sprintf("another registration holds the key under lease %016x (%v): left alone, looked at again in %v",
		int64(e.lease), e.by, yieldFor)
}

func isForeign(err error) bool {
	var foreign foreignError
	return errors.As(err, &foreign)
}

// isVerdict tells whether waiting is unlikely to help: another registration has the
// key, or etcd refuses the client.
func isVerdict(err error) bool {
	return isForeign(err) || errors.Is(err, rpctypes.ErrPermissionDenied) ||
		errors.Is(err, rpctypes.ErrAuthFailed) || errors.Is(err, rpctypes.ErrUserEmpty)
}
