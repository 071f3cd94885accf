package demo

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// page prints plain text, in tables of fixed widths: rows appear as things happen.
type page struct {
	out io.Writer
	// failed is told when the output cannot be written: nobody reads any more.
	failed func(error)
}

func (p page) printf(format string, args ...any) {
	if _, err := fmt.Fprintf(p.out, format, args...); err != nil {
		p.failed(fmt.Errorf("output: %w", err))
	}
}

func (p page) setting(s *store) {
	whose := "started for this demo, a process of its own"
	if s.own == nil {
		whose = "yours; only keys under " + s.prefix() + " are written, and removed at the end"
	}
	p.printf("\n  etcd     %s, %s\n", s.addr, whose)
	p.printf("  servers  each a process that registers address, zone and weight under %s, with a lease of %v\n", s.prefix(), leaseTTL)
	p.printf("  clients  one per policy, dialing etcd:///%s, each with %d callers that call all the time\n", s.service, callers)
}

// shares prints what each server got.
func (p page) shares(pol policy, servers []*server, s shares) {
	p.printf("\n%s: %s\n", pol.name, pol.promise)
	p.printf("  %-10s %-6s %8s %10s %10s %8s\n", "server", "zone", "weight", "expected", "observed", "calls")
	total := float64(sum(s.observed))
	for i, server := range servers {
		p.printf("  %-10s %-6s %8d %10s %10s %8d\n", server.Name, server.Zone, server.Weight,
			pol.about+percent(s.expected[i]/total), percent(float64(s.observed[i])/total), s.observed[i])
	}
}

func (p page) verdict(v verdict) { p.printf("  as promised: %s; %s\n", asPromised(v.kept), v.figure) }

func (p page) storyHead(promises ...string) {
	p.printf("\nPart 2: what happens when something changes. All clients keep calling.\n")
	for _, promise := range promises {
		p.printf("  %s\n", promise)
	}
	p.printf("\n  # %-46s %9s %12s %7s %7s %11s  %s\n", "what happens", "followed", "connections", "calls", "failed", "keys moved", "as promised")
}

// stepHead prints what happens, before it does.
func (p page) stepHead(number int, what string) { p.printf("  %d %-46s ", number, what) }

// outcome is what is told of a step.
type outcome struct {
	followed    time.Duration // until the last client followed; negative if there is nothing to follow
	connections int           // made by all clients, to servers in service
	calls       int
	failed      int
	moved       int // keys; negative without a hash policy
	kept        bool
}

func (p page) stepRow(o outcome) {
	followed, moved := "-", "-"
	if o.followed >= 0 {
		followed = seconds(o.followed)
	}
	if o.moved >= 0 {
		moved = strconv.Itoa(o.moved)
	}
	p.printf("%9s %12d %7d %7d %11s  %s\n", followed, o.connections, o.calls, o.failed, moved, asPromised(o.kept))
}

// stepShares prints what the server that the step is about gets now, by each policy.
func (p page) stepShares(server string, parts []string) {
	p.printf("      %s now gets: %s\n", server, strings.Join(parts, ", "))
}

func (p page) skipped(number int, what, why string) {
	p.stepHead(number, what)
	p.printf("skipped: %s\n", why)
}

func asPromised(kept bool) string {
	if kept {
		return "yes"
	}
	return "NO"
}

func percent(share float64) string { return fmt.Sprintf("%.1f%%", 100*share) }

// seconds shows short times in milliseconds.
func seconds(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}
