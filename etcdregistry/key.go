package etcdregistry

import (
	"context"
	"errors"
	"fmt"
	"time"

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
	due      time.Time          // when to look at it
	timer    *time.Timer        // fires then
	busy     bool               // a worker looks at it
	giveUp   context.CancelFunc // ends that look
	hurried  bool               // that look has little time
	backoff  backoff            // of the looks that failed
	seen     int                // the version of the wish at the last look
	stands   bool               // it was put once
	settled  bool               // it is as it should be, or another's
	yielded  bool               // it is another's
	written  int                // the version of the wish put last
	revision int64              // of the last put
	unsure   clientv3.LeaseID   // a put under it was not answered, and may come late
	repair   string             // why the last look put it again, "" if it did not
	repaired time.Time          // when it was put again last
	logged   logged
	unwatch  context.CancelFunc // ends its watch
}

// changed tells whether the wish did since the last look.
func (k *key) changed() bool {
	_, version := k.wish.get()
	return version != k.seen
}

// isDue tells whether to look at the key.
func (k *key) isDue() bool { return k.changed() || !k.due.After(time.Now()) }

// look takes note of the wish.
func (k *key) look(leases tenure) *look {
	wanted, version := k.wish.look()
	k.seen, k.repair = version, ""
	return &look{
		key: k.name, wish: k.wish, wanted: wanted, version: version,
		fulfilled: k.written == version, stands: k.stands, leases: leases,
	}
}

// errHurried is why a look ended that was hurried.
var errHurried = errors.New("no answer from etcd yet, while somebody waits: asked anew")

// hurry leaves the look no more time than one has that somebody waits for.
func (k *key) hurry() {
	if !k.hurried {
		k.hurried = true
		time.AfterFunc(k.backoff.patience(), k.giveUp)
	}
}

// note notes what a look put, and what made it necessary.
func (k *key) note(l *look) {
	if l.unsure {
		k.unsure = l.leases.current
	}
	if l.revision == 0 {
		return
	}
	by, foreign := l.owned(l.before)
	cause := func(*Stats) {}
	switch {
	case foreign && !k.stands:
		k.repair = "taken over from " + by.String()
	case foreign:
		k.repair = "taken back from an older owner: " + by.String()
		cause = func(s *Stats) { s.KeysTakenBack++; s.Conflicts++ }
	case k.settled && !k.yielded && l.before.revision == 0:
		k.repair = "the key was gone"
		cause = func(s *Stats) { s.KeysLost++ }
	case k.settled && l.before.revision != 0 && !l.leases.has(l.before.lease): // but maybe one of ours that was forgotten
		k.repair = fmt.Sprintf("the key was under lease %016x, not ours", int64(l.before.lease))
		cause = func(s *Stats) { s.KeysLost++ }
	}
	if k.repair != "" {
		k.repaired = time.Now()
	}
	k.stands, k.written, k.revision = true, l.version, l.revision
	k.tally.note(func(s *Stats) { s.Puts++; cause(s) })
}
