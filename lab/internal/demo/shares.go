package demo

import (
	"context"
	"fmt"
	"time"
)

// reading is what was seen of a client up to a moment.
type reading struct {
	at          time.Time
	connections map[string]int // made so far, by address
	counts
}

func (c *client) read() reading {
	return reading{at: time.Now(), connections: c.conns.connections(), counts: c.tally.now()}
}

func (d *demo) readAll() []reading {
	readings := make([]reading, len(d.clients))
	for i, c := range d.clients {
		readings[i] = c.read()
	}
	return readings
}

// between are the calls each server answered from one reading to the next.
func between(from, to reading) map[string]int {
	answered := make(map[string]int)
	for server, n := range to.byServer {
		if n -= from.byServer[server]; n > 0 {
			answered[server] = n
		}
	}
	return answered
}

// awaitCalls returns when every client has made n more calls.
func (d *demo) awaitCalls(ctx context.Context, from []reading, n int) error {
	begun := make(map[*client]int)
	for i, c := range d.clients {
		begun[c] = from[i].calls
	}
	// The context bounds it: how long n calls take is up to the machine.
	return d.await(ctx, runLimit, "calls", func(c *client) bool { return c.tally.now().calls-begun[c] >= n })
}

// sharesOf holds what the client called between two readings against the
// weights of the servers that shall take calls.
func (d *demo) sharesOf(c *client, from, to reading) shares {
	names := make([]string, len(d.fleet.serving))
	for i, s := range d.fleet.serving {
		names[i] = s.Name
	}
	return c.policy.sharesOf(between(from, to), names, d.fleet.weights())
}

// showShares is the first part: nothing changes, and each policy's shares are
// held against what it promises.
func (d *demo) showShares(ctx context.Context) error {
	from := d.readAll()
	d.page.printf("\nPart 1: who gets the calls while nothing changes. %d calls by each client: ", d.calls)
	for percent := 25; percent <= 100; percent += 25 {
		if err := d.awaitCalls(ctx, from, d.calls*percent/100); err != nil {
			return err
		}
		d.page.printf(" %d%%", percent)
	}
	d.page.printf("\n")
	to := d.readAll()
	for i, c := range d.clients {
		s := d.sharesOf(c, from[i], to[i])
		v := c.policy.check(s)
		if failed := to[i].failed - from[i].failed; failed > 0 {
			_, err := c.tally.lastFailure()
			d.breaks("part 1, %s: %d calls failed, promised 0; the last: %v", c.policy.name, failed, err)
		}
		d.page.shares(c.policy, d.fleet.serving, s)
		if c.isHash() {
			moved, _ := movedKeys(from[i].homes, to[i].homes, "")
			away, _ := d.astray(c)
			v.figure += fmt.Sprintf("; of %d keys %d kept their server, and %d are where any process would look for them", len(d.keys), len(d.keys)-moved, len(d.keys)-away)
			v.kept = v.kept && moved == 0 && away == 0
		}
		if !v.kept {
			d.breaks("part 1, %s: %s", c.policy.name, v.figure)
		}
		d.page.verdict(v)
	}
	return nil
}
