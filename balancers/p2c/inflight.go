package p2c

import (
	"math/bits"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc/balancer"
)

// A call in flight holds a slot of its endpoint. The slots are bits of one word,
// so that one atomic operation counts a call and tells it from all others, and
// one counts it out, once. Each slot has its Done bound for good. The first few
// lie in the endpoint itself, whose memory a pick has at hand; more are made
// when so many calls are in flight for the first time.
const (
	slots     = 64
	slotBlock = 4
)

// inFlight counts the calls in flight at one endpoint. Those beyond the slots
// have pooled records. It is safe for concurrent use.
type inFlight struct {
	held   atomic.Uint64 // the slots that are taken
	others atomic.Int64  // calls without a slot
	first  [slotBlock]slot
	more   [slots/slotBlock - 1]atomic.Pointer[[slotBlock]slot]
}

// slot is the record of one call in flight.
type slot struct {
	start atomic.Int64
	done  func(balancer.DoneInfo)
}

// count returns how many calls have begun and not ended.
func (f *inFlight) count() int64 {
	return int64(bits.OnesCount64(f.held.Load())) + f.others.Load()
}

// begin counts a call in and returns its Done. The Done may come late, or twice:
// a second one counts nothing out unless another call has the record by then,
// which then counts as ended early. So the count is off by that call while it
// lasts, and never for good.
func (e *endpoint) begin(start int64) func(balancer.DoneInfo) {
	for {
		held := e.inFlight.held.Load()
		i := bits.TrailingZeros64(^held)
		if i == slots {
			return e.beginWithoutSlot(start)
		}
		s := e.slot(i)
		if e.inFlight.held.CompareAndSwap(held, held|1<<i) {
			if start != s.start.Load() { // untimed calls spare the write
				s.start.Store(start)
			}
			return s.done
		}
	}
}

func (e *endpoint) slot(i int) *slot {
	if i < slotBlock {
		return &e.inFlight.first[i]
	}
	more := &e.inFlight.more[i/slotBlock-1]
	block := more.Load()
	if block == nil {
		block = new([slotBlock]slot)
		e.bind(block, i/slotBlock)
		if !more.CompareAndSwap(nil, block) {
			block = more.Load()
		}
	}
	return &block[i%slotBlock]
}

// bind makes the Dones of the nth block.
func (e *endpoint) bind(block *[slotBlock]slot, n int) {
	for j := range block {
		s, bit := &block[j], uint64(1)<<(n*slotBlock+j)
		s.done = func(info balancer.DoneInfo) { e.end(s, bit, &info) }
	}
}

func (e *endpoint) end(s *slot, bit uint64, info *balancer.DoneInfo) {
	start := s.start.Load()
	if e.inFlight.held.And(^bit)&bit != 0 {
		e.learn(info, start)
	}
}

// record is a slot for calls that found none free.
type record struct {
	endpoint atomic.Pointer[endpoint] // nil once the call has ended
	start    int64
	done     func(balancer.DoneInfo)
}

var records sync.Pool // of *record; it says nothing of any channel

func (e *endpoint) beginWithoutSlot(start int64) func(balancer.DoneInfo) {
	r, ok := records.Get().(*record)
	if !ok {
		r = new(record)
		r.done = r.end
	}
	e.inFlight.others.Add(1)
	r.start = start
	r.endpoint.Store(e)
	return r.done
}

func (r *record) end(info balancer.DoneInfo) {
	if e := r.endpoint.Swap(nil); e != nil {
		start := r.start
		records.Put(r)
		e.inFlight.others.Add(-1)
		e.learn(&info, start)
	}
}
