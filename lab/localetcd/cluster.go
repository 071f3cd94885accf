package localetcd

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	clusterSize = 3
	// askTimeout is how long a member may take to say who leads.
	askTimeout = time.Second
	// askPause is between two rounds of asking; an election takes half a second.
	askPause = 50 * time.Millisecond
)

// Cluster is three members, each in a child process. Its methods are safe for
// concurrent use.
//
// A member that is suspended hangs; one that was suspended and goes on, or was
// isolated and is healed, has missed what happened meanwhile and catches up.
type Cluster struct {
	members []*Process
	client  *clientv3.Client
	remove  func() error
}

// StartCluster gives a test three members, which end with the test.
func StartCluster(tb testing.TB, opts ...Option) *Cluster {
	tb.Helper()
	c, err := NewCluster(append([]Option{WithDir(tb.TempDir())}, opts...)...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := c.Close(); err != nil {
			tb.Errorf("localetcd: close: %v", err)
		}
	})
	return c
}

// NewCluster starts three members and returns when all serve. The program calls
// [RunIfChild] first thing in main. Close ends them. Each cluster is a new one,
// in a directory of its own in that of [WithDir].
func NewCluster(opts ...Option) (*Cluster, error) {
	o, remove, err := collect(opts)
	if err != nil {
		return nil, err
	}
	c := &Cluster{remove: remove}
	c.members, err = launch(o.ca, o.cluster)
	if err != nil {
		return nil, errors.Join(err, remove())
	}
	c.client, err = newClient(o.ca, c.Endpoints()...)
	if err != nil {
		return nil, errors.Join(err, each(c.members, (*Process).Close), remove())
	}
	return c, nil
}

// cluster gives the members of a new cluster.
func (o options) cluster() []member {
	members := make([]member, clusterSize)
	urls := make([]string, clusterSize)
	token := rand.Text()
	for i := range members {
		m := o.member()
		m.Name, m.Token = fmt.Sprint("member", i), token
		m.Dir = filepath.Join(o.dir, token, m.Name)
		members[i], urls[i] = m, m.peerURL()
	}
	for i := range members {
		members[i].Cluster = strings.Join(urls, ",")
	}
	return members
}

// Members are the three, always in the same order. A client of theirs
// ([Process.Client]) talks to that member alone.
func (c *Cluster) Members() []*Process { return slices.Clone(c.members) }

// Endpoints are the host:port of the members for clients, in the order of Members.
func (c *Cluster) Endpoints() []string {
	addrs := make([]string, len(c.members))
	for i, m := range c.members {
		addrs[i] = m.Addr()
	}
	return addrs
}

// Client is a client to all members that all users of the cluster share. Close
// closes it.
func (c *Cluster) Client() *clientv3.Client { return c.client }

// Restart restarts all members at once, on their data and their ports, and
// returns when all serve. When all are down it is the only way back: one alone
// does not serve, so [Process.Restart] would wait for the others and give up.
func (c *Cluster) Restart() error { return each(c.members, (*Process).Restart) }

// Leader gives the member that leads: a majority says so, itself included. It
// waits for one until ctx ends.
func (c *Cluster) Leader(ctx context.Context) (*Process, error) {
	for {
		if leader := c.askAll(ctx); leader != nil {
			return leader, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("localetcd: no leader: %w", context.Cause(ctx))
		case <-time.After(askPause):
		}
	}
}

// askAll gives the member that a majority takes for the leader, if it is among
// them.
func (c *Cluster) askAll(ctx context.Context) *Process {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var mu sync.Mutex
	votes := make(map[uint64]int)
	ids := make(map[uint64]*Process)
	_ = each(c.members, func(m *Process) error {
		status, err := m.client.Status(ctx, m.Addr())
		if err != nil {
			return err // it has no say
		}
		mu.Lock()
		defer mu.Unlock()
		votes[status.Leader]++
		ids[status.Header.MemberId] = m
		return nil
	})
	for id, n := range votes {
		if n > len(c.members)/2 {
			return ids[id]
		}
	}
	return nil
}

// Close ends the members and their clients, and removes the data unless
// [WithDir] was given. It is called once.
func (c *Cluster) Close() error {
	return errors.Join(c.client.Close(), each(c.members, (*Process).Close), c.remove())
}
