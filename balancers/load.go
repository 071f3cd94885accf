package balancers

import (
	"sync"
	"sync/atomic"

	"google.golang.org/grpc/balancer"
)

// Load counts the calls of one channel in flight at one endpoint. It is safe
// for concurrent use; the zero Load counts from 0.
type Load struct {
	inFlight atomic.Int64
}

// InFlight returns how many calls have begun and not ended.
func (l *Load) InFlight() int64 { return l.inFlight.Load() }

// Begin counts a call in and returns the Done for its [balancer.PickResult].
// It allocates nothing in the long run.
//
// The Done may come late, after any number of rebuilds: it counts out where
// the call was counted in. A second Done of the same call counts nothing out,
// unless its record serves another call by then, which is then counted out
// early: the count is off by that call while it lasts, and never for good.
func (l *Load) Begin() func(balancer.DoneInfo) {
	l.inFlight.Add(1)
	return begin(l, nil)
}

// Enter counts in a call that has no backend yet, for a total that a policy
// keeps of the whole channel, and returns how many calls that makes. The call
// gets its backend by [Load.BeginWithin], or leaves.
func (l *Load) Enter() int64 { return l.inFlight.Add(1) }

// Leave counts out a call that has entered and gets no backend.
func (l *Load) Leave() { l.inFlight.Add(-1) }

// BeginWithin is [Load.Begin] for a backend that may hold at most bound calls:
// it counts nothing and returns false if it holds as many. The call has entered
// total, and is counted out there too when it ends.
func (l *Load) BeginWithin(bound int64, total *Load) (done func(balancer.DoneInfo), ok bool) {
	for {
		held := l.inFlight.Load()
		if held >= bound {
			return nil, false
		}
		if l.inFlight.CompareAndSwap(held, held+1) {
			return begin(l, total), true
		}
	}
}

// call is the record of one call in flight. Its done function is bound once
// and lives as long as the record, which is what spares the allocation.
type call struct {
	load  atomic.Pointer[Load] // nil once the call has ended
	total *Load                // may be nil
	done  func(balancer.DoneInfo)
}

var calls sync.Pool // of *call; it says nothing of any channel

func begin(l, total *Load) func(balancer.DoneInfo) {
	c, ok := calls.Get().(*call)
	if !ok {
		c = new(call)
		c.done = func(balancer.DoneInfo) { c.end() }
	}
	c.total = total
	c.load.Store(l)
	return c.done
}

// end counts out exactly once per call, however often it is called: only who
// swaps the load out may count and hand the record back.
func (c *call) end() {
	l := c.load.Swap(nil)
	if l == nil {
		return
	}
	if c.total != nil {
		c.total.inFlight.Add(-1)
	}
	l.inFlight.Add(-1)
	calls.Put(c)
}
