package etcdregistry

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// look is one look at a key, which compares it with the wish and mends the difference.
// It knows nothing of the keeper: a worker does it, while the loop goes on.
type look struct {
	key       string
	wish      *wish
	wanted    desire // of the wish, at the beginning
	version   int    // likewise
	fulfilled bool   // that version was put before
	stands    bool   // the key was put once
	leases    tenure

	// What follows is found out.
	revision int64  // of the put; 0 for none
	unsure   bool   // a put was not answered, and may come late
	before   holder // who held the key before the put
}

// tenure is the leases a process holds.
type tenure struct {
	current clientv3.LeaseID
	stale   []clientv3.LeaseID // replaced, but maybe still alive
}

func (t tenure) has(id clientv3.LeaseID) bool {
	return id != 0 && (id == t.current || slices.Contains(t.stale, id))
}

// errContended is no fault of etcd's.
var errContended = errors.New("put the key: others keep changing it")

func (l *look) run(ctx context.Context, store store) error {
	const tries = 3 // one is enough unless others write the key at the same moment
	for range tries {
		held, err := store.holder(ctx, l.key)
		if err != nil {
			return fmt.Errorf("read the key: %w", err)
		}
		if done, err := l.mend(ctx, store, held); done || err != nil {
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
func (l *look) mend(ctx context.Context, store store, held holder) (done bool, err error) {
	by, foreign := l.owned(held)
	wanted := l.wanted
	switch {
	case wanted.gone && !l.leases.has(held.lease):
		return true, nil
	case wanted.gone:
		done, err = store.remove(ctx, l.key, held.revision)
		if err != nil {
			err = fmt.Errorf("delete the key: %w", err)
		}
		return done, err
	case held.lease == l.leases.current && l.fulfilled:
		return true, nil
	case foreign && l.stands && wanted.owner.yieldsTo(by):
		return false, foreignError{lease: held.lease, by: by}
	case foreign && !l.stands:
		wanted.owner = wanted.owner.outrank(by)
		l.wish.adopt(wanted.owner) // before the put, whose answer may get lost
	}
	l.before = held
	l.revision, err = store.swap(ctx, l.key, wanted.text(), l.leases.current, held.revision)
	if err != nil {
		l.unsure = !isVerdict(err)
		return false, fmt.Errorf("put the key: %w", err)
	}
	return l.revision != 0, nil
}

// owned tells who wrote what is held, and whether that is another registration.
func (l *look) owned(held holder) (by owner, foreign bool) {
	by = ownerOf(held.value)
	return by, held.lease != 0 && !l.leases.has(held.lease) && by.id != l.wanted.owner.id
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
