package demo

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/resolver"

	"github.com/steelyard-go/steelyard/balancers/consistenthash"
)

const (
	// callers is how many goroutines of a client call, each one call after the other.
	callers = 4
	// restTime is how long a caller rests between two calls: the demo shall
	// show who gets the calls, not how many the machine can make.
	restTime = 5 * time.Millisecond
	// callTimeout is long: a busy machine shall not look like a failed call.
	callTimeout = 10 * time.Second
)

// client is one gRPC client with one policy, and what was seen of it.
type client struct {
	policy policy
	conn   *grpc.ClientConn
	lists  *listLog
	conns  *connLog
	tally  *tally
	owners owners // of the keys, if the policy is the hash
}

// dial makes a client of the service. This is all that a user's client needs,
// but for the logs.
func dial(service string, discovery resolver.Builder, p policy) (*client, error) {
	c := &client{
		policy: p,
		lists:  &listLog{Builder: discovery},
		conns:  newConnLog(),
		tally:  newTally(),
	}
	var err error
	c.conn, err = grpc.NewClient("etcd:///"+service,
		grpc.WithResolvers(c.lists),
		grpc.WithDefaultServiceConfig(p.serviceConfig),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithStatsHandler(c.conns),
	)
	if err != nil {
		return nil, fmt.Errorf("client with %s: %w", p.name, err)
	}
	return c, nil
}

// traffic keeps all callers of all clients calling.
type traffic struct {
	stop    context.CancelFunc
	callers sync.WaitGroup
}

// startTraffic has each client call with each of the keys in turn.
func startTraffic(ctx context.Context, clients []*client, keys []string) *traffic {
	ctx, stop := context.WithCancel(ctx)
	t := &traffic{stop: stop}
	for _, c := range clients {
		var next atomic.Uint64
		for range callers {
			t.callers.Go(func() { c.callOn(ctx, keys, &next) })
		}
	}
	return t
}

// close returns when the last call has ended.
func (t *traffic) close() {
	t.stop()
	t.callers.Wait()
}

func (c *client) callOn(ctx context.Context, keys []string, next *atomic.Uint64) {
	rest := time.NewTicker(restTime)
	defer rest.Stop()
	for ctx.Err() == nil {
		c.call(ctx, keys[next.Add(1)%uint64(len(keys))])
		select {
		case <-rest.C:
		case <-ctx.Done():
		}
	}
}

// call makes one call. Policies other than the hash do not look at the key.
func (c *client) call(ctx context.Context, key string) {
	callCtx, cancel := context.WithTimeout(consistenthash.WithKey(ctx, key), callTimeout)
	defer cancel()
	begun := time.Now()
	server, err := weigh(callCtx, c.conn, key)
	if ctx.Err() != nil {
		return // the demo ends: that is no failure of the call
	}
	if err != nil {
		err = fmt.Errorf("%s, after %v: %w", c.policy.name, time.Since(begun).Round(time.Millisecond), err)
	}
	c.tally.add(key, server, begun, err)
}
