package simulation

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"time"
	"unsafe"

	"google.golang.org/grpc/balancer"
)

// call is one call from its arrival until client and server are both through
// with it. Calls are used again.
type call struct {
	client *client
	server *server
	start  time.Duration
	work   float64 // in mean service times
	luck   float64 // from 0 to 1: it fails at a server that fails so often
	key    uint64
	done   func(balancer.DoneInfo)

	open   bool // the client waits for it
	held   bool // the server has it, or the agenda does
	failed bool // the server will answer with an error

	before, after *call // among the open calls
	behind        *call // the next in the server's queue, or among those to use again
}

// openCalls are the calls that clients wait for, oldest first. All have the same
// time to live, so the first is the next whose deadline passes.
type openCalls struct {
	first, last *call
}

func (o *openCalls) add(c *call) {
	c.before, c.after = o.last, nil
	if o.last == nil {
		o.first = c
	} else {
		o.last.after = c
	}
	o.last = c
}

func (o *openCalls) remove(c *call) {
	if c.before == nil {
		o.first = c.after
	} else {
		c.before.after = c.after
	}
	if c.after == nil {
		o.last = c.before
	} else {
		c.after.before = c.before
	}
	c.before, c.after = nil, nil
}

// source draws the calls. All that it draws it draws in a fixed order, so that
// a seed gives the same calls to each policy.
type source struct {
	random  *rand.Rand
	meanGap float64 // between calls, in nanoseconds
	clients []*client
	service distribution
	next    float64 // when the next call comes
}

func newSource(seed uint64, callsPerSecond float64, clients []*client, service distribution) *source {
	s := &source{
		random:  rand.New(rand.NewPCG(seed, 0x5eed)),
		meanGap: float64(time.Second) / callsPerSecond,
		clients: clients,
		service: service,
	}
	s.advance()
	return s
}

// at is when the next call comes.
func (s *source) at() time.Duration { return toStep(s.next) }

// draw fills in the next call.
func (s *source) draw(c *call) {
	c.start = s.at()
	c.client = s.clients[s.random.IntN(len(s.clients))]
	c.work = s.service.draw(s.random)
	c.luck = s.random.Float64()
	c.key = s.random.Uint64()
	s.advance()
}

func (s *source) advance() { s.next += s.random.ExpFloat64() * s.meanGap }

// distribution of service times, with mean 1.
type distribution struct {
	name string
	draw func(*rand.Rand) float64
}

// keyed makes the PickInfo of calls. The context is made once and points to the
// key, which is written anew for every call: no call pays for a context.
type keyed struct {
	info balancer.PickInfo
	key  [8]byte
}

func newKeyed(withKey func(key string) context.Context) *keyed {
	k := &keyed{info: balancer.PickInfo{FullMethodName: "/simulation.Service/Call", Ctx: context.Background()}}
	if withKey != nil {
		k.info.Ctx = withKey(unsafe.String(&k.key[0], len(k.key)))
	}
	return k
}

func (k *keyed) of(c *call) balancer.PickInfo {
	binary.LittleEndian.PutUint64(k.key[:], c.key)
	return k.info
}
