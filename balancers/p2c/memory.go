package p2c

import (
	"math"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/balancer"

	"github.com/steelyard-go/steelyard/balancers"
)

const (
	referenceGain = 1.0 / 256
	maxReference  = 4 // times the reference: what a sample counts for in it at the most
)

// memory is what one channel's policy remembers from build to build.
type memory struct {
	epoch     time.Time
	reference atomic.Uint64 // float64 bits: the channel's slow mean latency in nanoseconds, 0 before any
	endpoints map[*balancers.Load]*endpoint
}

func newMemory() *memory {
	return &memory{epoch: time.Now(), endpoints: make(map[*balancers.Load]*endpoint)}
}

func (m *memory) clock() time.Duration { return time.Since(m.epoch) }

func (m *memory) slowLatency() float64 { return math.Float64frombits(m.reference.Load()) }

// update brings the endpoints known into line with the membership: those that
// left the list are dropped, those that came back from an outage are unknown.
func (m *memory) update(members []balancers.Backend) {
	old := m.endpoints
	m.endpoints = make(map[*balancers.Load]*endpoint, len(members))
	for _, b := range members {
		e, known := old[b.Load]
		if !known {
			e = &endpoint{load: b.Load}
		}
		if e.absent && b.SubConn != nil {
			e.forget()
		}
		e.absent = b.SubConn == nil && !b.Attrs.Draining
		m.endpoints[b.Load] = e
	}
}

// learnTimed takes in how a call ended and how long it took.
func (m *memory) learnTimed(e *endpoint, info balancer.DoneInfo, start time.Duration) {
	now := m.clock()
	took := now - start
	failed, known := outcome(info.Err)
	if !known || noCall(info) && took < instant {
		return
	}
	at := tickOf(now)
	e.sampleOutcome(failed, at)
	if info.Err != nil && !failed {
		return // an answer, but one that may have cost less than the others
	}
	if !failed {
		m.sampleReference(float64(took))
	}
	reference := m.slowLatency()
	if reference == 0 { // nothing but failures so far
		reference = float64(took)
	}
	e.sampleLatency(float64(took), failed, at, reference)
}

// sampleReference moves the reference. Where another call does so in the same
// instant one of the two samples is dropped: it is a slow mean of many.
func (m *memory) sampleReference(took float64) {
	old := m.reference.Load()
	value := math.Float64frombits(old)
	if value == 0 {
		value = took
	}
	value += (min(took, maxReference*value) - value) * referenceGain
	m.reference.CompareAndSwap(old, math.Float64bits(value))
}
