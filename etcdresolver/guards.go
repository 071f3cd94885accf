package etcdresolver

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// What the shrink guard takes for trouble: so many departures, and more than one
// in so many of the endpoints, within so long.
const (
	shrinkLeast  = 3
	shrinkWindow = 30 * time.Second
	// defaultShrinkHold is twice the registry's default TTL: who lives has
	// registered again by then.
	defaultShrinkHold = 40 * time.Second
	defaultEmptyHold  = 10 * time.Minute
)

// guards decides which of the endpoints that left the list stay for a while. It
// is the one place where a list can be held back.
//
// Endpoints that were draining when they left went on purpose, and no guard holds
// them. Of the others, those that left within a short time are kept when they are
// many (the shrink guard) or when nobody is left (the empty guard): leases that
// run out in an outage of etcd, or a prefix deleted by mistake, look like this, and
// an endpoint that is really gone costs the policies a connection attempt.
type guards struct {
	shrinkHold time.Duration // 0 turns the guard off
	emptyHold  time.Duration // likewise

	departed   map[string]departure // by address: left lately, or held
	emptySince time.Time            // zero while somebody is listed
}

// departure is an endpoint that left the list and did not come back.
type departure struct {
	member *member
	at     time.Time
	until  time.Time // it is held; zero when it is not
}

// guarded is what the guards make of a list.
type guarded struct {
	list []*member // sorted by address
	held int       // of those
	next time.Time // when to look again if nothing changes; zero for never
}

// apply returns the list to publish at now, made of the one that stands in etcd
// and of those among the departed that are held. gone are the members that left
// since the last call. Nothing is released while etcd does not answer.
func (g *guards) apply(now time.Time, list, gone []*member, answering bool) guarded {
	for _, m := range gone {
		if !m.attrs.Draining {
			if g.departed == nil {
				g.departed = make(map[string]departure)
			}
			g.departed[m.addr] = departure{member: m, at: now}
		}
	}
	if len(g.departed) == 0 {
		g.emptySince = time.Time{}
		return guarded{list: list}
	}
	g.welcome(list)
	g.hold(now, len(list))
	return g.release(now, list, answering)
}

// forget forgets those among the departed whom an operator drains.
func (g *guards) forget(drains func(*member) bool) {
	maps.DeleteFunc(g.departed, func(_ string, d departure) bool { return drains(d.member) })
}

// welcome forgets the departure of those who are back.
func (g *guards) welcome(list []*member) {
	for _, m := range list {
		delete(g.departed, m.addr)
	}
}

// hold decides about those who left lately.
func (g *guards) hold(now time.Time, listed int) {
	lately := 0
	for _, d := range g.departed {
		if now.Sub(d.at) <= shrinkWindow {
			lately++
		}
	}
	shrunk := g.shrinkHold > 0 && lately >= shrinkLeast && lately > listed
	emptied := g.emptyHold > 0 && listed == 0 && g.emptySince.IsZero()
	refilled := listed > 0 && !g.emptySince.IsZero()
	for addr, d := range g.departed {
		late := now.Sub(d.at) <= shrinkWindow
		switch {
		case emptied && (late || !d.until.IsZero()):
			d.until = now.Add(g.emptyHold)
		case refilled && !d.until.IsZero(): // the others are on their way
			d.until = now.Add(g.shrinkHold)
		case shrunk && late && d.until.IsZero():
			d.until = d.at.Add(g.shrinkHold)
		}
		g.departed[addr] = d
	}
	switch {
	case listed > 0:
		g.emptySince = time.Time{}
	case g.emptySince.IsZero():
		g.emptySince = now
	}
}

// release adds to the list those who are held, and forgets the others in time.
func (g *guards) release(now time.Time, list []*member, answering bool) guarded {
	var held []*member
	var next time.Time
	for addr, d := range g.departed {
		over := !d.until.After(now) && (answering || d.until.IsZero())
		switch {
		case over && now.Sub(d.at) > shrinkWindow:
			delete(g.departed, addr)
		case over: // counts, should more follow
			d.until = time.Time{}
			g.departed[addr] = d
		default:
			held = append(held, d.member)
			if d.until.After(now) && (next.IsZero() || d.until.Before(next)) {
				next = d.until
			}
		}
	}
	return guarded{list: merge(list, held), held: len(held), next: next}
}

// merge returns a list of both, sorted by address as list is.
func merge(list, held []*member) []*member {
	if len(held) == 0 {
		return list
	}
	merged := append(slices.Clone(list), held...)
	slices.SortFunc(merged, func(a, b *member) int { return cmp.Compare(a.addr, b.addr) })
	return merged
}
