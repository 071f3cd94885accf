package simulation

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc/resolver"

	"github.com/steelyard-go/steelyard/attrs"
)

// scenario is what happens to clients and servers, and what is promised of it.
// Only name and load are needed, the rest has defaults: see filledIn.
type scenario struct {
	name string
	load float64 // calls that come, as a part of what the servers can do when all are well

	backends int           // 30
	workers  int           // of each backend, times its weight: 4
	weights  []uint32      // dealt out to the backends in turn: 1
	zones    []zone        // none: no backend and no client has a zone
	service  distribution  // of the work of a call, 10 ms in the mean: exponential
	clients  []int         // how many, one run for each number: 20 and 200
	from, to time.Duration // the calls that count are those that begin in this time: 5 s to 15 s
	callers  string        // the zone whose clients' calls count, "" for all calls
	timeline []change      // in order of time
	watched  which         // the backends whose share is told: nil for none
	also     []string      // variants of policies that run too
	promises []promise
}

// zone holds so many of the backends, the first ones in the first zone, and
// so many parts of the clients.
type zone struct {
	Name     string `json:"name"`
	Backends int    `json:"backends"`
	Clients  int    `json:"clients"`
}

// change lets backends be in another condition from a moment on. What stands at
// 0 is so before the clients connect.
type change struct {
	at     time.Duration
	who    which
	become condition
}

// backend is what a which can tell backends by.
type backend struct {
	index int
	zone  string
}

// which tells whether a backend is meant.
type which func(backend) bool

func everyone(backend) bool { return true }

func only(i int) which { return func(b backend) bool { return b.index == i } }

func everyNth(n int) which { return func(b backend) bool { return b.index%n == 0 } }

func inZone(name string) which { return func(b backend) bool { return b.zone == name } }

var (
	exponential = distribution{name: "exponential", draw: (*rand.Rand).ExpFloat64}
	// lognormal with σ = 1: one call in a hundred takes six times the mean.
	lognormal = distribution{
		name: "lognormal",
		draw: func(r *rand.Rand) float64 { return math.Exp(r.NormFloat64() - 0.5) },
	}
)

// filledIn returns sc with its defaults.
func (sc scenario) filledIn() scenario {
	if sc.backends == 0 {
		sc.backends = 30
	}
	if sc.workers == 0 {
		sc.workers = 4
	}
	if sc.weights == nil {
		sc.weights = []uint32{1}
	}
	if sc.service.draw == nil {
		sc.service = exponential
	}
	if sc.clients == nil {
		sc.clients = []int{20, 200}
	}
	if sc.to == 0 {
		sc.from, sc.to = 5*time.Second, 15*time.Second
	}
	return sc
}

// servers returns the scenario's servers, all well.
func (sc *scenario) servers() []*server {
	servers := make([]*server, sc.backends)
	for i := range servers {
		s := &server{
			backend: backend{index: i, zone: sc.zoneOfBackend(i)},
			addr:    fmt.Sprintf("10.%d.%d.%d:8080", i>>16, i>>8&255, i&255),
		}
		s.attrs = attrs.Attrs{Weight: sc.weights[i%len(sc.weights)], Zone: s.zone}
		s.workers = sc.workers * int(s.attrs.Weight)
		s.watched = sc.watched != nil && sc.watched(s.backend)
		servers[i] = s
	}
	return servers
}

func (s *server) endpoint() resolver.Endpoint {
	return attrs.Set(resolver.Endpoint{Addresses: []resolver.Address{{Addr: s.addr}}}, s.attrs)
}

func (sc *scenario) callsPerSecond() float64 {
	workers := 0
	for i := range sc.backends {
		workers += sc.workers * int(sc.weights[i%len(sc.weights)])
	}
	return sc.load * float64(workers) / meanService.Seconds()
}

func (sc *scenario) zoneOfBackend(i int) string {
	for _, z := range sc.zones {
		if i -= z.Backends; i < 0 {
			return z.Name
		}
	}
	return ""
}

// zoneOfClient deals the zones out in turn, by their parts.
func (sc *scenario) zoneOfClient(i int) string {
	parts := 0
	for _, z := range sc.zones {
		parts += z.Clients
	}
	if parts == 0 {
		return ""
	}
	i %= parts
	for _, z := range sc.zones {
		if i -= z.Clients; i < 0 {
			return z.Name
		}
	}
	return ""
}
