// Package demo is what "steelyard demo" shows: real gRPC servers that register
// with a weight in a real etcd, clients that discover them, and what each policy
// makes of it while servers come, change, die and go.
//
// The servers and the etcd are processes of their own, made of the running
// binary: call [RunIfChild] and localetcd.RunIfChild first thing in main.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/steelyard-go/steelyard/etcdresolver"
)

// The limits of [Options.Calls]: fewer calls say little about shares, more take too long.
const (
	MinCalls     = 400
	MaxCalls     = 20_000
	DefaultCalls = 4_000
)

// More calls use more keys: at least enough for every server to have some, and
// few enough to call them all anew after each change.
const (
	minKeys = 400
	maxKeys = 800
)

// windowCalls is how many calls of each client it takes after a change to tell
// shares from chance.
const windowCalls = 700

const (
	// runLimit ends a demo that hangs; cleaning up comes on top.
	runLimit = 2 * time.Minute
	// connectLimit is how long the clients may take to know and reach all servers.
	connectLimit = 10 * time.Second
	// homeLimit is how long the clients may take to call every key where it belongs.
	homeLimit = 20 * time.Second
	pollEvery = 20 * time.Millisecond
)

// errTooLong is the cause of the end of a demo that took too long.
var errTooLong = fmt.Errorf("not done after %v: the machine may be too busy", runLimit)

// Options say what to show. Calls must be set.
type Options struct {
	Policies []string  // names or short names; none are all
	Calls    int       // calls per policy whose shares are shown, MinCalls to MaxCalls
	Seed     uint64    // draws the keys of the calls
	Etcd     string    // host:port of the user's etcd; "" starts one
	Out      io.Writer // takes the tables
}

// fleetConfigs are the servers at the start: two zones, weights 1, 2 and 4.
var fleetConfigs = []serverConfig{
	{Name: "north-1", Zone: "north", Weight: 1},
	{Name: "north-2", Zone: "north", Weight: 2},
	{Name: "north-3", Zone: "north", Weight: 4},
	{Name: "south-1", Zone: "south", Weight: 1},
	{Name: "south-2", Zone: "south", Weight: 2},
	{Name: "south-3", Zone: "south", Weight: 4},
}

type demo struct {
	page    page
	calls   int
	keys    []string
	store   *store
	fleet   fleet
	clients []*client
	traffic *traffic
	broken  []string // promises, in the order they broke
}

// Run shows the demo and returns when nothing of it is left, no process and no
// file, also when ctx ends early. The error says what did not come out as promised.
func Run(ctx context.Context, o Options) (err error) {
	chosen, err := choosePolicies(o.Policies)
	if err != nil {
		return err
	}
	if o.Calls < MinCalls || o.Calls > MaxCalls {
		return fmt.Errorf("calls: got %d, want %d to %d", o.Calls, MinCalls, MaxCalls)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, runLimit, errTooLong)
	defer cancel()
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	d := &demo{page: page{o.Out, fail}, calls: o.Calls, keys: drawKeys(o.Seed, min(max(minKeys, o.Calls/5), maxKeys))}
	defer func() { err = errors.Join(err, d.close()) }()

	begin := time.Now()
	if err := d.open(ctx, o.Etcd, chosen); err != nil {
		return err
	}
	for _, part := range []func(context.Context) error{d.showShares, d.tellStory} {
		if err := part(ctx); err != nil {
			d.page.printf("\n\n")
			return err
		}
	}
	return d.conclude(time.Since(begin))
}

// drawKeys draws n different keys.
func drawKeys(seed uint64, n int) []string {
	random := rand.New(rand.NewPCG(seed, 0))
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf("user-%d-%08x", i, random.Uint32())
	}
	return keys
}

// open starts etcd, servers and clients, and returns when calls run and every
// client has called every server.
func (d *demo) open(ctx context.Context, etcd string, chosen []policy) (err error) {
	d.page.printf("Starting etcd, %d servers and %d clients ...\n", len(fleetConfigs), len(chosen))
	if d.store, err = openStore(ctx, etcd); err != nil {
		return err
	}
	d.fleet = fleet{etcd: d.store.addr, service: d.store.service}
	if err := d.fleet.start(ctx, fleetConfigs...); err != nil {
		return err
	}
	discovery := etcdresolver.NewBuilder(d.store.client, etcdresolver.WithLogger(slog.New(slog.DiscardHandler)))
	for _, p := range chosen {
		c, err := dial(d.store.service, discovery, p)
		if err != nil {
			return err
		}
		d.clients = append(d.clients, c)
	}
	d.traffic = startTraffic(ctx, d.clients, d.keys)
	d.page.setting(d.store)
	err = d.await(ctx, connectLimit, "every client to call every server", func(c *client) bool {
		counts := c.tally.now()
		for _, s := range d.fleet.serving {
			if counts.byServer[s.Name] == 0 {
				return false
			}
		}
		return true
	})
	if err != nil {
		return err
	}
	// While servers were still missing their keys went elsewhere.
	return d.awaitHome(ctx)
}

// awaitHome returns when every key has been called where it belongs.
func (d *demo) awaitHome(ctx context.Context) error {
	return d.await(ctx, homeLimit, "every key to be called where it belongs", func(c *client) bool {
		away, _ := d.astray(c)
		return away == 0
	})
}

// close ends everything that open and the story have started.
func (d *demo) close() error {
	var errs []error
	if d.traffic != nil {
		d.traffic.close()
	}
	for _, c := range d.clients {
		errs = append(errs, c.conn.Close())
	}
	errs = append(errs, d.fleet.close())
	if d.store != nil {
		errs = append(errs, d.store.close())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("cleaning up: %w", err)
	}
	return nil
}

// await polls until done holds for every client.
func (d *demo) await(ctx context.Context, limit time.Duration, what string, done func(*client) bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("waited %v for %s", limit, what))
	defer cancel()
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	for _, c := range d.clients {
		for !done(c) {
			select {
			case <-poll.C:
			case <-ctx.Done():
				err := context.Cause(ctx)
				if _, last := c.tally.lastFailure(); last != nil {
					err = fmt.Errorf("%w; last error of %s: %w", err, c.policy.name, last)
				}
				return err
			}
		}
	}
	return nil
}

// breaks notes a promise that was not kept.
func (d *demo) breaks(format string, args ...any) {
	d.broken = append(d.broken, fmt.Sprintf(format, args...))
}

// conclude says how it all came out.
func (d *demo) conclude(took time.Duration) error {
	if len(d.broken) > 0 {
		return fmt.Errorf("not as promised:\n  %s", strings.Join(d.broken, "\n  "))
	}
	var calls, failed int
	for _, c := range d.clients {
		now := c.tally.now()
		calls, failed = calls+now.calls, failed+now.failed
	}
	d.page.printf("\nAll came out as promised: %d calls in %.0f s, %d failed.\n", calls, took.Seconds(), failed)
	return nil
}
