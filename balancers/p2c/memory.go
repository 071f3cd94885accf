package p2c

import (
	"context"
	"math"
	"sync/atomic"
	"time"

	"github.com/steelyard-go/steelyard/balancers"
)

// memory is what one channel's policy remembers from build to build. Picks and
// the ends of calls use its clock, reference and methods concurrently; endpoints
// belongs to the builds.
type memory struct {
	ctx       context.Context // ends when the channel closes
	epoch     time.Time
	timed     bool      // builds: picks read the clock
	ticker    ticker    // the clock of picks that read none
	reference reference // of latency, in nanoseconds
	busyness  reference // of what load reports say
	methods   methods
	sides     sides
	builds    uint32
	endpoints map[*balancers.Load]*endpoint
}

func newMemory(ctx context.Context) *memory {
	m := &memory{ctx: ctx, epoch: time.Now(), endpoints: make(map[*balancers.Load]*endpoint)}
	m.ticker.clock = func() tick { return tickOf(m.clock()) }
	return m
}

// clock returns the nanoseconds since the channel's first build.
func (m *memory) clock() int64 { return int64(time.Since(m.epoch)) }

// setTimed says whether picks read the clock. Where that changes the ticker
// catches up with the clock, for what has been learned by the one fades by the
// other.
func (m *memory) setTimed(timed bool) {
	if m.builds > 0 && timed != m.timed {
		m.ticker.windUp(m.ctx)
	}
	m.timed = timed
}

// update brings the endpoints known into line with the membership: those that
// left the list are dropped, those whose connection is a new one are unknown.
func (m *memory) update(members []balancers.Backend) {
	m.builds++
	for i := range members {
		b := &members[i]
		e, known := m.endpoints[b.Load]
		if !known {
			e = newEndpoint(m)
			m.endpoints[b.Load] = e
		}
		if e.session != b.Session {
			e.forget()
			e.session = b.Session
		}
		e.seen = m.builds
	}
	if len(m.endpoints) == len(members) {
		return
	}
	for load, e := range m.endpoints {
		if e.seen != m.builds {
			delete(m.endpoints, load)
		}
	}
}

const (
	referenceGain = 1.0 / 256
	maxReference  = 4 // times the reference: what a sample counts for in it at the most
)

// reference is a channel's slow mean over its calls, 0 before any. It is safe for
// concurrent use.
type reference struct {
	bits atomic.Uint64 // of a float64
}

func (r *reference) load() float64 { return math.Float64frombits(r.bits.Load()) }

// sample takes in one call. Where another does so in the same instant one of the
// two is dropped: it is a slow mean of many.
func (r *reference) sample(sample float64) {
	old := r.bits.Load()
	value := math.Float64frombits(old)
	if value == 0 {
		value = sample
	}
	value += (min(sample, maxReference*value) - value) * referenceGain
	r.bits.CompareAndSwap(old, math.Float64bits(value))
}
