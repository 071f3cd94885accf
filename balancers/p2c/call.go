package p2c

import (
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/balancer"
)

// noCall reports whether nothing went over the wire, without an error: so gRPC
// ends a pick whose connection had just been lost.
func noCall(info balancer.DoneInfo) bool {
	return info.Err == nil && !info.BytesSent && !info.BytesReceived
}

// instant is how soon it does so. What takes longer is a unit test that ends its
// calls with an empty DoneInfo, and means success.
const instant = 20 * time.Microsecond

// call is the record of one call in flight. Its done function is bound once
// and lives as long as the record, which spares the allocation.
type call struct {
	endpoint atomic.Pointer[endpoint] // nil once the call has ended
	memory   *memory
	timed    bool
	start    time.Duration // on the memory's clock
	done     func(balancer.DoneInfo)
}

var calls sync.Pool // of *call; it says nothing of any channel

// begin counts a call in and returns its Done. The Done may come late, or
// twice: see [balancers.Load.Begin].
func (m *memory) begin(e *endpoint, timed bool, now time.Duration) func(balancer.DoneInfo) {
	c, ok := calls.Get().(*call)
	if !ok {
		c = new(call)
		c.done = func(info balancer.DoneInfo) { c.end(info) }
	}
	e.load.Enter()
	c.memory, c.timed, c.start = m, timed, now
	c.endpoint.Store(e)
	return c.done
}

// end counts out and learns exactly once per call, however often it is called:
// only who swaps the endpoint out may go on and hand the record back.
func (c *call) end(info balancer.DoneInfo) {
	e := c.endpoint.Swap(nil)
	if e == nil {
		return
	}
	e.load.Leave()
	if c.timed {
		c.memory.learnTimed(e, info, c.start)
	} else if failed, known := outcome(info.Err); known && !noCall(info) {
		e.sampleOutcome(failed, 0)
	}
	calls.Put(c)
}
