package p2c

import (
	"math/bits"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc/balancer"
)

// A call in flight holds a slot of its endpoint. The slots are bits of one word,
// so that one atomic operation counts a call and tells it from all others, and
// one counts it out, once. Each slot has its Done bound for good; they are made
// a few at a time, when so many calls are in flight for the first time.
const (
	slots     = 64
	slotBlock = 8
)

// inFlight counts the calls in flight at one endpoint. Those beyond the slots
// have pooled records. It is safe for concurrent use.
type inFlight struct {
	held   atomic.Uint64 // the slots that are taken
	others atomic.Int64  // calls without a slot
	blocks [slots / slotBlock]atomic.Pointer[[slotBlock]slot]
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
		block := e.inFlight.blocks[i/slotBlock].Load()
		if block == nil {
			block = e.makeBlock(i / slotBlock)
		}
		if e.inFlight.held.CompareAndSwap(held, held|1<<i) {
			s := &block[i%slotBlock]
			if start != s.start.Load() { // untimed calls spare the write
				s.start.Store(start)
			}
			return s.done
		}
	}
}

func (e *endpoint) makeBlock(i int) *[slotBlock]slot {
	block := new([slotBlock]slot)
	for j := range block {
		s := &block[j]
		s.endpoint, s.bit = e, 1<<(i*slotBlock+j)
		s.done = s.end
	}
	if !e.inFlight.blocks[i].CompareAndSwap(nil, block) {
		return e.inFlight.blocks[i].Load()
	}
	return block
}

// slot is the record of one call in flight.
type slot struct {
	endpoint *endpoint
	bit      uint64
	start    atomic.Int64
	done     func(balancer.DoneInfo)
}

func (s *slot) end(info balancer.DoneInfo) {
	start := s.start.Load()
	if s.endpoint.inFlight.held.And(^s.bit)&s.bit != 0 {
		s.endpoint.learn(&info, start)
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
