package localetcd

import (
	"context"
	"fmt"
	"time"

	"github.com/steelyard-go/steelyard/lab/internal/child"
)

// What a member is told; the rest of its life it talks to its peers.
const (
	isolate = "isolate"
	heal    = "heal"
)

// tellTimeout is how long a member may take to do what it is told. One that
// does not is killed: what it would do later nobody knows.
const tellTimeout = 5 * time.Second

// Isolate cuts the member off from the others, both ways, as etcd's own tests do
// it: no message of the consensus goes out or is heard. Clients still reach it, so
// they talk to a minority: writes and linearizable reads fail or hang, serializable
// reads show what it last knew. So this is also how a follower lags for as long as
// is wanted; one that was suspended lags only until it has caught up.
//
// A leader notices, and steps down, within two election timeouts (1 s). Until a
// follower notices, which takes one, it still passes renewals of leases on to
// the leader. The member must run, and not be suspended when it is
// healed. A restart heals it as well.
func (c *Cluster) Isolate(member *Process) error {
	return member.do(func(running *child.Process) error {
		member.isolated = running
		return tell(running, isolate)
	})
}

// Heal ends every isolation.
func (c *Cluster) Heal() error {
	return each(c.members, func(m *Process) error { return m.do(m.healLocked) })
}

// healLocked leaves a process in peace that is gone or that was never isolated.
func (p *Process) healLocked(c *child.Process) error {
	if p.isolated != c {
		return nil
	}
	p.isolated = nil
	select {
	case <-c.Exited():
		return nil
	default:
		return tell(c, heal)
	}
}

// tell has the child do what the text says.
func tell(c *child.Process, text string) error {
	ctx, cancel := context.WithTimeout(context.Background(), tellTimeout)
	defer cancel()
	return c.Do(ctx, text)
}

// do runs, in the child, what the parent said.
func (e *etcd) do(text string) error {
	act := e.Server.CutPeer
	switch text {
	case isolate:
	case heal:
		act = e.Server.MendPeer
	default:
		return fmt.Errorf("got %q, want %s or %s", text, isolate, heal)
	}
	for _, m := range e.Server.Cluster().Members() {
		if m.ID != e.Server.MemberID() {
			act(m.ID)
		}
	}
	return nil
}
