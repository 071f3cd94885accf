package balancers

import (
	"sync"
	"time"

	"google.golang.org/grpc/balancer"
)

// Lists up to shortList endpoints are built anew at each change: that is
// cheaper than any bookkeeping. Longer ones keep a pause between builds, long
// enough that builds take a fifth of the time or so, and short enough for calls
// whose only choice has left to wait for its end. So connecting n backends costs
// in proportion to n and not to its square.
const (
	shortList = 64
	minPause  = 5 * time.Millisecond
	pauseCost = 4 // the pause is this many times what the build took, within bounds
	maxPause  = 50 * time.Millisecond
)

// pace holds builds of long lists apart. The zero pace lets the next build
// pass. It is guarded by the channel's mutex.
type pace struct {
	pause  alarm           // set while the last build is less than a pause ago
	owed   bool            // something changed since
	picker balancer.Picker // the last one built
	guard  *guard          // around it, nil until a backend leaves
}

// builtLocked takes note of a build that c has just made. If its list is long a
// pause begins.
func (p *pace) builtLocked(c *channel, picker balancer.Picker, took time.Duration) {
	p.pause.stop()
	*p = pace{picker: picker}
	if len(c.sorted) > shortList {
		p.pause.set(c, pauseAfter(took), c.restedLocked)
	}
}

// pauseAfter returns the pause after a build that took so long.
func pauseAfter(took time.Duration) time.Duration {
	return min(max(minPause, pauseCost*took), maxPause)
}

func (p *pace) resting() bool { return p.pause.isSet() }

// exclude takes a SubConn out of the last picker at once, at the cost of one
// map entry. It returns the guarded picker when it is new and has to be
// published, else nil.
func (p *pace) exclude(sc balancer.SubConn) balancer.Picker {
	p.owed = true
	isNew := p.guard == nil
	if isNew {
		p.guard = &guard{inner: p.picker}
	}
	p.guard.gone.Store(sc, nil)
	if isNew {
		return p.guard
	}
	return nil
}

// readmit lets a SubConn that came back into the last picker again, if it was
// there; a new one waits for the build that is owed now.
func (p *pace) readmit(sc balancer.SubConn) {
	p.owed = true
	if p.guard != nil {
		p.guard.gone.Delete(sc)
	}
}

// Sparing is what a picker may be that chooses by more than chance: asked again, it
// would name the same backend again. PickBut is Pick without the backends that have
// left since the picker was built. It is called instead of Pick then.
type Sparing interface {
	PickBut(left func(balancer.SubConn) bool, info balancer.PickInfo) (balancer.PickResult, error)
}

// guard is a picker without those of its backends that have left since it was
// built. It serves for a pause at the most.
type guard struct {
	inner balancer.Picker
	gone  sync.Map // balancer.SubConn → nil
}

// guardTries bounds how often a guard asks for another backend. A call whose
// every pick has left waits for the next picker.
const guardTries = 8

// Pick implements [balancer.Picker].
func (g *guard) Pick(info balancer.PickInfo) (balancer.PickResult, error) {
	if sparing, ok := g.inner.(Sparing); ok {
		return sparing.PickBut(g.has, info)
	}
	for range guardTries {
		picked, err := g.inner.Pick(info)
		if err != nil {
			return picked, err
		}
		if !g.has(picked.SubConn) {
			return picked, nil
		}
		if picked.Done != nil {
			picked.Done(balancer.DoneInfo{}) // as gRPC does with a SubConn that is not READY
		}
	}
	return balancer.PickResult{}, balancer.ErrNoSubConnAvailable
}

// has reports whether a backend has left.
func (g *guard) has(sc balancer.SubConn) bool {
	_, gone := g.gone.Load(sc)
	return gone
}
