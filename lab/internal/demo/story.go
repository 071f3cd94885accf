package demo

import (
	"context"
	"fmt"
	"time"
)

// The promised times, with room for a busy machine.
const (
	followLimit = slowdown * 2 * time.Second
	leaseLimit  = leaseTTL + 3*time.Second    // etcd looks for leases that ran out twice a second
	returnLimit = followLimit + 8*time.Second // from the restart of etcd to a change that arrives
	etcdAway    = 3 * time.Second
)

// step is one change, and what is promised of it beside that no call fails.
type step struct {
	what  string
	about string // the server that changes, "" for none
	// do makes the change, and tells since when the clients could know of it.
	do func(ctx context.Context) (since time.Time, err error)
	// followed tells when the client followed, zero while it has not; nil if there is nothing to follow.
	followed func(c *client) time.Time
	within   time.Duration // promised of followed
	lasts    time.Duration // how long to look on at least

	connections  int     // that each client makes
	mayFail      int     // calls
	strays       float64 // share of the keys that may move between servers that the step is not about
	nothingAfter bool    // the server gets no call once the clients have followed
	tellShares   bool
}

// anewStrays is the share of the keys that may move between other servers where
// the membership or a weight changes and the hash builds its table anew. A server
// that is only down or drains moves its own keys and no others.
//
// The table promises to move at most 1.1 times the keys that must, and every such
// step here is about a tenth of the keys or more: one in a hundred may go astray.
// Chance needs no margin beyond that. A key moves between others only where a
// server has reached its limit, 1.05 times its share of the 131,072 slots. Without
// limits the slots of a share p would be binomial: for the smallest server, 1 of
// 21, the limit is four standard deviations away, which one such draw in 40,000
// exceeds, and by 0.3% of that share on average. In both tables of a step that
// makes 3 keys in 10,000, or 0.1 of 400, where five would break the promise.
const anewStrays = 0.01

func (d *demo) steps() []step {
	heavier, leaver, victim := d.fleet.get("south-1"), d.fleet.get("north-2"), d.fleet.get("south-3")
	newcomer := serverConfig{Name: "north-4", Zone: "north", Weight: 4}
	var killedAt time.Time
	return []step{
		d.weightStep(heavier, 8, "south-1 changes its weight from 1 to 8"),
		{
			what: "north-2 drains: it takes no new calls", about: leaver.Name, nothingAfter: true,
			do:       func(ctx context.Context) (time.Time, error) { return time.Now(), d.fleet.drain(ctx, leaver) },
			followed: untilLast(leaver.Name, onList(leaver.addr, func(l listed) bool { return l.Draining })),
		},
		{
			what: "north-2 leaves: its key goes, then it ends", about: leaver.Name, nothingAfter: true, strays: anewStrays,
			do:       func(context.Context) (time.Time, error) { return time.Now(), leaver.process.Stop(stopTimeout) },
			followed: onList(leaver.addr, func(l listed) bool { return !l.present }),
		},
		{
			what: "south-3 is killed (SIGKILL)", about: victim.Name, nothingAfter: true, mayFail: callers * len(d.clients),
			do: func(context.Context) (time.Time, error) {
				killedAt = time.Now()
				return killedAt, d.fleet.kill(victim)
			},
			followed: untilLast(victim.Name, func(c *client) time.Time { return c.conns.endedAt(victim.addr) }),
		},
		{
			what: "the lease of south-3 runs out, after its death", about: victim.Name, nothingAfter: true, strays: anewStrays,
			do:       func(context.Context) (time.Time, error) { return killedAt, nil },
			followed: onList(victim.addr, func(l listed) bool { return !l.present }), within: leaseLimit,
		},
		{
			what: "north-4 joins with weight 4", about: newcomer.Name, connections: 1, strays: anewStrays, tellShares: true,
			do: func(ctx context.Context) (time.Time, error) {
				launched, err := d.fleet.launch(ctx, newcomer)
				if err != nil {
					return time.Time{}, err
				}
				return time.Now(), d.fleet.join(ctx, launched...)
			},
			followed: func(c *client) time.Time { first, _ := c.tally.server(newcomer.Name); return first },
		},
	}
}

// etcdSteps are for an etcd that may be killed.
func (d *demo) etcdSteps() []step {
	changes := d.fleet.get("south-1")
	back := d.weightStep(changes, 2, "etcd is back; south-1 changes its weight to 2")
	back.within = returnLimit
	change := back.do
	back.do = func(ctx context.Context) (time.Time, error) {
		if err := d.store.own.Restart(); err != nil {
			return time.Time{}, err
		}
		return change(ctx)
	}
	return []step{
		{
			what: fmt.Sprintf("etcd is killed (SIGKILL) and stays away %.0f s", etcdAway.Seconds()), lasts: etcdAway,
			do: func(context.Context) (time.Time, error) { return time.Now(), d.store.own.Kill() },
		},
		back,
	}
}

func (d *demo) weightStep(s *server, weight uint32, what string) step {
	return step{
		what: what, about: s.Name, strays: anewStrays, tellShares: true,
		do:       func(ctx context.Context) (time.Time, error) { return time.Now(), s.update(ctx, weight) },
		followed: onList(s.addr, func(l listed) bool { return l.Weight == weight }),
	}
}

// tellStory is the second part.
func (d *demo) tellStory(ctx context.Context) error {
	d.page.storyHead(
		fmt.Sprintf("Promised: the clients follow within %v, no call fails, and no connection is made, but for these:", followLimit),
		fmt.Sprintf("  - a process that is killed takes with it the calls it was working on: at most one of each caller, %d in all;", callers*len(d.clients)),
		fmt.Sprintf("  - its key stays until its lease of %v has run out (within %v), but no call is sent to it meanwhile;", leaseTTL, leaseLimit),
		"  - a server that joins costs each client one connection; its time counts from its registration, not from its start;",
		fmt.Sprintf("  - while etcd is away the clients keep their list; once it is back they follow again within %v.", returnLimit),
		"A client has followed when its list says what is new, and consistent_hash when it also calls every key where any process",
		"with that list would. After each step the shares are held against the weights again, as in part 1.",
	)
	number := 0
	tell := func(steps []step) error {
		for _, s := range steps {
			number++
			if err := d.tell(ctx, number, s); err != nil {
				return fmt.Errorf("step %d: %s: %w", number, s.what, err)
			}
		}
		return nil
	}
	if err := tell(d.steps()); err != nil {
		return err
	}
	if d.store.own == nil {
		d.page.skipped(number+1, "etcd is killed and restarted", "this etcd is yours")
		return nil
	}
	return tell(d.etcdSteps())
}
