package demo

import (
	"context"
	"fmt"
	"time"

	"github.com/steelyard-go/steelyard/attrs"
)

// listed is what a client's list says of a server.
type listed struct {
	attrs.Attrs
	present bool
}

// onList tells when a client's list came to say what is wanted of an address.
func onList(addr string, wanted func(listed) bool) func(*client) time.Time {
	return func(c *client) time.Time {
		a, present, at := c.lists.get(addr)
		if !wanted(listed{a, present}) {
			return time.Time{}
		}
		return at
	}
}

// untilLast takes the last call to the server for the end, where that came after what followed tells.
func untilLast(server string, followed func(*client) time.Time) func(*client) time.Time {
	return func(c *client) time.Time {
		at := followed(c)
		if _, last := c.tally.server(server); !at.IsZero() && last.After(at) {
			return last
		}
		return at
	}
}

// tell makes a step, looks on while the clients call, and prints what came of it.
func (d *demo) tell(ctx context.Context, number int, s step) error {
	if s.within == 0 {
		s.within = followLimit
	}
	brokenBefore := len(d.broken)
	promise := func(kept bool, format string, args ...any) {
		if !kept {
			d.breaks("step %d, %s: %s", number, s.what, fmt.Sprintf(format, args...))
		}
	}
	d.page.stepHead(number, s.what)
	before := d.readAll()
	since, err := s.do(ctx)
	if err != nil {
		return err
	}
	if err := d.awaitFollowed(ctx, s, since); err != nil {
		return err
	}
	steady := d.readAll()
	if err := d.awaitWindow(ctx, s, steady); err != nil {
		return err
	}
	after := d.readAll()

	o := d.judge(s, before, steady, after, promise)
	o.followed = d.followedAfter(s, since)
	promise(o.followed <= s.within, "the last client followed after %v, promised within %v", o.followed.Round(time.Millisecond), s.within)
	o.kept = len(d.broken) == brokenBefore
	d.page.stepRow(o)
	if s.tellShares {
		d.page.stepShares(s.about, d.shareOf(s.about, steady, after))
	}
	return nil
}

func (d *demo) awaitFollowed(ctx context.Context, s step, since time.Time) error {
	if s.followed == nil {
		return nil
	}
	// Twice the promise: that it was kept late is worth telling.
	limit := 2*s.within - time.Since(since)
	err := d.await(ctx, limit, "every client to follow", func(c *client) bool { return !s.followed(c).IsZero() })
	if err != nil {
		return err
	}
	return d.awaitHome(ctx)
}

// followedAfter is the time of the last client, or -1 if there was nothing to
// follow. A client of the hash policy has followed when its keys have, too: its
// table is built while the one before it serves.
func (d *demo) followedAfter(s step, since time.Time) time.Duration {
	if s.followed == nil {
		return -1
	}
	var last time.Duration
	for _, c := range d.clients {
		_, home := d.astray(c)
		last = max(last, s.followed(c).Sub(since), home.Sub(since))
	}
	return last
}

// awaitWindow looks on for as many calls as it takes, and as long as the step lasts.
func (d *demo) awaitWindow(ctx context.Context, s step, steady []reading) error {
	if err := d.awaitCalls(ctx, steady, windowCalls); err != nil {
		return err
	}
	return d.await(ctx, runLimit, "the step to end", func(*client) bool { return time.Since(steady[0].at) >= s.lasts })
}

// judge adds up what the clients saw between the readings and holds it against the promises.
func (d *demo) judge(s step, before, steady, after []reading, promise func(kept bool, format string, args ...any)) outcome {
	o := outcome{moved: -1}
	for i, c := range d.clients {
		o.calls += after[i].calls - before[i].calls
		o.failed += after[i].failed - before[i].failed
		v := c.policy.check(d.sharesOf(c, steady[i], after[i]))
		promise(v.kept, "shares of %s: %s", c.policy.name, v.figure)
		if _, last := c.tally.server(s.about); s.nothingAfter {
			promise(!last.After(steady[i].at), "%s still called %s", c.policy.name, s.about)
		}
		for _, server := range d.fleet.serving {
			_, present, _ := c.lists.get(server.addr)
			promise(present, "%s lost %s from its list", c.policy.name, server.Name)
			// Only those to servers in service: the last one to a killed process may be made
			// by the kernel, whose backlog outlives it by a moment.
			o.connections += after[i].connections[server.addr] - before[i].connections[server.addr]
		}
		if c.isHash() {
			var strays int
			o.moved, strays = movedKeys(before[i].homes, after[i].homes, s.about)
			most := int(s.strays * float64(len(d.keys)))
			promise(strays <= most, "%d keys moved between other servers, promised at most %d", strays, most)
			away, _ := d.astray(c)
			promise(away == 0, "%d keys are called elsewhere than any process with the same list would call them", away)
		}
	}
	promise(o.failed <= s.mayFail, "%d calls failed, promised at most %d; the last: %v", o.failed, s.mayFail, d.lastFailure())
	want := s.connections * len(d.clients)
	promise(o.connections == want, "%d connections were made, promised %d", o.connections, want)
	return o
}

// lastFailure is the error of the last call that failed, of any client.
func (d *demo) lastFailure() (err error) {
	var latest time.Time
	for _, c := range d.clients {
		if at, e := c.tally.lastFailure(); at.After(latest) {
			latest, err = at, e
		}
	}
	return err
}

// shareOf tells a server's share by each policy, with the expected one in brackets.
func (d *demo) shareOf(name string, from, to []reading) []string {
	var parts []string
	for i, c := range d.clients {
		s := d.sharesOf(c, from[i], to[i])
		for j, server := range d.fleet.serving {
			if server.Name == name {
				total := float64(sum(s.observed))
				parts = append(parts, fmt.Sprintf("%s %s (%s%s)", c.policy.short,
					percent(float64(s.observed[j])/total), c.policy.about, percent(s.expected[j]/total)))
			}
		}
	}
	return parts
}
